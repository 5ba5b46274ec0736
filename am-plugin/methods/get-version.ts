// GetVersion: the one call that anybody may make. Clients keep the answer for a week, so it must be true for as long.
import { limits } from '../../base/limits.js'
import { opstateNs, rspecNs, violinNs } from '../../rspec/names.js'
import type { AmParts } from '../context.js'
import type { Struct } from '../xmlrpc/value.js'

export function getVersion(at: AmParts, api: 2 | 3): Struct {
  const base = at.publicUrl.replace(/\/$/, '')
  const rspec = (schema: string, extensions: string[]): Struct => ({
    type: 'GENI', version: '3', schema: `${rspecNs}/${schema}`, namespace: rspecNs, extensions,
  })
  return {
    geni_api: api,
    geni_api_versions: { 2: `${base}/am/2.0`, 3: `${base}/am/3.0` },
    geni_request_rspec_versions: [rspec('request.xsd', [violinNs])],
    geni_ad_rspec_versions: [rspec('ad.xsd', [opstateNs, violinNs])],
    geni_credential_types: [{ geni_type: 'geni_sfa', geni_version: '2' }, { geni_type: 'geni_sfa', geni_version: '3' }],
    geni_single_allocation: 0,
    geni_allocate: 'geni_disjoint',
    geni_am_type: ['violin'],
    geni_am_code: at.software,
    urn: at.urn,
    violin_limits: {
      min_interval_s: limits.minIntervalMs / 1000, max_keep: limits.maxKeep, max_nodes: Math.min(limits.nodesPerSlice, at.quotas['slice-vms'] ?? Infinity),
    },
    violin_quotas: Object.fromEntries(Object.entries(at.quotas).map(([key, value]) => [key, String(value)])), // bytes may be more than an int holds
  }
}
