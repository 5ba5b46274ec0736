// A snapshot core in memory with the promises of snapshots/needs.ts: all or nothing, a new epoch for each cut and a new
// run for each restore, and a cut that is told to give way aborts, as does one that recovery has found without an outcome.
import { Failure, Refusal } from '../../base/errors.js'
import { rfc3339, type Clock } from '../../base/time.js'
import type { CutResult, RestoreRequest, SnapshotEntry, SnapshotRequest, Snapshots } from '../../snapshots/needs.js'
import type { MemoryHosts } from './memory-hosts.js'

export interface MemorySnapshots extends Snapshots {
  requests: (SnapshotRequest | RestoreRequest)[]
  /** The next cut aborts, or the next restore fails, for this reason. */
  failNext: string | undefined
  /** Runs while a cut is open: where a test puts what happens meanwhile. */
  meanwhile: ((request: SnapshotRequest) => Promise<void>) | undefined
  /** Cuts that are open now, and the most that ever were. */
  open: { now: number; most: number }
  /** Free where snapshots are kept, and what each snapshot takes of it. */
  disk: { free: number; each: number }
  /** Folders of no snapshot, of every slice, and how often somebody has removed them. */
  strays: string[]
  swept: number
}

export function openMemorySnapshots(at: { hosts: MemoryHosts; clock: Clock }): MemorySnapshots {
  const entries = new Map<string, SnapshotEntry[]>()
  const of = (slice: string): SnapshotEntry[] => entries.get(slice) ?? []
  let recoveries = 0

  async function cut(request: SnapshotRequest, preempted?: AbortSignal): Promise<CutResult> {
    const epoch = request.epoch + 1
    const began = recoveries
    await snapshots.meanwhile?.(request)
    const why = snapshots.failNext ?? (began < recoveries ? 'another worker has decided on abort' : undefined)
      ?? (preempted?.aborted ? String(preempted.reason) : undefined)
      ?? request.members.filter((m) => at.hosts.condition(m.vm) !== 'ready').map((m) => `${m.clientId} does not run`)[0]
    snapshots.failNext = undefined
    if (why !== undefined) return { committed: false, reason: why, run: request.run, epoch }
    if (request.kind === 'suspend') for (const m of request.members) at.hosts.set(m.vm, 'stopped')
    const entry: SnapshotEntry = {
      format: 1, id: request.id, urn: `urn:publicid:IDN+lab.example+snapshot+${request.id}`, name: request.name ?? '', slice: request.slice.urn,
      ...(request.note !== undefined ? { note: request.note } : {}),
      origin: request.origin, kind: request.kind, mode: request.mode, parent: request.parent ?? '', created: rfc3339(at.clock.now()),
      run: request.run, epoch, members: request.members, pauseMs: Object.fromEntries(request.members.map((m) => [m.clientId, 7])), phasesMs: {},
      skewMs: 1, framesHeld: 0, longestHoldMs: 0, framesRecorded: 2, framesPutBack: 0, framesDropped: {}, bytes: snapshots.disk.each, committedMs: 300,
    }
    entries.set(request.slice.uuid, [...of(request.slice.uuid), entry])
    snapshots.disk.free -= entry.bytes
    return { committed: true, entry: structuredClone(entry), run: request.run, epoch }
  }

  const snapshots: MemorySnapshots = {
    requests: [], failNext: undefined, meanwhile: undefined, open: { now: 0, most: 0 }, disk: { free: 1e10, each: 1000 }, strays: [], swept: 0,
    async take(request, preempted) {
      snapshots.requests.push(request)
      snapshots.open.most = Math.max(snapshots.open.most, ++snapshots.open.now)
      try {
        return await cut(request, preempted)
      } finally {
        snapshots.open.now--
      }
    },
    async restore(request) {
      snapshots.requests.push(request)
      const entry = of(request.slice.uuid).find((e) => e.id === request.snapshot)
      if (!entry) throw new Refusal('not-found', `there is no snapshot ${request.snapshot}`)
      const why = snapshots.failNext
      snapshots.failNext = undefined
      if (why !== undefined) throw new Failure('aborted', why)
      for (const m of request.members) at.hosts.set(m.vm, 'ready')
      return { run: `${request.run}+`, epoch: request.epoch + 1, runningMs: 900, firstFrameMs: 950 }
    },
    async remove(slice, id) {
      snapshots.disk.free += of(slice).find((e) => e.id === id)?.bytes ?? 0
      entries.set(slice, of(slice).filter((e) => e.id !== id))
    },
    list: async (slice) => structuredClone(of(slice)),
    freeBytes: async () => snapshots.disk.free,
    recover: async () => { recoveries++ },
    names: async (slice) => [...of(slice).map((e) => e.id), ...snapshots.strays],
    endOpen: async () => {
      snapshots.swept++
      snapshots.strays.splice(0)
    },
  }
  return snapshots
}
