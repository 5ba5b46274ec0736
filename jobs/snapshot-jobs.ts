// Operations that cut or restore a slice. Each leaves the slivers in a final state, whatever happens, and says in
// resourceStatus what became of it.
import { explain } from '../base/errors.js'
import { token } from '../base/random.js'
import { faultPoint } from '../base/fault-points.js'
import { noteEvent } from '../slices/event.js'
import type { NewSnapshot, Operation } from '../slices/operation.js'
import { provisioned, type SliceRecord } from '../slices/slice.js'
import type { OperationalState, Sliver } from '../slices/sliver.js'
import { endOperation, holds } from '../slices/slice-lock.js'
import { disruptionText } from '../snapshots/catalogue.js'
import type { CutResult, Member, SnapshotEntry } from '../snapshots/needs.js'
import { recoveryWho } from './recovery.js'
import { outlived } from './retention.js'
import { removeByRetention } from './snapshot-room.js'
import { policyWho, type JobParts } from './surroundings.js'

const preemptionMs = 500

export function membersOf(slice: SliceRecord): Member[] {
  return provisioned(slice).map((s) => ({ vm: s.id, clientId: s.clientId, host: s.host, ports: s.nics.map((n) => n.port) }))
}

/** Takes a snapshot: of a running slice, or (suspend) with its VMs ended once it is committed. */
export async function snapshotJob(
  at: JobParts, slice: SliceRecord, operation: Operation, how: { again: boolean; giveWay: AbortSignal },
): Promise<void> {
  const suspend = operation.kind === 'suspend'
  const wanted = { ...operation.params, snapshot: operation.params.snapshot! }
  const cut = await takeWithRoom(at, slice, operation, wanted, how)
  const text = cut.committed ? committedText(cut.entry) : `snapshot ${operation.params.snapshot!} failed: ${cut.reason}`
  await noteEvent(at, slice, { kind: cut.committed ? 'snapshot-committed' : 'snapshot-aborted', text, op: operation.id, who: operation.who })
  await endOperation(at, operation, cut.committed
    ? { state: 'done', result: { snapshot: cut.entry.id } }
    : { state: 'failed', error: cut.reason },
  (record) => {
    record.run = cut.run
    record.epoch = Math.max(record.epoch, cut.epoch)
    record.lastSnapshot = text
    if (cut.committed) record.head = cut.entry.id
    leave(record, suspend && cut.committed ? 'violin_suspended' : 'geni_ready', text)
  })
  if (cut.committed && cut.entry.origin === 'policy') await retain(at, slice)
}

/** One that an earlier worker has begun is begun anew, under a name of its own: hosts give up what they had made for the first. */
export async function restoreJob(
  at: JobParts, before: SliceRecord, operation: Operation, how: { again: boolean; giveWay: AbortSignal },
): Promise<void> {
  const wanted = operation.params.snapshot!
  const { first } = operation.params
  const slice = first ? await keepPresent(at, before, operation, first, how) : before
  if (!slice) return
  try {
    const went = await at.snapshots.restore({
      op: how.again ? `${operation.id}-${token(at.random, 4)}` : operation.id, token: operation.token, snapshot: wanted,
      slice: { urn: slice.urn, uuid: slice.uuid },
      run: slice.run, epoch: slice.epoch, members: membersOf(slice),
    })
    if (operation.kind === 'rollback') at.meter?.rolledBack(went.runningMs)
    const frames = went.firstFrameMs === undefined ? '' : `, first frames after ${went.firstFrameMs} ms`
    const text = `${operation.kind === 'resume' ? 'resumed from' : 'rolled back to'} snapshot ${wanted}: running again after ${went.runningMs} ms${frames}`
    const told = operation.who === recoveryWho ? `${await recoveredText(at, slice, operation)}; ${text}` : text + keptText(operation)
    const result = { snapshot: wanted, runningMs: went.runningMs, firstFrameMs: went.firstFrameMs ?? 0, ...(first ? { first: first.snapshot } : {}) }
    await endOperation(at, operation, { state: 'done', result }, (record) => {
      record.run = went.run
      record.epoch = went.epoch
      record.head = wanted
      for (const sliver of provisioned(record)) Object.assign(sliver, { operational: 'geni_ready', error: '', resourceStatus: told })
    })
    if (operation.who === recoveryWho) await noteEvent(at, slice, { kind: 'recovered', text: told, op: operation.id, who: recoveryWho })
  } catch (error) {
    await failRestore(at, slice, operation, explain(error))
  }
}

