// What every job works with.
import type { Log } from '../base/log.js'
import type { Random } from '../base/random.js'
import type { Clock } from '../base/time.js'
import type { SliceStore } from '../slices/slice-store.js'
import type { SnapshotMode, Snapshots } from '../snapshots/needs.js'
import type { HostLinks } from './host-links.js'
import type { Meter } from './meter.js'
import type { SnapshotRoom } from './snapshot-room.js'

/** Stands as the one who asked, in operations of the checkpoint policy. */
export const policyWho = 'policy'

export interface JobParts {
  store: SliceStore
  hosts: HostLinks
  snapshots: Snapshots
  mode: SnapshotMode
  room: SnapshotRoom
  /** How long snapshots wait for their owner after the end of a lease. */
  graceMs: number
  clock: Clock
  random: Random
  log: Log
  /** Undefined: nobody counts. */
  meter?: Meter
}
