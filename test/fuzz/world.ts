// Who calls, what there is to be had, and the calls that are changed: an aggregate with a slice of alice's and one of bob's, and
// callers who may do something and callers who may not. Every call meets the same world, so that one input is enough to see a
// fault again.
import assert from 'node:assert/strict'
import { answer } from '../../am-plugin/call.js'
import type { AmParts } from '../../am-plugin/context.js'
import type { ServerCall } from '../../am-plugin/server.js'
import { isStruct, type Struct, type Value } from '../../am-plugin/xmlrpc/value.js'
import { silentLog } from '../../base/log.js'
import { realRandom } from '../../base/random.js'
import { delegate, letSpeak, letSpeakOldForm } from '../../certs/delegate.js'
import { createFederation, issueSlice, issueUser, type Federation } from '../../certs/issue.js'
import { keyFromPem } from '../../certs/mint.js'
import { splitPem } from '../../certs/certificate.js'
import type { DiskImage } from '../../slices/disk-image.js'
import type { HostRecord, SliceStore } from '../../slices/slice-store.js'
import type { SliceRecord } from '../../slices/slice.js'
import { memoryQueue, openMemoryStore } from '../fakes/memory-store.js'
import { aggregate, entry, requestOf, rspecVersion } from '../unit/am-plugin/aggregate.js'
import { certify, chainOf, credential, dayMs, field, freshFolder, now, pemOf, read, signerOf, tools } from '../unit/certs/field.js'
import type { SeedCall } from './mutate-call.js'

/** Stands in bob's slice and in no call: whoever else reads it has been shown what is not his. */
export const secret = 'bobs-secret-node-7f3a'

export interface Person {
  name: string
  /** DER, leaf first. */
  chain: Buffer[]
  tls: { key: string; cert: string } | undefined
  /** No call of this person's but GetVersion is ever granted. */
  refused: boolean
  /** What this person may send, before it is changed. */
  calls: { path: string; call: SeedCall }[]
}

export interface World {
  people: Person[]
  server: { key: string; cert: string; ca: string }
  /** XML that may be mixed into the calls of a person. */
  pool(person: Person): string[]
  /** One call in a world of its own. */
  ask(call: ServerCall): Promise<Value>
  /** What went wrong in the last call beside its answer: errors logged, records changed that the caller has no right to. */
  objections(): string[]
  /** For replay on another day. */
  state: { now: number; trust: string[] }
}

/** Bob's, and for him alone. */
const bobsImage: DiskImage = {
  format: 1, id: 'i-1', name: secret, owner: 'urn:publicid:IDN+lab.example+user+bob', global: false, state: 'ready', why: '', guest: 'violin-linux', diskMiB: 64,
  bytes: 1024, digest: '', created: '2026-01-01T00:00:00Z', sliver: 'urn:publicid:IDN+violin.localhost+sliver+1',
}
const imageUrn = `urn:publicid:IDN+violin.localhost+image+${secret}`

