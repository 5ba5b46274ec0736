// What jobs report of their work to whoever counts it (jobs/metrics.ts). Nothing depends on it: without one nobody counts.
import type { Operation, OperationKind } from '../slices/operation.js'
import type { SnapshotEntry } from '../snapshots/needs.js'

export type RecoveryAction = 'rollback' | 'suspend' | 'fail'

export interface Meter {
  operationEnded(kind: OperationKind, end: Operation['state']): void
  snapshotCommitted(entry: SnapshotEntry): void
  rolledBack(runningMs: number): void
  /** `end`: of its operation, or that there was no other one to be tried. */
  recoveryEnded(action: RecoveryAction, end: Operation['state'] | 'given-up'): void
  vmDied(): void
  webhook(end: 'sent' | 'failed' | 'dropped', count?: number): void
}
