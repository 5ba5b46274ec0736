// What the methods of the AM API work with, and what they share: finding the slice of a call, showing slivers.
import { Refusal } from '../base/errors.js'
import type { Log } from '../base/log.js'
import type { Random } from '../base/random.js'
import { rfc3339, until, type Clock } from '../base/time.js'
import { makeUrn, parseUrn, sameUrn } from '../base/urn.js'
import type { WireCredential } from '../certs/authorize.js'
import { writeManifest } from '../rspec/manifest.js'
import type { Questions } from '../jobs/questions.js'
import type { OperationKind } from '../slices/operation.js'
import type { Quotas } from '../slices/quota.js'
import type { OperationQueue, SliceStore } from '../slices/slice-store.js'
import { provisioned, type SliceRecord } from '../slices/slice.js'
import type { Sliver } from '../slices/sliver.js'
import type { SnapshotEntry } from '../snapshots/needs.js'
import type { Audit } from './audit.js'
import type { Struct } from './xmlrpc/value.js'

export interface AmParts {
  store: SliceStore
  queue: OperationQueue
  questions: Questions
  authority: string
  /** The aggregate's own certificate in DER: a client that shows it is the operator. */
  ownCertificate?: Buffer
  /** URNs of users who are operators as well, exactly as their certificates have them. */
  operators?: readonly string[]
  /** URN of this aggregate. */
  urn: string
  /** https://host:port without path */
  publicUrl: string
  software: string
  quotas: Quotas
  /** Places that users may have files fetched from. */
  sources?: readonly string[]
  clock: Clock
  random: Random
  log: Log
  /** Gets one line for each call. */
  audit?: Audit
  /** URNs of tools that may speak for users although their URN is not of type tool. */
  speakingTools?: readonly string[]
}

/** One call by a known caller. `authorize` throws a Refusal, or gives what the credential allows. */
export interface AmCall {
  callId: string
  caller: string
  operator?: boolean
  authorize(credentials: WireCredential[], operation: 'list-resources' | 'read' | 'change' | 'shutdown', sliceUrn?: string): Granted
}
export interface Granted { owner: string; expires: number; sliceUuid?: string; operator?: boolean }

/** What urns name: a slice and those of its slivers that are meant. `missing`: with best effort, the ones that it has not. */
export interface Target { sliceUrn: string; slice: SliceRecord | undefined; slivers: Sliver[]; bySlice: boolean; missing: string[] }

/**
 * Finds the slice without looking at rights; the caller authorizes on `sliceUrn` before using anything else of it. With best
 * effort some slivers may be missing, but not all: without a slice nobody could say what the caller may do.
 */
export async function findTarget(at: AmParts, urns: string[], bestEffort = false): Promise<Target> {
  if (urns.length === 1 && parseUrn(urns[0]!)?.type === 'slice') {
    const slice = await at.store.slice(urns[0]!)
    return { sliceUrn: urns[0]!, slice, slivers: slice ? shown(slice) : [], bySlice: true, missing: [] }
  }
  const wrong = urns.find((urn) => parseUrn(urn)?.type !== 'sliver')
  if (wrong !== undefined) throw new Refusal('bad-arguments', `${wrong} is neither the one slice nor a sliver: give one slice URN, or sliver URNs of one slice`)
  const slice = await sliceOfFirst(at, bestEffort ? urns : urns.slice(0, 1))
  if (!slice) throw new Refusal('not-found', `there is no sliver ${urns[0]!} here`)
  // each once, however often it was named: a list of one VM three times is not a slice of three
  const named = [...new Map(urns.map((urn) => [urn.toLowerCase(), urn])).values()]
  const found = named.map((urn) => ({ urn, sliver: shown(slice).find((s) => sameUrn(s.urn, urn)) }))
  const missing = found.filter((f) => !f.sliver).map((f) => f.urn)
  if (missing.length > 0 && !bestEffort) throw new Refusal('not-found', `there is no sliver ${missing[0]!} beside ${urns[0]!}: give slivers of one slice`)
  return { sliceUrn: slice.urn, slice, slivers: found.flatMap((f) => f.sliver ?? []), bySlice: false, missing }
}

async function sliceOfFirst(at: AmParts, urns: string[]): Promise<SliceRecord | undefined> {
  for (const urn of urns) {
    const slice = await at.store.sliceOfSliver(urn)
    if (slice) return slice
  }
  return undefined
}

