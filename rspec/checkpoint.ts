// The policy of periodic snapshots, from <violin:rspec_checkpoint>. What we cannot do yet is refused by name: a request
// that quietly gets less than it asked for is worse than one that fails.
import { Refusal } from '../base/errors.js'
import { limits } from '../base/limits.js'
import { formatDuration, parseDuration } from './duration.js'
import { rspecNs, violinNs } from './names.js'
import { attribute, childrenOf, elementsIn, shown, withXml, type XmlElement } from './xml.js'
import type { CheckpointPolicy } from './topology.js'

const failureActions = ['continue', 'rollback', 'suspend', 'fail'] as const
/** Recoveries in a row that a policy is given when it does not say, and the most that it may ask for. */
export const maxRetries = 5
const mostRetries = 100

/** Attributes of each of our elements and the values that we can honour; undefined: read elsewhere. */
const honoured: Record<string, Record<string, readonly string[] | undefined>> = {
  rspec_checkpoint: {
    interval: undefined, max_pause: undefined, consistency: ['distributed'], time: ['transparent'],
    on_failure: failureActions, retries: undefined,
  },
  retention: { keep: undefined, keep_named: ['true', '1'], max_age: undefined, max_bytes: undefined },
  storage: { target: ['default'], incremental: [], compress: [] },
  node_checkpoint: { scope: ['full'], consistency: ['distributed'], state: undefined, last: undefined },
  vm: { memory_mib: undefined, cpus: undefined, disk_mib: undefined, watchdog: undefined },
  link: { mtu: undefined },
}
/** Where each may stand. `effective` and `snapshot` come from a manifest that is used as a request, and say nothing. */
const parents: Record<string, string> = {
  rspec_checkpoint: 'rspec', node_checkpoint: 'node', vm: 'sliver_type', link: 'link', quiesce: 'node_checkpoint',
  retention: 'rspec_checkpoint', storage: 'rspec_checkpoint', effective: 'rspec_checkpoint', snapshot: 'rspec_checkpoint',
}
const ignored = new Set(['effective', 'snapshot'])

/** The policy that the request asks for, clipped to what we allow; undefined when it asks for none. */
export function readPolicy(rspec: XmlElement): CheckpointPolicy | undefined {
  const [element, second] = childrenOf(rspec, violinNs, 'rspec_checkpoint')
  if (second) throw bad(second, 'stands twice')
  if (!element) return undefined
  const retention = onlyOne(element, 'retention')
  const keep = retention ? readCount(retention, 'keep') : undefined
  const policy: CheckpointPolicy = { keep: Math.min(keep ?? limits.keepPolicySnapshots, limits.maxKeep) }
  if (retention) readBounds(retention, policy)
  const interval = readDuration(element, 'interval')
  if (interval !== undefined) policy.intervalMs = Math.max(interval, limits.minIntervalMs)
  const pause = readDuration(element, 'max_pause')
  if (pause === 0) throw bad(element, 'has max_pause of no length')
  if (pause !== undefined) policy.maxPauseMs = pause
  const onFailure = failureActions.find((action) => action === attribute(element, 'on_failure')?.trim())
  if (onFailure !== undefined) policy.onFailure = onFailure
  const retries = readRetries(element)
  if (retries !== undefined) policy.retries = retries
  onlyOne(element, 'storage')
  return policy
}

/** A policy that comes by itself: an `<rspec_checkpoint>` of our name space, or a request RSpec of which only that counts. */
export function parsePolicy(xml: string): CheckpointPolicy {
  const bare = xml.replace(/^\s*<\?xml[^]*?\?>/, '')
  const isRspec = withXml(bare, 'violin_policy', (root) => root.namespaceUri === rspecNs && root.name === 'rspec')
  return withXml(isRspec ? bare : `<rspec xmlns="${rspecNs}">${bare}</rspec>`, 'violin_policy', (root) => {
    checkViolinElements(root, (element) => isRspec && element.name !== 'rspec_checkpoint')
    const policy = readPolicy(root)
    if (!policy) throw new Refusal('bad-arguments', `violin_policy has no <rspec_checkpoint xmlns="${violinNs}">`)
    return policy
  })
}

