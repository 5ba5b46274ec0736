// Delete(urns, credentials, options): slivers go, at once for clients and as soon as may be on the hosts. A cut that is
// under way is voided for it.
import { beginOperation } from '../../slices/slice-lock.js'
import { findTarget, mustHaveSlivers, refuseShutDown, sliverStruct, type AmCall, type AmParts } from '../context.js'
import { credentialsArgument, optionsArgument, urnsArgument } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

export async function deleteSlivers(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const target = await findTarget(at, urnsArgument(params[0]))
  const granted = call.authorize(credentialsArgument(params[1]), 'change', target.sliceUrn)
  optionsArgument(params[2])
  const slice = mustHaveSlivers(target)
  refuseShutDown(slice)
  const ids = target.slivers.map((s) => s.id)
  // slivers that an earlier Delete took away and whose job this one pre-empts go with it
  const leaving = slice.slivers.filter((s) => s.allocation === 'geni_unallocated').map((s) => s.id)
  const { operation } = await beginOperation(at, slice.urn, {
    kind: 'delete', who: granted.owner, why: 'Delete', callId: call.callId, params: { slivers: [...new Set([...ids, ...leaving])] }, preempts: true,
  }, (record) => {
    for (const sliver of record.slivers.filter((s) => ids.includes(s.id))) sliver.allocation = 'geni_unallocated'
  })
  await at.queue.add(operation)
  return target.slivers.map((s) => sliverStruct(s, { geni_allocation_status: 'geni_unallocated', geni_operational_status: 'geni_pending_allocation' }))
}
