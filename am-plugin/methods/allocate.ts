// Allocate(slice_urn, credentials, rspec, options): all or nothing; the slivers are ours for ten minutes.
import { randomUUID } from 'node:crypto'
import { Refusal } from '../../base/errors.js'
import { rfc3339 } from '../../base/time.js'
import { parseRequest } from '../../rspec/request.js'
import type { Topology } from '../../rspec/topology.js'
import { noteEvent } from '../../slices/event.js'
import { grantedExpiry } from '../../slices/lease.js'
import { makeSlivers } from '../../slices/make-slivers.js'
import { listed } from '../../slices/operation-events.js'
import { hostsLessPromised, placeVms } from '../../slices/placement.js'
import { allocationObjection } from '../../slices/quota.js'
import type { SliceRecord } from '../../slices/slice.js'
import type { SliceStore } from '../../slices/slice-store.js'
import type { Sliver } from '../../slices/sliver.js'
import {
  manifestOf, refuseOtherSlice, refuseShutDown, sliverStruct, waitOut, type AmCall, type AmParts, type Granted,
} from '../context.js'
import { usableDisks } from '../disk-images.js'
import { credentialsArgument, optionsArgument, sliceUrnArgument, textArgument, timeOption } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

export async function allocate(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const sliceUrn = sliceUrnArgument(params[0])
  const granted = call.authorize(credentialsArgument(params[1]), 'change', sliceUrn)
  const requestXml = textArgument(params[2], 'rspec')
  const now = at.clock.now()
  const expires = grantedExpiry(
    { now, credentialExpires: granted.expires, allocation: 'geni_allocated' }, timeOption(optionsArgument(params[3]), 'geni_end_time'),
  )
  if (expires <= now) throw new Refusal('bad-arguments', 'geni_end_time is in the past')
  const { slice, made } = await allocateSlivers(at, { sliceUrn, granted, requestXml, now, expires, alone: false })
  return { geni_rspec: await manifestOf(at, slice, made), geni_slivers: made.map((s) => sliverStruct(s)) }
}

/** `alone`: refused when the slice has slivers already, whatever their names. */
export interface AllocationAsked { sliceUrn: string; granted: Granted; requestXml: string; now: number; expires: number; alone: boolean }

/** Makes the slivers of a request, all or none. For CreateSliver of API v2 too. */
export async function allocateSlivers(at: AmParts, asked: AllocationAsked): Promise<{ slice: SliceRecord; made: Sliver[] }> {
  await waitOut(at, asked.sliceUrn, 'delete') // names and memory of what was deleted a moment ago are about to be free
  const { slice, made } = await oneByOne(at.store, () => allocateNow(at, asked))
  const text = `${listed(made.map((s) => s.clientId))} allocated until ${rfc3339(asked.expires)}`
  await noteEvent(at, slice, { kind: 'allocated', text, who: asked.granted.owner })
  return { slice, made }
}

