// What only operators may ask, beside the methods that everybody has: which slices there are, whosever they are, and to end a
// lease now. Extensions of ours, at the URL of v3.
import { Refusal } from '../../base/errors.js'
import { rfc3339 } from '../../base/time.js'
import { noteEvent } from '../../slices/event.js'
import { listed } from '../../slices/operation-events.js'
import type { SliceRecord } from '../../slices/slice.js'
import type { SnapshotEntry } from '../../snapshots/needs.js'
import { findTarget, mustHaveSlivers, shown, sliverStruct, type AmCall, type AmParts } from '../context.js'
import { countOption, optionsArgument, textOption, urnsArgument } from '../options.js'
import type { Struct, Value } from '../xmlrpc/value.js'

/** A page ends after the slice with which it reaches this: so much any client can read. */
const sliversOfPage = 1_000
const slicesOfPage = 500

/**
 * violin_slices(options): slices in the order of their URNs, `violin_after` which the page begins, `violin_count` of them at most.
 * `violin_next` is what to give as `violin_after` for the next page, and empty after the last.
 */
export async function violinSlices(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  refuseOthers(call)
  const options = optionsArgument(params[0])
  const after = (textOption(options, 'violin_after') ?? '').toLowerCase()
  const count = countOption(options, 'violin_count', { least: 1, most: slicesOfPage, standard: slicesOfPage })
  const slices = (await at.store.slices()).filter((s) => s.urn.toLowerCase() > after).sort((a, b) => (a.urn.toLowerCase() < b.urn.toLowerCase() ? -1 : 1))
  const page: SliceRecord[] = []
  for (let slivers = 0; page.length < Math.min(count, slices.length) && slivers < sliversOfPage;) {
    const slice = slices[page.length]!
    page.push(slice)
    slivers += slice.slivers.length
  }
  return {
    violin_slices: await Promise.all(page.map((slice) => sliceStruct(at, slice))),
    violin_next: page.length < slices.length ? page.at(-1)!.urn : '',
  }
}

async function sliceStruct(at: AmParts, slice: SliceRecord): Promise<Struct> {
  const snapshots = (await at.store.snapshots(slice.uuid)) as SnapshotEntry[]
  return {
    urn: slice.urn, uuid: slice.uuid, creator: slice.creator, credential_expires: slice.credentialExpires, shutdown: slice.shutdown,
    operation: slice.operation?.kind ?? '', snapshots: snapshots.length,
    snapshot_bytes: String(snapshots.reduce((sum, s) => sum + s.bytes, 0)), // may be more than an int holds
    slivers: shown(slice).map((s) => sliverStruct(s, {
      client_id: s.clientId, host: s.host, memory_mib: s.node.memoryMiB, cpus: s.node.cpus, login_port: s.loginPort, users: s.logins.map((l) => l.urn),
    })),
  }
}

/** violin_expire(urns, options): the leases end now; the worker takes the slivers away as at the end of any lease. */
export async function violinExpire(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  refuseOthers(call)
  const target = await findTarget(at, urnsArgument(params[0]))
  optionsArgument(params[1])
  const slice = mustHaveSlivers(target)
  const ids = new Set(target.slivers.map((s) => s.id))
  const now = rfc3339(at.clock.now())
  const after = await at.store.update(slice.urn, (record) => {
    for (const sliver of record.slivers) if (ids.has(sliver.id)) sliver.expires = now
    return record
  })
  const text = `an operator has ended the lease of ${listed(target.slivers.map((s) => s.clientId))}`
  await noteEvent(at, slice, { kind: 'lease-renewed', text, who: call.caller })
  return after.slivers.filter((s) => ids.has(s.id)).map((s) => sliverStruct(s))
}

function refuseOthers(call: AmCall): void {
  if (call.operator) return
  throw new Refusal('forbidden', `${call.caller} is no operator of this aggregate: whoever runs it names operators by "violin up --operator URN"`)
}
