// Shutdown(slice_urn, credentials, options): an emergency stop. Nothing of the slice runs afterwards and only the
// operator may act on it; what it has on disk is kept.
import { beginOperation } from '../../slices/slice-lock.js'
import { findTarget, mustHaveSlivers, refuseOtherSlice, type AmCall, type AmParts } from '../context.js'
import { credentialsArgument, optionsArgument, sliceUrnArgument } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

export async function shutdown(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const sliceUrn = sliceUrnArgument(params[0])
  const target = await findTarget(at, [sliceUrn])
  const granted = call.authorize(credentialsArgument(params[1]), 'shutdown', target.sliceUrn)
  optionsArgument(params[2])
  refuseOtherSlice(target.slice, granted)
  if (target.slice?.shutdown) return true
  const slice = mustHaveSlivers(target)
  const { operation } = await beginOperation(at, slice.urn, {
    kind: 'shutdown', who: granted.owner, why: 'Shutdown', callId: call.callId, preempts: true,
  }, (record) => { record.shutdown = true })
  await at.queue.add(operation)
  return true
}