/**
 * The first step of a rollback that keeps the present: its snapshot, and the slice as it is then. Undefined when there is
 * none: then the operation has ended, nothing is rolled back, and the VMs run on. A worker that comes after one that died
 * finds out whether it was committed, and takes no second one.
 */
async function keepPresent(
  at: JobParts, slice: SliceRecord, operation: Operation, first: NewSnapshot, how: { again: boolean; giveWay: AbortSignal },
): Promise<SliceRecord | undefined> {
  if (how.again && slice.head === first.snapshot) return slice // the earlier worker came as far as this, and told it
  const cut = await takeWithRoom(at, slice, operation, first, how)
  const text = cut.committed ? committedText(cut.entry) : `snapshot ${first.snapshot} failed: ${cut.reason}`
  await noteEvent(at, slice, { kind: cut.committed ? 'snapshot-committed' : 'snapshot-aborted', text, op: operation.id, who: operation.who })
  if (!cut.committed) {
    const error = `the snapshot ${first.snapshot} of the present has failed, so nothing was rolled back: ${cut.reason}`
    await endOperation(at, operation, { state: 'failed', error }, (record) => {
      record.epoch = Math.max(record.epoch, cut.epoch)
      record.lastSnapshot = text
      leave(record, 'geni_ready', `rollback to snapshot ${operation.params.snapshot!} failed: ${error}`)
    })
    return undefined
  }
  const now = await at.store.update(slice.urn, (record) => {
    if (!holds(record, operation)) return undefined
    record.run = cut.run
    record.epoch = Math.max(record.epoch, cut.epoch)
    record.head = cut.entry.id
    record.lastSnapshot = text
    return record
  })
  faultPoint('worker.rollback.kept')
  if (holds(now, operation)) return now
  await endOperation(at, operation, { state: 'failed', error: 'another operation came first' }, () => undefined)
  return undefined
}

const keptText = ({ params: { first } }: Operation): string => (first ? `; what was before is kept as snapshot ${first.name ?? first.snapshot}` : '')

/** Work that is lost is told, in seconds. */
async function recoveredText(at: JobParts, slice: SliceRecord, operation: Operation): Promise<string> {
  const entry = (await at.snapshots.list(slice.uuid)).find((e) => e.id === operation.params.snapshot)
  const lost = entry ? Math.max(0, Math.round((Date.parse(operation.created) - Date.parse(entry.created)) / 1000)) : undefined
  return `recovered by itself (${operation.why})${lost === undefined ? '' : `: the work of ${lost} s since the snapshot is lost`}`
}

export async function deleteSnapshotJob(at: JobParts, slice: SliceRecord, operation: Operation): Promise<void> {
  await at.snapshots.remove(slice.uuid, operation.params.snapshot!)
  await noteCatalogue(at, slice.uuid)
  await endOperation(at, operation, { state: 'done' }, (record) => {
    if (record.head === operation.params.snapshot) record.head = ''
    if (operation.who === policyWho) return // nobody asked for it
    for (const sliver of provisioned(record)) sliver.resourceStatus = `snapshot ${operation.params.snapshot!} deleted`
  })
  await noteEvent(at, slice, { kind: 'snapshot-removed', text: `snapshot ${operation.params.snapshot!} is removed`, op: operation.id, who: operation.who })
}

/** The catalogue in the store is a copy for those who have no access to the files. */
export async function noteCatalogue(at: JobParts, uuid: string): Promise<SnapshotEntry[]> {
  const entries = await at.snapshots.list(uuid)
  await at.store.saveSnapshots(uuid, entries)
  return entries
}

/** Within the quotas, and with the catalogue told; or what became of it under a worker that has died. */
async function takeWithRoom(
  at: JobParts, slice: SliceRecord, operation: Operation, wanted: NewSnapshot, how: { again: boolean; giveWay: AbortSignal },
): Promise<CutResult> {
  const noted = async (cut: CutResult): Promise<CutResult> => {
    if (cut.committed) await noteCatalogue(at, slice.uuid)
    return cut
  }
  if (how.again) return noted(await cutBefore(at, slice, wanted))
  const room = { op: operation.id, byPolicy: operation.who === policyWho, giveWay: how.giveWay }
  const cut = await at.room.during(at, slice, room, async () => noted(await takeOne(at, slice, operation, wanted, how.giveWay)))
  if (cut.committed) at.meter?.snapshotCommitted(cut.entry)
  return cut
}

