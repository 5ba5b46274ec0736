// An operation: one long change of a slice, done by one job. Its record is kept after its end, so that a user can ask a
// minute later what became of it.

import type { Login } from '../rspec/topology.js'
import type { OperationalState } from './sliver.js'

export type OperationKind =
  | 'provision' | 'start' | 'stop' | 'restart' | 'update-users' | 'snapshot' | 'rollback' | 'suspend' | 'resume' | 'delete-snapshot' | 'delete' | 'shutdown'
  | 'create-image'
  /** By a policy: every VM is stopped, asleep at a snapshot or failed. */
  | 'halt'

/** What is known of a snapshot before it is taken. */
export interface NewSnapshot { snapshot: string; name?: string; note?: string }

export interface Operation {
  format: 1
  rev: number
  /** [a-z0-9-]+; also the job's id and the `op` of a cut. */
  id: string
  kind: OperationKind
  slice: string
  /** The user's URN; 'policy' for a periodic snapshot, 'recovery' for what a failure has brought about, 'lease' for its end. */
  who: string
  why: string
  callId: string
  /** Fencing token: hosts and store refuse a lower one than they have seen. */
  token: number
  state: 'queued' | 'running' | 'done' | 'failed' | 'pre-empted'
  /**
   * `was`: operational states before the operation, by sliver id; what a failed one goes back to. `first`: a snapshot of the
   * present that is taken before a rollback begins. `boot`: what is provisioned is started too.
   * `lost`: why slivers cannot be, by sliver id, while others are waited for.
   * `logins`: the accounts that VMs are to have from now on. `image`: what is to be made of the disk of the one sliver.
   */
  params: {
    slivers?: string[]; snapshot?: string; name?: string; note?: string; first?: NewSnapshot; boot?: boolean; logins?: Login[]
    lost?: Record<string, string>
    image?: { id: string; name: string; global: boolean }
    was?: Record<string, OperationalState>
  }
  result: Record<string, string | number>
  error: string
  created: string
  ended: string
}
