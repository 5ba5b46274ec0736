// A worker without network and Redis: real jobs over a store, hosts and snapshots in memory, and a clock that only moves
// when somebody sleeps or the test says so.
import { silentLog } from '../../../base/log.js'
import { realRandom as random } from '../../../base/random.js'
import type { PeriodicParts } from '../../../jobs/periodic.js'
import { SnapshotRoom } from '../../../jobs/snapshot-room.js'
import { operationRunner } from '../../../jobs/slice-jobs.js'
import { noteReport } from '../../../jobs/vm-watch.js'
import type { Operation, OperationKind } from '../../../slices/operation.js'
import { beginOperation, type NewOperation } from '../../../slices/slice-lock.js'
import type { Quotas } from '../../../slices/quota.js'
import type { SliceRecord } from '../../../slices/slice.js'
import type { OperationalState } from '../../../slices/sliver.js'
import { vmSpecOf } from '../../../slices/vm-spec-of.js'
import { aliceUrn, aSlice, noon } from '../../a-slice.js'
import { openMemoryHosts } from '../../fakes/memory-hosts.js'
import { openMemorySnapshots } from '../../fakes/memory-snapshots.js'
import { memoryQueue, openMemoryStore } from '../../fakes/memory-store.js'

export const day = 24 * 3600_000

export async function worker(bounds: { quotas?: Quotas; floorBytes?: number } = {}) {
  const time = { at: noon }
  const clock = { now: () => time.at, monotonic: () => time.at, sleep: async (ms: number) => { time.at += ms } }
  const store = openMemoryStore()
  const hosts = openMemoryHosts()
  const snapshots = openMemorySnapshots({ hosts, clock })
  const queue = memoryQueue()
  const schedules = new Map<string, number>()
  const parts: PeriodicParts = {
    room: new SnapshotRoom({ quotas: {}, floorBytes: 0, ...bounds }),
    store, hosts, snapshots, mode: 'live', graceMs: 7 * day, clock, random, log: silentLog, queue,
    schedulers: {
      set: async (uuid, _urn, every) => { schedules.set(uuid, every) },
      remove: async (uuid) => { schedules.delete(uuid) },
      close: async () => undefined,
    },
  }
  const told: Promise<void>[] = []
  hosts.onVmChanged((report) => { told.push(noteReport(parts, report)) })
  const run = operationRunner(parts)

  /** What the AM does at the begin of an operation. */
  async function begin(
    slice: SliceRecord, kind: OperationKind, more: Partial<NewOperation> = {}, state?: OperationalState,
  ): Promise<Operation> {
    const { operation } = await beginOperation(parts, slice.urn, { kind, who: aliceUrn, why: kind, callId: 'c1', ...more }, (record, begun) => {
      begun.params = { ...begun.params, was: Object.fromEntries(record.slivers.map((s) => [s.id, s.operational])) }
      for (const s of record.slivers) if (state) s.operational = state
    })
    return operation
  }
  const record = async (slice: SliceRecord): Promise<SliceRecord> => (await store.slice(slice.urn))!
  const ended = async (operation: Operation): Promise<Operation> => (await store.operation(operation.id))!
  const states = async (slice: SliceRecord) => (await record(slice)).slivers.map((s) => s.operational)
  /** A slice whose VMs are as the record says: `geni_ready` ones run. */
  async function slice(more: Partial<SliceRecord> = {}): Promise<SliceRecord> {
    const made = aSlice('exp1', { run: 'r1', epoch: 4, ...more })
    await store.create(made)
    for (const s of made.slivers.filter((v) => v.allocation === 'geni_provisioned')) {
      await hosts.defineVm(s.host, vmSpecOf(made, s))
      hosts.set(s.id, s.operational === 'geni_ready' ? 'ready' : 'stopped')
    }
    await Promise.all(told)
    hosts.calls.length = 0
    return made
  }
  const settled = () => Promise.all(told)
  return { parts, store, hosts, snapshots, queue, schedules, time, run, begin, record, ended, states, slice, settled }
}