/** Elements of a sliver list for those that best effort could not find. */
export const missingStructs = (at: AmParts, { missing, sliceUrn }: Target): Struct[] => missing.map((urn) => ({
  geni_sliver_urn: urn, geni_expires: rfc3339(at.clock.now()), geni_allocation_status: 'geni_unallocated',
  geni_operational_status: 'geni_pending_allocation', geni_error: `there is no sliver ${urn} in ${sliceUrn}`, geni_resource_status: '',
}))

/** Slivers that exist for clients: not those that are being taken away. */
export const shown = (slice: SliceRecord): Sliver[] => slice.slivers.filter((s) => s.allocation !== 'geni_unallocated')

export function mustHaveSlivers(target: Target): SliceRecord {
  if (!target.slice || target.slivers.length === 0) throw new Refusal('not-found', `slice ${target.sliceUrn} has no slivers here`)
  return target.slice
}

export function refuseShutDown(slice: SliceRecord | undefined, granted: Granted): void {
  if (slice?.shutdown && !granted.operator) throw new Refusal('shut-down', `slice ${slice.urn} was shut down: ask the operator of this aggregate`)
}

/** Names of slices are used again, UUIDs are not: the credential of a later slice gives no right to an earlier one. */
export function refuseOtherSlice(slice: SliceRecord | undefined, granted: Granted): void {
  if (!slice || granted.sliceUuid === undefined || granted.sliceUuid.toLowerCase() === slice.uuid.toLowerCase()) return
  throw new Refusal('forbidden', `the credential is for another slice of the name ${slice.urn}: the one here has UUID ${slice.uuid}`)
}

/** For calls that would bring life to slivers, or lengthen it. */
export function refuseExpired(at: AmParts, slivers: Sliver[]): void {
  for (const sliver of slivers) {
    const over = expiredText(at, sliver)
    if (over !== undefined) throw new Refusal('expired', over)
  }
}

/** Undefined while it lasts. */
export const expiredText = (at: AmParts, { urn, expires }: Sliver): string | undefined =>
  Date.parse(expires) <= at.clock.now() ? `sliver ${urn} expired at ${expires}: delete it and allocate anew` : undefined

/** Waits, for a bounded time, while an operation of this kind holds the slice; the store says busy if it still does. */
export async function waitOut(at: AmParts, sliceUrn: string, kind: OperationKind): Promise<void> {
  await until(at.clock, waitMs, waitStepMs, async () => ((await at.store.slice(sliceUrn))?.operation?.kind === kind ? undefined : true))
}
const waitMs = 20_000
const waitStepMs = 100

/** One element of a sliver list. All members are strings: old clients cast them. */
export function sliverStruct(sliver: Sliver, extra: Struct = {}): Struct {
  return {
    geni_sliver_urn: sliver.urn, geni_expires: sliver.expires, geni_allocation_status: sliver.allocation,
    geni_operational_status: sliver.operational, geni_error: sliver.error, geni_resource_status: sliver.resourceStatus, ...extra,
  }
}

export async function manifestOf(at: AmParts, slice: SliceRecord | undefined, slivers: Sliver[]): Promise<string> {
  const host = new URL(at.publicUrl).hostname
  const used = slice ? slice.allocations.filter((_, i) => slivers.some((s) => s.allocationIndex === i)) : []
  const expires = slivers.map((s) => s.expires).sort()[0] ?? rfc3339(at.clock.now())
  const entries = slice ? (await at.store.snapshots(slice.uuid)) as SnapshotEntry[] : []
  return writeManifest({
    requests: used.map((a) => a.requestXml), componentManager: at.urn, expires,
    nodes: slivers.map((s) => ({
      clientId: s.clientId, sliverUrn: s.urn, componentId: makeUrn(at.authority, 'node', s.host), hostName: s.clientId,
      ...(s.allocation === 'geni_provisioned' ? { login: { host, port: s.loginPort, users: s.logins } } : {}),
      interfaces: s.nics.map((n) => ({ clientId: n.clientId, mac: n.mac, ip: n.ip, prefixLength: n.prefixLength })),
    })),
    ...(slice?.policy && slivers.length > 0 ? { policy: { applied: slice.policy } } : {}),
    snapshots: entries.map((e) => ({
      id: e.id, name: e.name, parent: e.parent, created: e.created, origin: e.origin, bytes: e.bytes,
      members: e.members.map((m) => ({
        clientId: m.clientId, sliverUrn: makeUrn(at.authority, 'sliver', m.vm),
        ...(e.pauseMs[m.clientId] !== undefined ? { pauseMs: Math.round(e.pauseMs[m.clientId]!) } : {}),
      })),
    })),
  })
}

export const isWholeSlice = (target: Target): boolean =>
  target.bySlice || (target.slice !== undefined && provisioned(target.slice).every((p) => target.slivers.some((s) => s.id === p.id)))
