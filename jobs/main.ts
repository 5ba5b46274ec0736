// The worker: leads every operation, cuts included. It serves only after what an earlier worker left open has ended and
// the records agree with what the hosts say.
import { readFileSync } from 'node:fs'
import { sweepAsides } from '../base/durable.js'
import { explain } from '../base/errors.js'
import { armFaults } from '../base/fault-points.js'
import { limits } from '../base/limits.js'
import { makeLog } from '../base/log.js'
import { realRandom as random } from '../base/random.js'
import { readableOr } from '../base/records.js'
import { realClock as clock } from '../base/time.js'
import { makeUrn } from '../base/urn.js'
import { standardQuotas, type Quotas } from '../slices/quota.js'
import { openSliceStore } from '../slices/redis-slice-store.js'
import type { SnapshotMode } from '../snapshots/needs.js'
import { openSnapshots } from '../snapshots/open.js'
import { connectHosts } from './host-links.js'
import { sweepKept } from './kept-snapshots.js'
import { expireSlivers, finishEndings, keepSchedules, mendLocks, retireOld, snapshotTick, type PeriodicParts } from './periodic.js'
import { clockQueue, openOperationQueue, openRedis, openSchedulers, operationsQueue, runWorker, type RedisAt, type Tick } from './queues.js'
import { questionAnswerer, questionsQueue, type Question } from './questions.js'
import { operationRunner } from './slice-jobs.js'
import { openMetrics } from './metrics.js'
import { serveMetrics } from './metrics-server.js'
import { noteCatalogue } from './snapshot-jobs.js'
import { SnapshotRoom } from './snapshot-room.js'
import { strayLook } from './stray-snapshots.js'
import { recoverSlices } from './recovery.js'
import { openWebhook } from './webhook.js'
import { noteHostChange, noteHosts, noteReport, reconcile, reconcileUnanswered } from './vm-watch.js'

export interface WorkerConfig {
  redis: RedisAt
  hosts: { name: string; socket: string }[]
  store: string
  keyFile: string
  certFile: string
  snapshotMode: SnapshotMode
  authority: string
  software: string
  /** How long snapshots wait for their owner after the end of a lease; 7 days when it is not said. */
  graceDays?: number
  quotas?: Quotas
  /** No snapshot begins with less than this free where snapshots are kept; limits.freeFloorBytes when it is not said. */
  freeFloorBytes?: number
  /** Where metrics are served; not at all when it is not said. */
  metrics?: { host: string; port: number }
  /** Where every event is posted to. */
  webhook?: string
  logLevel?: string
  /** Orders for fault points: tests only. */
  faults?: string
}

const config = JSON.parse(process.env['VIOLIN_CONFIG'] ?? '{}') as WorkerConfig
const log = makeLog('worker', config.logLevel)
armFaults(config.faults)
const watchMs = 1_000
const hostsMs = 5_000
const dayMs = 24 * 3600_000

const redis = openRedis(config.redis)
const store = openSliceStore(redis, (what, why) => log.error({ what, why }, 'a record cannot be read: it is left alone'))
const hosts = await connectHosts({ hosts: config.hosts, log, clock })
const freeFloorBytes = config.freeFloorBytes ?? limits.freeFloorBytes
const snapshots = await openSnapshots({
  freeFloorBytes,
  links: hosts, journal: store.journal, store: config.store, keyPem: readFileSync(config.keyFile, 'utf8'),
  certificatePem: readFileSync(config.certFile, 'utf8'), am: makeUrn(config.authority, 'authority', 'am'), software: config.software, clock, random, log,
})
const queue = openOperationQueue(redis)
const schedulers = openSchedulers(redis)
const metrics = config.metrics ? openMetrics({ store, clock }) : undefined
const parts: PeriodicParts = {
  ...(metrics ? { meter: metrics } : {}),
  store, hosts, snapshots, mode: config.snapshotMode, graceMs: (config.graceDays ?? 7) * dayMs, clock, random, log, queue, schedulers,
  room: new SnapshotRoom({ quotas: config.quotas ?? standardQuotas, floorBytes: freeFloorBytes }),
}

const complain = (what: string) => (error: unknown) => log.error({ why: explain(error) }, what)
hosts.onVmChanged((report) => {
  const noted = noteReport(parts, report).then(() => (report.condition === 'dead' ? recoverSlices(parts) : undefined)) // at once: every second counts
  void noted.catch(complain('a report could not be noted'))
})
hosts.onHostLost((host) => void noteHostChange(parts, host, 'host-lost').catch(complain('the loss of a host could not be noted')))
hosts.onHostBack((host) => {
  void noteHostChange(parts, host, 'host-back').catch(complain('the return of a host could not be noted'))
  void reconcile(parts).catch(complain('the records could not be reconciled'))
})

await snapshots.recover()
await sweepAsides(config.store)
await reconcile(parts)
await noteHosts(parts)
for (const slice of await store.slices()) {
  await noteCatalogue(parts, slice.uuid)
  const { operation } = slice
  const lost = (why: string) => log.error({ slice: slice.urn, why }, 'its operation is lost')
  const open = operation ? await readableOr(() => store.operation(operation.id), lost) : undefined
  if (open?.ended === '') await queue.add(open) // its job may have been lost with Redis
}

const run = operationRunner(parts)
const operations = runWorker<{ operation: string }>(redis, operationsQueue, (job) => run(job.data.operation), complain('an operation failed'))
const ticks = runWorker<Tick>(redis, clockQueue, (job) => snapshotTick(parts, job.data), complain('a periodic snapshot failed'))
const questions = runWorker<Question>(redis, questionsQueue, questionAnswerer(redis, parts), complain('a question could not be answered'))
let busy = false
const watching = setInterval(() => {
  if (busy) return
  busy = true
  const work = async () => {
    await expireSlivers(parts)
    await finishEndings(parts)
    await recoverSlices(parts)
    await keepSchedules(parts)
    await retireOld(parts)
  }
  void work().catch(complain('the clock work failed')).finally(() => { busy = false })
}, watchMs)
const lookForStrays = strayLook(parts)
const counting = setInterval(() => {
  const work = async () => {
    await noteHosts(parts)
    await reconcileUnanswered(parts)
    await mendLocks(parts)
    await sweepKept(parts)
    await lookForStrays()
  }
  void work().catch(complain('the hosts could not be noted'))
}, hostsMs)
// who cannot be asked for figures still leads operations
const metricsServer = metrics && await serveMetrics(config.metrics!, metrics, log).catch(complain('there are no metrics'))
const webhook = config.webhook !== undefined ? openWebhook({ url: config.webhook, feed: store.feed, log, ...(metrics ? { meter: metrics } : {}) }) : undefined
log.info('worker is up')
process.send?.({ ready: true })

process.on('SIGTERM', () => {
  void (async () => {
    clearInterval(watching)
    clearInterval(counting)
    hosts.close()
    await Promise.all([metricsServer?.close(), webhook?.close()])
    await Promise.all([operations.close(true), ticks.close(true), questions.close(true)])
    await Promise.all([queue.close(), schedulers.close()])
    redis.disconnect()
    process.disconnect?.()
  })()
})
