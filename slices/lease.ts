// When does a sliver expire? Never after the credential, never later than we allow.
import { limits } from '../base/limits.js'

export interface LeaseBounds { now: number; credentialExpires: number; allocation: 'geni_allocated' | 'geni_provisioned' }

/** The latest instant (ms) that a lease may reach. */
export function latestExpiry({ now, credentialExpires, allocation }: LeaseBounds): number {
  const life = allocation === 'geni_allocated' ? limits.allocatedLifeMs : limits.provisionedLifeMs
  return Math.min(credentialExpires, now + life)
}

/** A lease as asked for, clipped; without a wish as long as is allowed. */
export function grantedExpiry(bounds: LeaseBounds, wanted: number | undefined): number {
  const latest = latestExpiry(bounds)
  return wanted === undefined ? latest : Math.min(wanted, latest)
}
