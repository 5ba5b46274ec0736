// SliverStatus of API v2: the same slivers as Status of v3 shows, in v2's four words. The true state stands beside them.
import type { OperationalState, Sliver } from '../../slices/sliver.js'
import { findTarget, mustHaveSlivers, refuseOtherSlice, type AmCall, type AmParts } from '../context.js'
import { credentialsArgument, optionsArgument, sliceUrnArgument } from '../options.js'
import type { Struct, Value } from '../xmlrpc/value.js'

type Word = 'configuring' | 'ready' | 'failed' | 'unknown'

/** Clients poll until ready or failed: a state that does not end by itself is 'unknown', never 'configuring'. */
const words: Record<OperationalState, Word> = {
  geni_ready: 'ready', geni_updating_users: 'ready', violin_snapshotting: 'ready', geni_failed: 'failed',
  geni_configuring: 'configuring', violin_resuming: 'configuring', violin_rolling_back: 'configuring',
  geni_pending_allocation: 'unknown', geni_notready: 'unknown', geni_stopping: 'unknown', violin_suspending: 'unknown', violin_suspended: 'unknown',
}

/** SliverStatus(slice_urn, credentials, options). */
export async function sliverStatus(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const target = await findTarget(at, [sliceUrnArgument(params[0])])
  refuseOtherSlice(target.slice, call.authorize(credentialsArgument(params[1]), 'read', target.sliceUrn))
  optionsArgument(params[2])
  const slice = mustHaveSlivers(target)
  return {
    geni_urn: slice.urn, geni_status: together(target.slivers), geni_expires: target.slivers.map((s) => s.expires).sort()[0]!,
    geni_resources: target.slivers.map(resource),
  }
}

function together(slivers: Sliver[]): Word {
  const seen = new Set(slivers.map((s) => words[s.operational]))
  if (seen.has('failed')) return 'failed'
  if (seen.has('configuring')) return 'configuring'
  return seen.has('unknown') ? 'unknown' : 'ready'
}

function resource(sliver: Sliver): Struct {
  return {
    geni_urn: sliver.urn, geni_status: words[sliver.operational], geni_error: sliver.error, geni_expires: sliver.expires, geni_client_id: sliver.clientId,
    geni_allocation_status: sliver.allocation, geni_operational_status: sliver.operational, geni_resource_status: sliver.resourceStatus,
  }
}