async function allocateNow(
  at: AmParts, { sliceUrn, granted, requestXml, now, expires, alone }: AllocationAsked,
): Promise<{ slice: SliceRecord; made: Sliver[] }> {
  const all = await at.store.slices()
  const hosts = hostsLessPromised(await at.store.hosts(), all)
  if (!hosts.some((h) => h.alive)) throw new Refusal('too-big', 'no host of this aggregate is up at present: try again later')
  const images = [...new Set(hosts.flatMap((h) => h.images))]
  const before = await at.store.slice(sliceUrn)
  const taken = before?.slivers.flatMap((s) => s.nics) ?? []
  const known = {
    componentManager: at.urn, images, disks: usableDisks(hosts, granted), defaultImage: images[0] ?? '', ...at.sources && { sources: at.sources },
  }
  if (before) refuseRecord(before, granted, parseRequest(requestXml, known), alone) // first: names that are there already have their own code
  const topology = parseRequest(requestXml, { ...known, taken })
  refuseOverQuota(at, all, { sliceUrn, granted, topology, before })
  const placement = placeVms({ nodes: topology.nodes, hosts })
  if (!placement.placed) throw new Refusal('too-big', placement.why)
  const takenPorts = new Set(all.flatMap((s) => s.slivers.map((v) => v.loginPort)))
  const fresh = newSlice(sliceUrn, granted)
  await at.store.create(fresh)
  let made: Sliver[] = []
  const slice = await at.store.update(sliceUrn, (stored) => {
    refuseRecord(stored, granted, topology, alone)
    // a later slice of the same name, nothing of the earlier one left: it begins anew
    const record = stored.slivers.length === 0 && isOther(stored, granted) ? { ...fresh, rev: stored.rev } : stored
    const { slivers, nextPort } = makeSlivers({
      topology, hostOf: placement.hostOf, authority: at.authority, allocationIndex: record.allocations.length,
      nextPort: record.nextPort, takenPorts: new Set(takenPorts), random: at.random, expires,
    })
    made = slivers
    const used = new Set(record.slivers.map((s) => s.allocationIndex))
    const earlier = record.allocations.map((a, i) => (used.has(i) ? a : { ...a, requestXml: '' })) // of which nothing is left
    return {
      ...record, nextPort, slivers: [...record.slivers, ...slivers], credentialExpires: rfc3339(granted.expires),
      allocations: [...earlier, { requestXml, at: rfc3339(now) }], policy: topology.policy ?? record.policy,
    }
  })
  return { slice, made }
}

interface Wanted { sliceUrn: string; granted: Granted; topology: Topology; before: SliceRecord | undefined }

/** One Allocate comes after the other (`oneByOne`), so that two at once do not both take the last of a quota. */
function refuseOverQuota(at: AmParts, slices: SliceRecord[], { sliceUrn, granted, topology, before }: Wanted): void {
  const stays = before && !(before.slivers.length === 0 && isOther(before, granted))
  const objection = allocationObjection(at.quotas, slices, {
    sliceUrn, creator: stays ? before.creator : granted.owner, vms: topology.nodes.length,
    memoryMiB: topology.nodes.reduce((sum, n) => sum + n.memoryMiB, 0),
  })
  if (objection !== undefined) throw new Refusal('too-big', objection)
}

const allocating = new WeakMap<SliceStore, Promise<unknown>>()

/** What one Allocate has placed, the next one must see: else two of them promise the same memory and login ports, or pass the same quota. */
async function oneByOne<T>(store: SliceStore, work: () => Promise<T>): Promise<T> {
  const mine = (allocating.get(store) ?? Promise.resolve()).then(work)
  allocating.set(store, mine.catch(() => undefined))
  return mine
}

function newSlice(urn: string, granted: Granted): SliceRecord {
  return {
    format: 1, rev: 1, urn, uuid: granted.sliceUuid ?? randomUUID(), creator: granted.owner, credentialExpires: rfc3339(granted.expires),
    run: '', epoch: 0, token: 0, head: '', operation: null, lastSnapshot: '', shutdown: false, allocations: [], policy: null, slivers: [], nextPort: 1,
  }
}

const isOther = (record: SliceRecord, granted: Granted): boolean =>
  granted.sliceUuid !== undefined && granted.sliceUuid.toLowerCase() !== record.uuid.toLowerCase()

function refuseRecord(record: SliceRecord, granted: Granted, topology: Topology, alone: boolean): void {
  if (record.slivers.length > 0 || record.shutdown) refuseOtherSlice(record, granted)
  refuseShutDown(record, granted)
  if (record.operation?.kind === 'delete') throw new Refusal('busy', `slivers of ${record.urn} are being deleted: try again in a few seconds`)
  if (alone && record.slivers.length > 0) {
    throw new Refusal('exists', `slice ${record.urn} has slivers already: delete them first, or add others with Allocate of AM API v3`)
  }
  refuseKnownNames(record, topology)
}

/** geni_disjoint: each Allocate stands for itself, and names are unique in the slice. */
function refuseKnownNames(record: SliceRecord, topology: Topology): void {
  const known = new Set(record.slivers.map((s) => s.clientId))
  const twice = topology.nodes.find((n) => known.has(n.clientId))
  if (twice) throw new Refusal('exists', `the slice has a node ${twice.clientId} already: delete it first, or ask for other client_ids`)
}
