// The record of a slice: all that the aggregate knows of it. One JSON value in the store, changed by compare-and-set on
// `rev` and in no other way.
import type { CheckpointPolicy } from '../rspec/topology.js'
import type { OperationKind } from './operation.js'
import type { Sliver } from './sliver.js'

/** Recoveries by the policy since the slice last did well. */
export interface Recovery {
  attempts: number
  /** RFC 3339: when the last one began, and before which there is no other. */
  last: string
  notBefore: string
  /** What it went back to; '' where the slice was only stopped. */
  snapshot: string
  story: string[]
  /** There will be no other: the user must act. */
  over: boolean
}

export interface SliceRecord {
  format: 1
  rev: number
  urn: string
  /** From the slice's certificate: names are used again, this is not. */
  uuid: string
  creator: string
  /** When the credential that was last used ends; slivers never live longer. RFC 3339. */
  credentialExpires: string
  /** Hints only: hosts remember the highest run and epoch, and theirs win. */
  run: string
  epoch: number
  /** Fencing token of the last operation. */
  token: number
  /** The snapshot that the present run descends from; '' for none. */
  head: string
  /** The operation under way, or null. The slice's lock. */
  operation: { id: string; kind: OperationKind; since: string; byPolicy: boolean } | null
  /** How the last snapshot of the policy went, for Status. */
  lastSnapshot: string
  shutdown: boolean
  /** The request of each Allocate, as it came. */
  allocations: { requestXml: string; at: string }[]
  policy: CheckpointPolicy | null
  recovery?: Recovery
  slivers: Sliver[]
  /** The next port number: never used twice in a slice. */
  nextPort: number
}

export const provisioned = (slice: SliceRecord): Sliver[] => slice.slivers.filter((s) => s.allocation === 'geni_provisioned')
