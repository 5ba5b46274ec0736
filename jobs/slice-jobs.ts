// One job = one operation on one slice. Whatever a kind of operation does, it begins and ends here: the record must still
// hold this operation, and an operation that failed says why and leaves the slice free.
import { explain, unreachable } from '../base/errors.js'
import type { Operation } from '../slices/operation.js'
import type { SliceRecord } from '../slices/slice.js'
import { endOperation, holds } from '../slices/slice-lock.js'
import { isWaiting } from '../slices/sliver.js'
import type { Schedulers } from './queues.js'
import { deleteSnapshotJob, restoreJob, snapshotJob } from './snapshot-jobs.js'
import type { JobParts } from './surroundings.js'
import { deleteJob, provisionJob, shutdownJob, startJob, stopJob } from './vm-jobs.js'

export async function runOperation(at: JobParts & { schedulers: Schedulers }, id: string): Promise<void> {
  const operation = await at.store.operation(id)
  if (!operation || !['queued', 'running'].includes(operation.state)) return // a doubled job
  const slice = await at.store.slice(operation.slice)
  if (!slice || !holds(slice, operation)) {
    await at.store.saveOperation({ ...operation, state: 'pre-empted', error: 'another operation came first' })
    return
  }
  const again = operation.state === 'running'
  const log = at.log.child({ op: id, kind: operation.kind, slice: slice.urn, call: operation.callId })
  log.info({ who: operation.who, token: operation.token, again }, 'operation begins')
  await at.store.saveOperation({ ...operation, state: 'running' })
  try {
    await perform(at, slice, operation, again)
    log.info({ end: (await at.store.operation(id))?.state, error: (await at.store.operation(id))?.error }, 'operation ended')
  } catch (error) {
    log.error({ why: explain(error) }, 'operation failed')
    await endOperation(at, operation, { state: 'failed', error: explain(error) }, (record) => {
      for (const sliver of record.slivers.filter((s) => isWaiting(s.operational))) {
        const why = `${operation.kind} failed: ${explain(error)}`
        Object.assign(sliver, { operational: 'geni_failed', error: why, resourceStatus: why })
      }
    })
  }
}

async function perform(at: JobParts & { schedulers: Schedulers }, slice: SliceRecord, operation: Operation, again: boolean): Promise<void> {
  switch (operation.kind) {
    case 'provision': return provisionJob(at, slice, operation)
    case 'start': case 'restart': return startJob(at, slice, operation)
    case 'stop': return stopJob(at, slice, operation)
    case 'snapshot': case 'suspend': return snapshotJob(at, slice, operation, again)
    case 'rollback': case 'resume': return restoreJob(at, slice, operation)
    case 'delete-snapshot': return deleteSnapshotJob(at, slice, operation)
    case 'shutdown': return shutdownJob(at, slice, operation)
    case 'delete': return deleteJob(at, slice, operation, (gone) => at.schedulers.remove(gone.uuid))
    default: return unreachable(operation.kind)
  }
}
