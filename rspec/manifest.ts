// The manifest: the requests of a slice, word for word, with what became of them added. Unknown extensions, comments and
// nodes of other aggregates stay as they were, because tools find their own notes in them again.
import { printable } from '../base/ascii.js'
import { formatNetmask } from './address.js'
import { annotatePolicy, type ManifestPolicy, type ManifestSnapshot } from './manifest-checkpoint.js'
import { mergeRequests } from './manifest-merge.js'
import { rspecNs, userNs } from './names.js'
import { isUs, managersOf, ownsNode } from './request-parts.js'
import { addChild, attribute, childrenOf, documentText, elementsIn, setAttribute, withXml, type XmlElement } from './xml.js'
import type { Login } from './topology.js'

export interface ManifestInterface { clientId: string; mac: string; ip: string; prefixLength: number }

/** What became of one node of the requests. */
export interface ManifestNode {
  clientId: string
  sliverUrn: string
  /** URN of the host it is on. */
  componentId: string
  /** The node's own name, as seen in its slice: `a.slice.am.example.org`, or just its client_id. */
  hostName: string
  /** Undefined while only allocated. */
  login?: { host: string; port: number; users: Login[] }
  interfaces: ManifestInterface[]
}

export interface ManifestOptions {
  /** Every request of the slice that was allocated, in order. None: an empty manifest. */
  requests: readonly string[]
  /** URN of this aggregate. */
  componentManager: string
  /** RFC 3339: when the first of the slivers shown ends. */
  expires: string
  /** The slivers to show; nodes of ours that are not among them are left out. */
  nodes: readonly ManifestNode[]
  /** The policy in force, with what was asked for and when the next snapshot is due. */
  policy?: ManifestPolicy
  /** Oldest first. */
  snapshots?: readonly ManifestSnapshot[]
}

/** The manifest as ASCII text. Throws a Refusal only when one of `requests` was never a request. */
export function writeManifest(options: ManifestOptions): string {
  const merged = mergeRequests(options.requests, options.expires)
  // Three times the bytes of the requests: namespaces that were declared once are declared at each child for a moment.
  const bytes = 1024 + 3 * merged.length
  return withXml(merged, 'the manifest', (root) => {
    const managers = managersOf(root)
    const shown = new Map(options.nodes.map((node) => [node.clientId, node]))
    const gone = new Set<string>()
    for (const element of childrenOf(root, rspecNs, 'node')) {
      if (!ownsNode(element, options.componentManager, managers)) continue
      const node = shown.get(attribute(element, 'client_id') ?? '')
      if (node) {
        annotateNode(element, node, options.componentManager)
      } else {
        for (const one of childrenOf(element, rspecNs, 'interface')) gone.add(attribute(one, 'client_id') ?? '')
        element.remove()
      }
    }
    trimLinks(root, gone, options)
    annotatePolicy(root, options.policy, options.snapshots ?? [])
    return documentText(root)
  }, { bytes, depth: 66, elements: 200_000 })
}

function annotateNode(element: XmlElement, node: ManifestNode, componentManager: string): void {
  setAttribute(element, 'sliver_id', node.sliverUrn)
  setAttribute(element, 'component_id', node.componentId)
  if (!isUs(attribute(element, 'component_manager_id') ?? '', componentManager)) setAttribute(element, 'component_manager_id', componentManager)
  setAttribute(element, 'exclusive', 'false')
  for (const one of childrenOf(element, rspecNs, 'interface')) {
    const made = node.interfaces.find((known) => known.clientId === attribute(one, 'client_id'))
    if (made) annotateInterface(one, made)
  }
  for (const old of childrenOf(element, rspecNs, 'host')) old.remove()
  const address = node.login?.host
  addChild(element, 'host', { name: node.hostName, ipv4: address !== undefined && /^[\d.]+$/.test(address) ? address : undefined })
  annotateServices(element, node)
}

function annotateInterface(element: XmlElement, made: ManifestInterface): void {
  setAttribute(element, 'mac_address', made.mac)
  const ip = childrenOf(element, rspecNs, 'ip')[0] ?? addChild(element, 'ip')
  setAttribute(ip, 'address', made.ip)
  setAttribute(ip, 'netmask', formatNetmask(made.prefixLength))
  setAttribute(ip, 'type', 'ipv4')
}

/** Logins are ours to say; whatever the request had of them goes. */
function annotateServices(element: XmlElement, { login }: ManifestNode): void {
  const all = childrenOf(element, rspecNs, 'services')
  for (const services of all) {
    for (const old of elementsIn(services)) {
      if ((old.namespaceUri === rspecNs && old.name === 'login') || (old.namespaceUri === userNs && old.name === 'services_user')) old.remove()
    }
  }
  if (!login) return
  const services = all[0] ?? addChild(element, 'services')
  for (const user of login.users) {
    addChild(services, 'login', { authentication: 'ssh-keys', hostname: login.host, port: login.port, username: user.name })
  }
  for (const user of login.users) {
    const entry = addChild(services, 'services_user')
    entry.addNsDeclaration(userNs, 'user')
    entry.prefix = 'user'
    setAttribute(entry, 'login', user.name)
    setAttribute(entry, 'user_urn', user.urn)
    for (const key of user.keys) entry.addElement('public_key', 'user').addText(printable(key.trim()))
  }
}

/** Takes out links between nodes that are not shown; one that still touches a shown or foreign node stays. */
function trimLinks(root: XmlElement, gone: Set<string>, { nodes }: ManifestOptions): void {
  for (const link of childrenOf(root, rspecNs, 'link')) {
    const references = childrenOf(link, rspecNs, 'interface_ref')
    if (references.length > 0 && references.every((one) => gone.has(attribute(one, 'client_id') ?? ''))) link.remove()
    else if (nodes.length === 0 && references.length === 0) link.remove()
  }
}