/** A policy as an element, whole: what `parsePolicy` makes the same policy of. */
export function policyXml(policy: CheckpointPolicy): string {
  const attributes: [string, string | number | undefined][] = [
    ['interval', policy.intervalMs === undefined ? undefined : formatDuration(policy.intervalMs)],
    ['max_pause', policy.maxPauseMs === undefined ? undefined : formatDuration(policy.maxPauseMs)],
    ['on_failure', policy.onFailure], ['retries', policy.retries],
  ]
  const text = attributes.filter(([, value]) => value !== undefined).map(([name, value]) => ` ${name}="${value!}"`).join('')
  const retention = Object.entries(retentionAttributes(policy)).filter(([, value]) => value !== undefined)
  return `<rspec_checkpoint xmlns="${violinNs}"${text}><retention${retention.map(([name, value]) => ` ${name}="${value!}"`).join('')}/></rspec_checkpoint>`
}

/** What `<retention>` says of a policy. */
export function retentionAttributes(policy: CheckpointPolicy): Record<string, string | number | undefined> {
  return { keep: policy.keep, max_age: policy.maxAgeMs === undefined ? undefined : formatDuration(policy.maxAgeMs), max_bytes: policy.maxBytes }
}

/** How old policy snapshots may become, and how large they all together. */
function readBounds(retention: XmlElement, policy: CheckpointPolicy): void {
  const age = readDuration(retention, 'max_age')
  if (age === 0) throw bad(retention, 'has max_age of no length')
  if (age !== undefined) policy.maxAgeMs = age
  const bytes = readCount(retention, 'max_bytes', 15)
  if (bytes !== undefined) policy.maxBytes = bytes
}

/** Bounds what on_failure may do in a row; clipped, like an interval, to what we allow. */
function readRetries(element: XmlElement): number | undefined {
  const text = attribute(element, 'retries')?.trim()
  if (text === undefined) return undefined
  if (!/^\+?\d{1,9}$/.test(text)) throw bad(element, `has retries="${text.slice(0, 40)}", which is no count from 0 up`)
  return Math.min(Number(text), mostRetries)
}

/** Checks every element of our namespace below `parent`: known, in its place, and asking for what we can do. */
export function checkViolinElements(parent: XmlElement, skip: (element: XmlElement) => boolean): void {
  for (const child of elementsIn(parent)) {
    if (skip(child)) continue
    if (child.namespaceUri === violinNs) {
      checkElement(child, parent)
      if (ignored.has(child.name)) continue
    }
    checkViolinElements(child, skip)
  }
}

/** The value of a counting attribute, 1 or more. */
export function readCount(element: XmlElement, name: string, digits = 9): number | undefined {
  const text = attribute(element, name)?.trim()
  if (text === undefined) return undefined
  const isCount = /^\+?\d+$/.test(text) && Number(text) >= 1 && Number(text) < 10 ** digits
  if (!isCount) throw bad(element, `has ${name}="${text.slice(0, 40)}", which is no count from 1 up`)
  return Number(text)
}

function checkElement(element: XmlElement, parent: XmlElement): void {
  const { name } = element
  if (!Object.hasOwn(parents, name)) throw bad(element, 'is no element of this extension')
  if (parents[name] !== parent.name) throw bad(element, `cannot stand in ${shown(parent)}; it belongs into <${parents[name]!}>`)
  if (ignored.has(name)) return
  if (name === 'quiesce') throw unsupported(element, 'is not supported')
  const known = honoured[name]!
  for (const { name: key, value, namespaceUri } of element.attrs) {
    if (namespaceUri !== '') continue
    if (!Object.hasOwn(known, key)) throw bad(element, `has an attribute ${key}, which it does not know`)
    const values = known[key]
    if (values?.length === 0) throw unsupported(element, `has ${key}, which is not supported`)
    if (values && !values.includes(value.trim())) throw unsupported(element, `has ${key}="${value.slice(0, 40)}"; only "${values[0]!}" is supported`)
  }
}

/** The value of a duration attribute, in ms. */
export function readDuration(element: XmlElement, name: string): number | undefined {
  const text = attribute(element, name)?.trim()
  if (text === undefined) return undefined
  const ms = parseDuration(text)
  if (ms === undefined || ms > limits.maxAgeMs) {
    throw bad(element, `has ${name}="${text.slice(0, 40)}", which is no duration such as PT10S or PT15M of at most a year`)
  }
  return ms
}

function onlyOne(parent: XmlElement, name: string): XmlElement | undefined {
  const [first, second] = childrenOf(parent, violinNs, name)
  if (second) throw bad(second, 'stands twice')
  return first
}

function bad(element: XmlElement, what: string): Refusal {
  return new Refusal('bad-arguments', `line ${element.line}: ${shown(element)} ${what}`)
}

function unsupported(element: XmlElement, what: string): Refusal {
  return new Refusal('unsupported', `line ${element.line}: ${shown(element)} ${what}`)
}
