// A sliver is one VM of a slice. Its two states follow the AM API v3 (geni_* names are the wire's own); the tables say
// what may follow what, and asking for anything else is refused before anything is touched.
import type { Node } from '../rspec/topology.js'
import type { Login } from '../rspec/topology.js'
import type { NicSpec } from './vm-spec.js'

export type AllocationState = 'geni_unallocated' | 'geni_allocated' | 'geni_provisioned'

//  geni_notready ─start─▶ geni_configuring ─▶ geni_ready ─suspend─▶ violin_suspending ─▶ violin_suspended ─resume─┐
//        ▲                                     │  ▲                                                                │
//        └── geni_stopping ◀──────stop─────────┘  └── violin_snapshotting, violin_rolling_back, violin_resuming ◀──┘
//  and geni_failed from everywhere: the VM died, or could not be brought where it should be
export type OperationalState =
  | 'geni_pending_allocation' | 'geni_notready' | 'geni_configuring' | 'geni_ready' | 'geni_stopping' | 'geni_failed' | 'geni_updating_users'
  | 'violin_snapshotting' | 'violin_suspending' | 'violin_suspended' | 'violin_resuming' | 'violin_rolling_back'

/** The interface that its VM has, under its client_id in the request. */
export interface SliverNic extends Omit<NicSpec, 'name'> { clientId: string }

export interface Sliver {
  /** [a-z0-9-]+: the name of its VM on the host and the last part of its URN. */
  id: string
  urn: string
  clientId: string
  /** Which Allocate made it: index into SliceRecord.allocations. */
  allocationIndex: number
  allocation: AllocationState
  operational: OperationalState
  /** Non-empty only for a real failure of this sliver (clients count it as failed). */
  error: string
  /** Free text for people: what is going on, or what happened last. */
  resourceStatus: string
  /** RFC 3339 in UTC, as the client asked for it. */
  expires: string
  host: string
  node: Node
  nics: SliverNic[]
  loginPort: number
  logins: Login[]
}

const provisionedStates: OperationalState[] = [
  'geni_ready', 'geni_failed', 'geni_notready', 'geni_configuring', 'geni_stopping', 'violin_suspended', 'violin_snapshotting', 'violin_suspending',
  'violin_resuming', 'violin_rolling_back', 'geni_updating_users',
]

/** Actions on a VM or a slice, and the states in which each may begin. AM API v3: a wrong state is 13 UNSUPPORTED. */
export const mayBegin: Record<string, OperationalState[]> = {
  geni_start: ['geni_notready', 'geni_configuring', 'geni_ready'],
  geni_stop: ['geni_ready', 'violin_suspended', 'geni_failed'],
  geni_restart: ['geni_ready', 'geni_failed'],
  geni_update_users: ['geni_ready'],
  violin_snapshot: ['geni_ready'],
  violin_suspend: ['geni_ready'],
  violin_resume: ['violin_suspended'],
  violin_rollback: ['geni_ready', 'geni_failed', 'geni_notready', 'violin_suspended'],
  violin_list: provisionedStates,
  violin_events: provisionedStates,
  violin_console: provisionedStates,
  geni_console_url: provisionedStates,
  violin_delete: ['geni_ready', 'geni_failed', 'geni_notready', 'violin_suspended'],
  violin_set_policy: provisionedStates,
}

const waiting: OperationalState[] = [
  'geni_configuring', 'geni_stopping', 'geni_updating_users', 'violin_snapshotting', 'violin_suspending', 'violin_resuming', 'violin_rolling_back',
]

/** States that end by themselves: an operation is at work. */
export const isWaiting = (state: OperationalState): boolean => waiting.includes(state)