async function takeOne(at: JobParts, slice: SliceRecord, operation: Operation, wanted: NewSnapshot, giveWay: AbortSignal): Promise<CutResult> {
  const suspend = operation.kind === 'suspend'
  const preempted = new AbortController() // one for both reasons: what AbortSignal.any makes is never let go in Node 20
  const yields = () => preempted.abort(giveWay.reason)
  if (giveWay.aborted) yields()
  giveWay.addEventListener('abort', yields, { once: true })
  const watching = setInterval(() => {
    void at.store.slice(slice.urn).then((now) => {
      if (!holds(now, operation)) preempted.abort(`${now?.operation?.kind ?? 'another operation'} came first`)
    }, () => undefined)
  }, preemptionMs)
  watching.unref()
  try {
    return await at.snapshots.take({
      id: wanted.snapshot, op: operation.id, token: operation.token, slice: { urn: slice.urn, uuid: slice.uuid },
      run: slice.run, epoch: slice.epoch, parent: slice.head, origin: operation.who === policyWho ? 'policy' : suspend ? 'suspend' : 'user',
      kind: suspend ? 'suspend' : 'live', mode: at.mode, members: membersOf(slice), topology: slice.slivers.map((s) => s.node),
      ...(wanted.name ? { name: wanted.name } : {}), ...(wanted.note ? { note: wanted.note } : {}),
      ...(slice.policy?.maxPauseMs !== undefined && !suspend ? { maxPauseMs: slice.policy.maxPauseMs } : {}),
    }, preempted.signal)
  } catch (error) {
    const entry = (await at.snapshots.list(slice.uuid)).find((e) => e.id === wanted.snapshot) // what is decided holds, whoever failed after it
    if (entry) return { committed: true, entry, run: entry.run, epoch: entry.epoch }
    return { committed: false, reason: explain(error), run: slice.run, epoch: slice.epoch }
  } finally {
    clearInterval(watching)
    giveWay.removeEventListener('abort', yields)
  }
}

/**
 * The worker that led this cut ended in it. What the outcome says, holds; there is no second cut under the same id. Where
 * there was none, the next worker has aborted it before it took its first job (jobs/main.ts).
 */
async function cutBefore(at: JobParts, slice: SliceRecord, wanted: NewSnapshot): Promise<CutResult> {
  const entry = (await at.snapshots.list(slice.uuid)).find((e) => e.id === wanted.snapshot)
  if (entry) return { committed: true, entry, run: entry.run, epoch: entry.epoch }
  return { committed: false, reason: 'the worker that led it ended in the middle of it; the next one will do', run: slice.run, epoch: slice.epoch }
}

async function failRestore(at: JobParts, slice: SliceRecord, operation: Operation, why: string): Promise<void> {
  const reports = await Promise.all([...new Set(slice.slivers.map((s) => s.host))].map((host) => at.hosts.reports(host).catch(() => [])))
  const ready = new Set(reports.flat().filter((r) => r.condition === 'ready').map((r) => r.vm))
  /** What ran still runs, what was stopped or suspended still is: a restore that failed has changed nothing. */
  const stateOf = (sliver: Sliver): OperationalState => {
    const was = operation.params.was?.[sliver.id]
    if (ready.has(sliver.id)) return 'geni_ready'
    if (ready.size === 0 && (was === 'violin_suspended' || operation.kind === 'resume')) return 'violin_suspended'
    return was === 'geni_notready' ? 'geni_notready' : 'geni_failed'
  }
  const text = `${operation.kind} to snapshot ${operation.params.snapshot!} failed: ${why}${keptText(operation)}`
  await endOperation(at, operation, { state: 'failed', error: why }, (record) => {
    for (const sliver of provisioned(record)) {
      sliver.operational = stateOf(sliver)
      sliver.resourceStatus = text
      if (sliver.operational === 'geni_failed') sliver.error = text
    }
  })
}

/** After a snapshot of the policy: what it does not keep goes (retention.ts). */
async function retain(at: JobParts, slice: SliceRecord): Promise<void> {
  const now = await at.store.slice(slice.urn)
  if (!now?.policy) return
  for (const old of outlived(await at.snapshots.list(slice.uuid), now.policy, now.head, at.clock.now())) {
    await removeByRetention(at, slice, old, 'the policy does not keep it')
  }
  await noteCatalogue(at, slice.uuid)
}

function leave(record: SliceRecord, state: OperationalState, text: string): void {
  for (const sliver of provisioned(record)) {
    if (sliver.operational === 'geni_failed') continue // it has died in the meantime: why is told, and what the policy tells when it heals it
    Object.assign(sliver, { operational: state, resourceStatus: text })
  }
}

function committedText(entry: SnapshotEntry): string {
  return `snapshot ${entry.name === '' ? entry.id : `${entry.name} (${entry.id})`} committed at ${entry.created}: ${disruptionText(entry)}`
}
