// Delete(urns, credentials, options): slivers go, at once for clients and as soon as may be on the hosts. A cut that is
// under way is voided for it.
import { noteEvent } from '../../slices/event.js'
import { listed } from '../../slices/operation-events.js'
import { beginOperation } from '../../slices/slice-lock.js'
import type { SliceRecord } from '../../slices/slice.js'
import {
  findTarget, missingStructs, mustHaveSlivers, refuseOtherSlice, refuseShutDown, shown, sliverStruct, type AmCall, type AmParts, type Target,
} from '../context.js'
import { credentialsArgument, flag, optionsArgument, urnsArgument } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

export async function deleteSlivers(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const bestEffort = flag(optionsArgument(params[2]), 'geni_best_effort')
  const target = withStuck(await findTarget(at, urnsArgument(params[0]), bestEffort))
  const granted = call.authorize(credentialsArgument(params[1]), 'change', target.sliceUrn)
  const slice = mustHaveSlivers(target)
  refuseOtherSlice(slice, granted)
  refuseShutDown(slice, granted)
  const ids = new Set(target.slivers.map((s) => s.id))
  if (await dropAtOnce(at, slice, ids)) {
    const text = `${listed(target.slivers.map((s) => s.clientId))} deleted before Provision`
    await noteEvent(at, slice, { kind: 'allocation-dropped', text, who: granted.owner })
  } else {
    // slivers that an earlier Delete took away and whose job this one pre-empts go with it
    const leaving = slice.slivers.filter((s) => s.allocation === 'geni_unallocated').map((s) => s.id)
    const { operation } = await beginOperation(at, slice.urn, {
      kind: 'delete', who: granted.owner, why: 'Delete', callId: call.callId, params: { slivers: [...new Set([...ids, ...leaving])] }, preempts: true,
    }, (record) => {
      for (const sliver of record.slivers.filter((s) => ids.has(s.id))) sliver.allocation = 'geni_unallocated'
    })
    await at.queue.add(operation)
  }
  const gone = { geni_allocation_status: 'geni_unallocated', geni_operational_status: 'geni_pending_allocation' }
  return [...target.slivers.map((s) => sliverStruct(s, gone)), ...missingStructs(at, target)]
}

/** Slivers whose job ended without removing them are shown no more, and yet can be deleted again, by the slice's URN. */
function withStuck(target: Target): Target {
  const stuck = target.bySlice && target.slivers.length === 0 && target.slice?.operation?.kind !== 'delete'
  return stuck ? { ...target, slivers: target.slice?.slivers ?? [] } : target
}

/** Slivers that no host knows of only leave the record: then their names are free when this call returns. */
async function dropAtOnce(at: AmParts, slice: SliceRecord, ids: Set<string>): Promise<boolean> {
  const after = await at.store.update(slice.urn, (record) => {
    const going = record.slivers.filter((s) => ids.has(s.id))
    const onlyPromised = going.every((s) => s.allocation === 'geni_allocated') && record.operation?.kind !== 'delete'
    const left = shown(record).filter((s) => !ids.has(s.id))
    // with the last sliver of a slice that has run, its snapshots go too: that is a job
    if (!onlyPromised || (left.length === 0 && record.run !== '')) return undefined
    return { ...record, slivers: record.slivers.filter((s) => !ids.has(s.id)) }
  })
  return after.slivers.every((s) => !ids.has(s.id))
}
