// Methods of API v2 that are a v3 method in other words: v2 speaks of whole slices and answers with less.
import type { AmCall, AmParts } from '../context.js'
import { optionsArgument, sliceUrnArgument, textOption } from '../options.js'
import { isStruct, type Struct, type Value } from '../xmlrpc/value.js'
import { deleteSlivers } from './delete.js'
import { describe } from './describe.js'
import { listResources } from './list-resources.js'
import { renew } from './renew.js'

/** ListResources(credentials, options): the advertisement, or with geni_slice_urn the manifest of that slice. */
export async function listResources2(at: AmParts, call: AmCall, [credentials, given]: Value[]): Promise<Value> {
  const { geni_slice_urn: slice, rspec_version: old, ...options } = optionsArgument(given)
  if (old !== undefined) options['geni_rspec_version'] ??= old // its name in v1
  if (textOption({ slice: slice ?? '' }, 'slice') === undefined) return listResources(at, call, credentials === undefined ? [] : [credentials, options])
  const described = await describe(at, call, [[sliceUrnArgument(slice)], credentials ?? [], options])
  return isStruct(described) ? described['geni_rspec']! : ''
}

/** RenewSliver(slice_urn, credentials, expiration_time, options): true, or the slice is as it was. */
export async function renewSliver(at: AmParts, call: AmCall, [slice, credentials, time, options]: Value[]): Promise<Value> {
  await renew(at, call, [[sliceUrnArgument(slice)], credentials ?? [], time ?? '', whole(options)])
  return true
}

/** DeleteSliver(slice_urn, credentials, options): true. */
export async function deleteSliver(at: AmParts, call: AmCall, [slice, credentials, options]: Value[]): Promise<Value> {
  await deleteSlivers(at, call, [[sliceUrnArgument(slice)], credentials ?? [], whole(options)])
  return true
}

/** "true" must be true of every sliver. */
function whole(given: Value | undefined): Struct {
  const { geni_best_effort: _, ...options } = optionsArgument(given)
  return options
}
