// The worker's figures as Prometheus text. Counters and histograms count since the worker began; gauges are read from the
// store when somebody asks. docs/operating.md lists them all.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { within, type Clock } from '../base/time.js'
import { mayBegin, type OperationalState } from '../slices/sliver.js'
import type { SliceStore } from '../slices/slice-store.js'
import type { SnapshotEntry } from '../snapshots/needs.js'
import type { Meter } from './meter.js'

export interface Metrics extends Meter {
  contentType: string
  /** Fails when the store does not answer in time. */
  text(): Promise<string>
}

/** However often is asked, the store is read no more often than this, and once for all who ask at the same time. */
const freshMs = 2_000
const readMs = 5_000
const states: OperationalState[] = ['geni_pending_allocation', ...new Set(Object.values(mayBegin).flat())]
const pauseBuckets = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
const secondsBuckets = [0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120]

export function openMetrics(at: { store: SliceStore; clock: Clock }): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const operations = new Counter({ name: 'violin_operations_total', help: 'Operations that have ended.', labelNames: ['kind', 'end'], registers })
  const pause = new Histogram({
    name: 'violin_snapshot_pause_seconds', help: 'How long each VM stood in a committed snapshot.', buckets: pauseBuckets, registers,
  })
  const duration = new Histogram({
    name: 'violin_snapshot_duration_seconds', help: 'From the begin of a snapshot until it was committed.', buckets: secondsBuckets, registers,
  })
  const rollback = new Histogram({
    name: 'violin_rollback_seconds', help: 'From the begin of a rollback until all VMs ran again.', buckets: secondsBuckets, registers,
  })
  const recoveries = new Counter({
    name: 'violin_recoveries_total', help: 'What on_failure of policies has done, and how it ended.', labelNames: ['action', 'end'], registers,
  })
  const deaths = new Counter({ name: 'violin_vm_deaths_total', help: 'VMs that ended and were not told to.', registers })
  const webhook = new Counter({ name: 'violin_webhook_events_total', help: 'Events for the webhook.', labelNames: ['end'], registers })
  const readGauges = gauges(at.store, registers)
  let reading: { since: number; done: Promise<void> } | undefined

  function fresh(): Promise<void> {
    if (reading && at.clock.monotonic() - reading.since < freshMs) return reading.done
    const mine = { since: at.clock.monotonic(), done: readGauges() }
    mine.done.catch(() => { if (reading === mine) reading = undefined })
    reading = mine
    return mine.done
  }

  return {
    contentType: registry.contentType,
    async text() {
      await within(readMs, fresh(), () => new Error('the store does not answer'))
      return registry.metrics()
    },
    operationEnded: (kind, end) => { operations.inc({ kind, end }) },
    snapshotCommitted(entry) {
      for (const ms of Object.values(entry.pauseMs)) pause.observe(ms / 1000)
      duration.observe(entry.committedMs / 1000)
    },
    rolledBack: (ms) => { rollback.observe(ms / 1000) },
    recoveryEnded: (action, end) => { recoveries.inc({ action, end }) },
    vmDied: () => { deaths.inc() },
    webhook: (end, count = 1) => { webhook.inc({ end }, count) },
  }
}

/** Reads them all anew: first everything, then it is set, so that what is shown belongs together. */
function gauges(store: SliceStore, registers: Registry[]): () => Promise<void> {
  const slices = new Gauge({ name: 'violin_slices', help: 'Slices that have slivers.', registers })
  const slivers = new Gauge({ name: 'violin_slivers', help: 'Slivers by operational state.', labelNames: ['state'], registers })
  const snapshots = new Gauge({ name: 'violin_snapshots', help: 'Snapshots, those that wait for their owner included.', registers })
  const bytes = new Gauge({ name: 'violin_snapshot_bytes', help: 'What the snapshots take.', registers })
  const hosts = new Gauge({ name: 'violin_hosts', help: 'Hosts that answer, or do not.', labelNames: ['alive'], registers })
  const free = new Gauge({ name: 'violin_store_free_bytes', help: 'Room left where a host keeps snapshots.', labelNames: ['host'], registers })
  return async () => {
    const [all, kept, known] = await Promise.all([store.slices(), store.kept(), store.hosts()])
    const uuids = [...new Set([...all, ...kept].map((s) => s.uuid))]
    const entries = (await Promise.all(uuids.map((uuid) => store.snapshots(uuid)))).flat() as SnapshotEntry[]
    const now = all.flatMap((s) => s.slivers).map((s) => s.operational)
    slices.set(all.filter((s) => s.slivers.length > 0).length)
    for (const state of states) slivers.set({ state }, now.filter((s) => s === state).length)
    snapshots.set(entries.length)
    bytes.set(entries.reduce((sum, e) => sum + e.bytes, 0))
    for (const alive of [true, false]) hosts.set({ alive: String(alive) }, known.filter((h) => h.alive === alive).length)
    free.reset()
    for (const host of known) free.set({ host: host.host }, host.storeFreeBytes)
  }
}
