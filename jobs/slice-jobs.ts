// One job = one operation on one slice. Whatever a kind of operation does, it begins and ends here: the record must still
// hold this operation, nothing else is at work on the slice, and an operation that failed says why and leaves it free.
import { explain, Failure, unreachable } from '../base/errors.js'
import { limits } from '../base/limits.js'
import { within } from '../base/time.js'
import type { Operation, OperationKind } from '../slices/operation.js'
import { provisioned, type SliceRecord } from '../slices/slice.js'
import { endOperation, holds } from '../slices/slice-lock.js'
import { isWaiting } from '../slices/sliver.js'
import type { Postponed } from './fetch-images.js'
import { createImageJob } from './image-jobs.js'
import { recoveryWho } from './recovery.js'
import type { Schedulers } from './queues.js'
import { deleteSnapshotJob, restoreJob, snapshotJob } from './snapshot-jobs.js'
import type { JobParts } from './surroundings.js'
import { deleteJob, haltJob, provisionJob, shutdownJob, startJob, stopJob, updateUsersJob } from './vm-jobs.js'
import { recheck } from './vm-watch.js'

type Parts = JobParts & { schedulers: Schedulers }
interface Run { id: string; giveWay: AbortController; over: Promise<Postponed | undefined> }

/** Operations that will run again: their begin is told once. */
const postponedOnes = new Set<string>()

/** How long an operation waits for the end of one that it has pre-empted. */
const giveWayMs = limits.restoreMs

/**
 * Runs operations by their ids, one per slice at a time. A later operation tells the one it has pre-empted to give way and
 * waits for its end, so that a VM is not defined after it was destroyed, nor a cut begun inside another. Who is told that one is postponed runs
 * it again.
 */
export function operationRunner(at: Parts): (id: string) => Promise<Postponed | undefined> {
  const runs = new Map<string, Run>()
  return async (id) => {
    const operation = await admitted(at, id)
    if (!operation) {
      postponedOnes.delete(id)
      return undefined
    }
    const key = operation.slice.toLowerCase()
    const earlier = runs.get(key)
    if (earlier?.id === id) return earlier.over // a doubled job
    const giveWay = new AbortController()
    const over = earlier ? passed(at, earlier, operation).then(() => runOperation(at, id, giveWay.signal)) : runOperation(at, id, giveWay.signal)
    runs.set(key, { id, giveWay, over })
    try {
      return await over
    } finally {
      if (runs.get(key)?.id === id) runs.delete(key)
    }
  }
}

async function passed(at: Parts, earlier: Run, operation: Operation): Promise<void> {
  earlier.giveWay.abort(`${operation.kind} came first`)
  try {
    await within(giveWayMs, earlier.over, () => new Failure('timed-out', `${earlier.id} does not end`))
  } catch (error) {
    at.log.warn({ op: operation.id, earlier: earlier.id, why: explain(error) }, 'going on in spite of an earlier operation')
  }
}

/** The operation, if its job has something to do: it has not ended and still holds its slice. */
async function admitted(at: Parts, id: string): Promise<Operation | undefined> {
  const operation = await at.store.operation(id)
  if (!operation || operation.ended !== '' || !['queued', 'running'].includes(operation.state)) return undefined // a doubled job
  const slice = await at.store.slice(operation.slice)
  if (holds(slice, operation)) return operation
  await endOperation(at, operation, { state: 'pre-empted', error: 'another operation came first' }, () => undefined)
  count(at, { ...operation, state: 'pre-empted' })
  return undefined
}

async function runOperation(at: Parts, id: string, giveWay: AbortSignal): Promise<Postponed | undefined> {
  const operation = await admitted(at, id) // again: it may have waited
  const slice = operation && await at.store.slice(operation.slice)
  if (!operation || !slice) return undefined
  const again = operation.state === 'running'
  const log = at.log.child({ op: id, kind: operation.kind, slice: slice.urn, call: operation.callId })
  if (!postponedOnes.delete(id)) log.info({ who: operation.who, token: operation.token, again }, 'operation begins')
  await at.store.saveOperation({ ...operation, state: 'running' })
  try {
    const postponed = await perform(at, slice, operation, { again, giveWay })
    if (postponed) {
      postponedOnes.add(id)
      return postponed
    }
  } catch (error) {
    log.error({ why: explain(error) }, 'operation failed')
    await failed(at, operation, explain(error))
  }
  const ended = await at.store.operation(id)
  log.info({ end: ended?.state, error: ended?.error }, 'operation ended')
  if (ended && ended.ended !== '') count(at, ended)
  await recheck(at, operation.slice)
  return undefined
}

function count(at: Parts, { kind, state, who, params }: Operation): void {
  at.meter?.operationEnded(kind, state)
  if (who === recoveryWho) at.meter?.recoveryEnded(kind === 'rollback' ? 'rollback' : params.snapshot === undefined ? 'fail' : 'suspend', state)
}

/** What the operation itself did not foresee. Slivers that it left waiting have failed; the others are told of it. */
async function failed(at: Parts, operation: Operation, why: string): Promise<void> {
  if ((await at.store.operation(operation.id))?.ended !== '') return // it failed in what comes after its end
  const text = `${operation.kind} failed: ${why}`
  await endOperation(at, operation, { state: 'failed', error: why }, (record) => {
    for (const sliver of provisioned(record)) {
      if (isWaiting(sliver.operational)) Object.assign(sliver, { operational: 'geni_failed', error: text })
      sliver.resourceStatus = text
    }
  })
}

async function perform(
  at: Parts, slice: SliceRecord, operation: Operation, how: { again: boolean; giveWay: AbortSignal },
): Promise<Postponed | undefined> {
  if (operation.kind === 'provision') return provisionJob(at, slice, operation)
  await performWhole(at, slice, operation, operation.kind, how)
  return undefined
}

async function performWhole(
  at: Parts, slice: SliceRecord, operation: Operation, kind: Exclude<OperationKind, 'provision'>, how: { again: boolean; giveWay: AbortSignal },
): Promise<void> {
  switch (kind) {
    case 'start': case 'restart': return startJob(at, slice, operation)
    case 'update-users': return updateUsersJob(at, slice, operation)
    case 'create-image': return createImageJob(at, slice, operation)
    case 'stop': return stopJob(at, slice, operation)
    case 'snapshot': case 'suspend': return snapshotJob(at, slice, operation, how)
    case 'rollback': case 'resume': return restoreJob(at, slice, operation, how)
    case 'delete-snapshot': return deleteSnapshotJob(at, slice, operation)
    case 'halt': return haltJob(at, slice, operation)
    case 'shutdown': return shutdownJob(at, slice, operation)
    case 'delete': return deleteJob(at, slice, operation, (gone) => at.schedulers.remove(gone.uuid))
    default: return unreachable(kind)
  }
}
