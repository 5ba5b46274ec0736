// The queues. Terminology: an *operation* is a record (slices/operation.ts); a *job* is its place in the queue and carries
// nothing but the operation's id; a *worker* runs jobs; a *scheduler* makes jobs by the clock. The cut itself is never
// spread over jobs: one job leads it over connections that were open before.
import { DelayedError, Queue, Worker, type Job } from 'bullmq'
import { Redis } from 'ioredis'
import { faultPoint } from '../base/fault-points.js'
import type { Operation } from '../slices/operation.js'
import type { OperationQueue } from '../slices/slice-store.js'

export type RedisAt = { path: string } | { url: string }

export const operationsQueue = 'operations'
export const clockQueue = 'clock'

/** What a scheduler's job carries. */
export interface Tick { tick: 'snapshot'; slice: string }

/** A worker that died is noticed after this; hosts void an open cut by themselves, so no VM waits for it. */
const lockMs = 6_000
const stalledMs = 2_000
const manyStalls = 10
const concurrency = 8
const kept = { count: 200 }

export function openRedis(at: RedisAt): Redis {
  // a Redis that was started again answers before it has read its data back: commands wait for that too
  const options = { maxRetriesPerRequest: null, enableReadyCheck: true }
  const redis = 'path' in at ? new Redis({ ...options, path: at.path }) : new Redis(at.url, options)
  redis.on('error', () => undefined) // ioredis connects again; commands wait
  return redis
}

/**
 * Adds operations; the job's id is the operation's, so adding one twice is adding it once. A job that has ended makes way:
 * whoever adds it again has seen that its operation has not.
 */
export function openOperationQueue(redis: Redis): OperationQueue & { close(): Promise<void> } {
  const queue = new Queue<{ operation: string }>(operationsQueue, { connection: redis })
  queue.on('error', () => undefined)
  return {
    add: async (operation: Operation) => {
      const before = await queue.getJob(operation.id)
      if (before && ['completed', 'failed'].includes(await before.getState())) await before.remove()
      await queue.add(operation.kind, { operation: operation.id }, { jobId: operation.id, attempts: 1, removeOnComplete: kept, removeOnFail: kept })
      faultPoint('operation.queued')
    },
    close: () => queue.close(),
  }
}

/** A job that is to run again later gives its place to others meanwhile. */
export function runWorker<T>(
  redis: Redis, queue: string, run: (job: Job<T>) => Promise<{ againMs: number } | void>, onError: (error: Error) => void,
): Worker<T> {
  const worker = new Worker<T>(queue, async (job, token) => {
    const postponed = await run(job)
    if (!postponed) return
    await job.moveToDelayed(new Date().getTime() + postponed.againMs, token)
    throw new DelayedError()
  }, {
    connection: redis, concurrency, lockDuration: lockMs, stalledInterval: stalledMs, maxStalledCount: manyStalls,
  })
  worker.on('error', onError)
  worker.on('failed', (_job, error) => onError(error))
  return worker
}

/** Snapshots by the clock: one scheduler for each slice that has a policy. */
export interface Schedulers {
  set(sliceUuid: string, sliceUrn: string, everyMs: number): Promise<void>
  remove(sliceUuid: string): Promise<void>
  close(): Promise<void>
}

export function openSchedulers(redis: Redis): Schedulers {
  const queue = new Queue<Tick>(clockQueue, { connection: redis })
  queue.on('error', () => undefined)
  return {
    set: async (uuid, slice, every) => {
      const there = await queue.getJobScheduler(`policy-${uuid}`)
      if (there?.every === every) return
      await queue.upsertJobScheduler(`policy-${uuid}`, { every, startDate: new Date().getTime() + every }, {
        name: 'snapshot', data: { tick: 'snapshot', slice }, opts: { removeOnComplete: kept, removeOnFail: kept },
      })
    },
    remove: async (uuid) => { await queue.removeJobScheduler(`policy-${uuid}`) },
    close: () => queue.close(),
  }
}