const methodsOn = (sliceUrn: string, sliverUrn: string, credentials: Value[], rspec: string): { path: string; call: SeedCall }[] => {
  const users: Value = [{ urn: 'urn:publicid:IDN+lab.example+user+alice', keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbZ0x0Jm2v0Q0y3 alice@home'] }]
  const v3: [string, ...Value[]][] = [
    ['GetVersion', {}], ['ListResources', credentials, { ...rspecVersion, geni_available: true, geni_compressed: false }],
    ['Describe', [sliceUrn], credentials, { ...rspecVersion, geni_compressed: true }], ['Describe', [sliverUrn], credentials, rspecVersion],
    ['Allocate', sliceUrn, credentials, rspec, { geni_end_time: new Date(now + 300_000).toISOString() }], ['Provision', [sliceUrn], credentials, { ...rspecVersion, geni_users: users }],
    ['Status', [sliceUrn], credentials, {}], ['Status', [sliverUrn], credentials, { violin_operation: 'op-1' }],
    ['Renew', [sliceUrn], credentials, new Date(now + dayMs).toISOString(), { geni_extend_alap: true, geni_best_effort: true }],
    ['violin_slices', { violin_after: '', violin_count: '5' }], ['violin_expire', [sliceUrn], {}],
    ['Delete', [sliverUrn], credentials, { geni_best_effort: false }], ['Shutdown', sliceUrn, credentials, {}],
    ['CreateImage', sliceUrn, 'mine-1', sliverUrn, credentials, { global: true }], ['ListImages', 'urn:publicid:IDN+lab.example+user+alice', credentials, {}],
    ['DeleteImage', imageUrn, credentials, { creator_urn: bobsImage.owner }],
    ...['geni_start', 'geni_stop', 'geni_restart', 'geni_update_users', 'geni_console_url', 'violin_snapshot', 'violin_list', 'violin_rollback', 'violin_suspend', 'violin_resume',
      'violin_delete', 'violin_set_policy', 'violin_events', 'violin_console'].map((action): [string, ...Value[]] => ['PerformOperationalAction', [sliceUrn], credentials, action, {
      violin_name: 'before', violin_snapshot: 's-1', violin_count: '10', geni_users: users,
      violin_policy: '<violin:rspec_checkpoint xmlns:violin="urn:geni-violin:rspec:ext:checkpoint:1" interval="PT10S"><violin:retention keep="8"/></violin:rspec_checkpoint>',
    }]),
  ]
  const plain = credentials.map((c) => (c as Struct)['geni_value']!)
  const v2: [string, ...Value[]][] = [
    ['GetVersion'], ['ListResources', plain, { ...rspecVersion, geni_slice_urn: sliceUrn, geni_compressed: false }], ['CreateSliver', sliceUrn, plain, rspec, users, {}],
    ['SliverStatus', sliceUrn, plain, {}], ['RenewSliver', sliceUrn, plain, new Date(now + dayMs).toISOString(), {}], ['DeleteSliver', sliceUrn, plain, {}], ['Shutdown', sliceUrn, plain, {}],
  ]
  return [
    ...v3.map(([method, ...params]) => ({ path: '/am/3.0', call: { method, params } })),
    ...v2.map(([method, ...params]) => ({ path: '/am/2.0', call: { method, params } })),
  ]
}

export async function makeWorld(): Promise<World> {
  const { federation, alice, bob, slice, other, trust } = await field()
  const at = await aggregate(16_384)
  const dave = await issueUser(federation.dir, 'dave', tools)
  const bobs = await issueSlice(federation.dir, 'bob', 'bobs', { ...tools, lifeMs: 7 * dayMs })
  const carol = await issueUser(federation.dir, 'carol', tools)
  await at.ready(['a', 'b'])
  await at.store.saveSnapshots(at.sliceUuid, [entry('s-1', { name: 'before', slice: slice.urn })])
  await at.call('Allocate', [bobs.urn, wire(read(bobs.credential)), requestOf([secret])], { peer: splitPem(read(bob.certificate)) })
  const records = await at.store.slices()
  const hosts = (await at.store.hosts()).map((host) => ({ ...host, diskImages: [bobsImage] }))
  const snapshots = await at.store.snapshots(at.sliceUuid)
  assert.deepEqual(records.map((r) => r.slivers.length).sort(), [1, 2])
  const mine = records.find((r) => r.urn === slice.urn)!
  const his = records.find((r) => r.urn === bobs.urn)!

  const calls = (of: SliceRecord, ...credentials: string[]) =>
    methodsOn(of.urn, of.slivers[0]!.urn, credentials.flatMap(wire), requestOf(['c', 'd'], '<violin:rspec_checkpoint interval="PT10S" on_failure="rollback"/>'))
  const stranger = await strangerFederation()
  const holder = { key: keyFromPem(read(alice.key)), pem: read(alice.certificate) }
  const delegated = delegate({ xml: read(slice.credential), from: holder, to: read(dave.certificate), privileges: ['info', 'refresh', 'control', 'embed', 'bind'], serial: '7' })
  const tool = await newTool(federation)
  const spoken = [letSpeak({ user: holder, tool: tool.pem, expires: now + dayMs }), letSpeakOldForm({ user: holder, tool: tool.pem, expires: now + dayMs, serial: '8' })]
  const selfSigned = await certify({ urn: alice.urn, commonName: 'alice' })
  const old = await credential({ expires: now - dayMs })
  const forged = await credential({}, selfSigned)
  const [aliceChain, bobsCredential] = [splitPem(read(alice.certificate)), read(bobs.credential)]
  const tlsOf = ({ certificate, key }: { certificate: string; key: string }) => ({ cert: read(certificate), key: read(key) })
  const selfTls = { cert: pemOf(selfSigned.certificate), key: selfSigned.key.export({ type: 'pkcs8', format: 'pem' }) as string }
  const people: Person[] = [
    { name: 'alice with her own credential', chain: aliceChain, tls: tlsOf(alice), refused: false, calls: [...calls(mine, read(slice.credential)), ...calls(his, read(slice.credential))] },
    { name: 'alice with what does not count', chain: aliceChain, tls: tlsOf(alice), refused: true, calls: [...calls(mine, old), ...calls(mine, forged), ...calls(his, bobsCredential)] },
    {
      name: 'dave, to whom alice has delegated', chain: splitPem(read(dave.certificate)), tls: tlsOf(dave), refused: false,
      calls: [...calls(mine, delegated), ...calls(his, delegated)],
    },
    {
      name: 'a tool that speaks for alice', chain: splitPem(tool.pem), tls: { key: tool.key, cert: tool.pem }, refused: false,
      calls: spoken.flatMap((xml, i) => [...calls(mine, read(slice.credential)), ...(i === 0 ? calls(his, read(slice.credential)) : [])]
        .map((c) => speaking(c, alice.urn, { geni_type: i === 0 ? 'geni_abac' : 'geni_sfa', geni_version: '1', geni_value: xml }))),
    },
    {
      name: 'carol, who has no slice', chain: splitPem(read(carol.certificate)), tls: tlsOf(carol), refused: true,
      calls: [
        ...calls(mine, read(slice.credential), read(other.credential)), ...calls(his, bobsCredential), ...calls(mine, delegated),
        ...calls(mine, read(slice.credential)).map((c) => speaking(c, alice.urn, { geni_type: 'geni_abac', geni_version: '1', geni_value: spoken[0]! })),
      ],
    },
    { name: 'somebody with a certificate that says alice', chain: [selfSigned.certificate.der], tls: selfTls, refused: true, calls: calls(mine, read(slice.credential)) },
    { name: 'a stranger', chain: chainOf(stranger.user.certificate), tls: tlsOf(stranger.user), refused: true, calls: [...calls(mine, read(stranger.slice.credential)), ...calls(mine, read(slice.credential))] },
    { name: 'nobody', chain: [], tls: undefined, refused: true, calls: [...calls(mine, read(slice.credential)), ...calls(his, bobsCredential)] },
  ]
  let objections: string[] = []
  const pools = new Map(people.map((p) => [p, [...new Set(p.calls.flatMap((c) => xmlIn(c.call.params)))]]))
  return {
    people, state: { now, trust: trust.pem as string[] },
    server: { ...tlsOf(federation.am), ca: read(federation.trust) },
    pool: (person) => pools.get(person)!,
    async ask(call) {
      objections = []
      const store = await freshStore(records, hosts, at.sliceUuid, snapshots)
      const person = people.find((p) => p.chain.length === call.peer.length && p.chain.every((der, i) => der.equals(call.peer[i]!)))
      const answered = await answer(partsFor(at.parts, store, objections), () => trust, call)
      for (const before of person?.refused === false ? [his] : records) {
        if (JSON.stringify(await store.slice(before.urn)) !== JSON.stringify(before)) objections.push(`the record of ${before.urn} has been changed`)
      }
      if (person?.refused !== false && (await store.slices()).length !== records.length) objections.push('there is a slice that was not there')
      return answered
    },
    objections: () => objections,
  }
}

/** The same call by a tool that speaks for a user: one credential and one option more. */
function speaking({ path, call: { method, params } }: { path: string; call: SeedCall }, user: string, credential: Struct): { path: string; call: SeedCall } {
  const more = (value: Value): Value => (isListOfCredentials(value) ? [...value, isStruct(value[0]) ? credential : credential['geni_value']!] : value)
  const changed = params.map(more)
  const options = changed.at(-1)
  if (options !== undefined && isStruct(options)) changed[changed.length - 1] = { ...options, geni_speaking_for: user }
  return { path, call: { method, params: changed } }
}

const isListOfCredentials = (value: Value): value is Value[] => {
  if (!Array.isArray(value)) return false
  const [first] = value
  return isXml(first) || (first !== undefined && isStruct(first) && isXml(first['geni_value']))
}
const isXml = (value: Value | undefined): boolean => typeof value === 'string' && value.startsWith('<')

async function newTool(federation: Federation): Promise<{ key: string; pem: string }> {
  const ma = signerOf(federation.ma.certificate, federation.ma.key)
  const made = await certify({ urn: 'urn:publicid:IDN+lab.example+tool+portal', commonName: 'portal' }, ma)
  return { key: made.key.export({ type: 'pkcs8', format: 'pem' }) as string, pem: pemOf(made.certificate, ma.certificate) }
}

function partsFor(parts: AmParts, store: SliceStore, objections: string[]): AmParts {
  let time = now
  const clock = { now: () => time, monotonic: () => time, sleep: async (ms: number) => { time += ms } }
  const error = (fields: { err?: Error; why?: string }) => { objections.push(`an internal error: ${fields.err?.stack ?? fields.why ?? '?'}`) }
  const questions = { ...parts.questions, removeImage: () => Promise.resolve(void objections.push('an image of bob\'s is removed')) }
  return { ...parts, store, questions, queue: memoryQueue(), random: realRandom, clock, log: Object.assign(Object.create(silentLog) as typeof silentLog, { error }) }
}

async function freshStore(records: SliceRecord[], hosts: HostRecord[], uuid: string, snapshots: unknown[]): Promise<SliceStore> {
  const store = openMemoryStore()
  for (const host of hosts) await store.saveHost(host)
  for (const record of records) {
    await store.create(record)
    if (record.rev > 1) await store.update(record.urn, () => ({ ...record, rev: 1 }))
  }
  for (const record of records) Object.assign(record, { rev: (await store.slice(record.urn))!.rev })
  await store.saveSnapshots(uuid, snapshots)
  return store
}

async function strangerFederation() {
  const dir = `${freshFolder()}/federation`
  await createFederation(dir, { ...tools, authority: 'lab.example', hostnames: [] })
  const user = await issueUser(dir, 'alice', tools)
  return { user, slice: await issueSlice(dir, 'alice', 'exp1', { ...tools, lifeMs: 7 * dayMs }) }
}

const wire = (xml: string): Value[] => [{ geni_type: 'geni_sfa', geni_version: '3', geni_value: xml }]

function xmlIn(value: Value): string[] {
  if (typeof value === 'string') return value.includes('<') ? [value] : []
  return typeof value === 'object' ? Object.values(value).flatMap(xmlIn) : []
}
