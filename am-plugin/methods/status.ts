// Status: how the slivers are, and in words what is going on.
import { findTarget, mustHaveSlivers, refuseOtherSlice, sliverStruct, type AmCall, type AmParts } from '../context.js'
import { credentialsArgument, optionsArgument, urnsArgument } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

/** Status(urns, credentials, options). */
export async function status(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const target = await findTarget(at, urnsArgument(params[0]))
  refuseOtherSlice(target.slice, call.authorize(credentialsArgument(params[1]), 'read', target.sliceUrn))
  optionsArgument(params[2])
  const slice = mustHaveSlivers(target)
  const doing = slice.operation ? `${slice.operation.kind} under way since ${slice.operation.since}` : ''
  return {
    geni_urn: slice.urn,
    geni_slivers: target.slivers.map((s) => sliverStruct(s, {
      geni_resource_status: [s.resourceStatus, doing].filter((t) => t !== '').join('; '),
      violin_last_snapshot: slice.lastSnapshot,
    })),
  }
}
