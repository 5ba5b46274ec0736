// Status: how the slivers are, and in words what is going on. With the id of an operation: what has become of it.
import { sameUrn } from '../../base/urn.js'
import { findTarget, missingStructs, mustHaveSlivers, refuseOtherSlice, sliverStruct, type AmCall, type AmParts } from '../context.js'
import { credentialsArgument, flag, optionsArgument, textOption, urnsArgument } from '../options.js'
import type { Struct, Value } from '../xmlrpc/value.js'

/** Status(urns, credentials, options). */
export async function status(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const options = optionsArgument(params[2])
  const target = await findTarget(at, urnsArgument(params[0]), flag(options, 'geni_best_effort'))
  refuseOtherSlice(target.slice, call.authorize(credentialsArgument(params[1]), 'read', target.sliceUrn))
  const wanted = textOption(options, 'violin_operation')
  const slice = mustHaveSlivers(target)
  const doing = slice.operation ? `${slice.operation.kind} under way since ${slice.operation.since}` : ''
  return {
    geni_urn: slice.urn, ...await operationOf(at, slice.urn, wanted),
    geni_slivers: [...target.slivers.map((s) => sliverStruct(s, {
      geni_resource_status: [s.resourceStatus, doing].filter((t) => t !== '').join('; '),
      violin_last_snapshot: slice.lastSnapshot,
    })), ...missingStructs(at, target)],
  }
}

/** Programs that wait for an operation ask for it by its id: what Status says of slivers may be of a later one already. */
async function operationOf(at: AmParts, sliceUrn: string, id: string | undefined): Promise<Struct> {
  const operation = id === undefined ? undefined : await at.store.operation(id)
  if (!operation || !sameUrn(operation.slice, sliceUrn)) return {}
  return { violin_operation: { id: operation.id, kind: operation.kind, state: operation.state, error: operation.error, ended: operation.ended } }
}
