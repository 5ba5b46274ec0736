// Describe: what a slice or some of its slivers are, as a manifest with the states beside it.
import { findTarget, manifestOf, refuseOtherSlice, sliverStruct, type AmCall, type AmParts } from '../context.js'
import { checkRspecVersion, credentialsArgument, maybeCompressed, optionsArgument, urnsArgument } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

/** Describe(urns, credentials, options): the manifest. A slice without slivers has an empty one. */
export async function describe(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const target = await findTarget(at, urnsArgument(params[0]))
  refuseOtherSlice(target.slice, call.authorize(credentialsArgument(params[1]), 'read', target.sliceUrn))
  const options = optionsArgument(params[2])
  checkRspecVersion(options, true)
  return {
    geni_rspec: maybeCompressed(await manifestOf(at, target.slice, target.slivers), options),
    geni_urn: target.sliceUrn,
    geni_slivers: target.slivers.map((s) => sliverStruct(s)),
  }
}
