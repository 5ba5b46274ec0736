// Room for the next snapshot: the quotas of its slice and its user, and the free bytes that are always left. For a snapshot
// of the policy older ones of the policy make way; a user's snapshot takes nothing from anybody and is refused. One cut's
// estimate counts for all others until it is over, so that two at once do not both take the last room.
import { explain, Failure } from '../base/errors.js'
import { shownSize } from '../base/sizes.js'
import { sameUrn } from '../base/urn.js'
import { Turns } from '../base/turns.js'
import { noteEvent } from '../slices/event.js'
import type { Quotas } from '../slices/quota.js'
import type { SliceRecord } from '../slices/slice.js'
import type { CutResult, SnapshotEntry } from '../snapshots/needs.js'
import { boundsSnapshots, estimateOf, excessOf, snapshotObjection, snapshotUse } from '../snapshots/quota.js'
import { mayGo, toFree } from './retention.js'
import type { JobParts } from './surroundings.js'

interface Plan { objection: string | undefined; going: SnapshotEntry[]; bytes: number }

export class SnapshotRoom {
  readonly quotas: Quotas
  readonly floorBytes: number
  private readonly promised = new Map<string, { slice: string; user: string; bytes: number }>()
  private readonly turns = new Turns()

  constructor(bounds: { quotas: Quotas; floorBytes: number }) {
    this.quotas = bounds.quotas
    this.floorBytes = bounds.floorBytes
  }

  /** Why the policy's next snapshot cannot be, even when all goes that may go. Changes nothing. */
  async objection(at: JobParts, slice: SliceRecord): Promise<string | undefined> {
    return (await this.plan(at, slice, true)).objection
  }

  /** Makes room, takes the snapshot, and is over with it once `cut` has noted what it has taken. */
  async during(
    at: JobParts, slice: SliceRecord, how: { op: string; byPolicy: boolean; giveWay: AbortSignal }, cut: () => Promise<CutResult>,
  ): Promise<CutResult> {
    const objection = await this.turns.run('room', () => this.claim(at, slice, how))
    if (objection !== undefined) return { committed: false, reason: objection, run: slice.run, epoch: slice.epoch }
    try {
      return await cut()
    } finally {
      this.promised.delete(how.op)
    }
  }

  private async claim(at: JobParts, slice: SliceRecord, how: { op: string; byPolicy: boolean; giveWay: AbortSignal }): Promise<string | undefined> {
    const plan = await this.plan(at, slice, how.byPolicy)
    if (plan.objection !== undefined) return plan.objection
    try {
      await this.clear(at, slice, plan.going, how)
    } catch (error) {
      return explain(error)
    }
    this.promised.set(how.op, { slice: slice.uuid, user: slice.creator, bytes: plan.bytes })
    return undefined
  }

  private async plan(at: JobParts, slice: SliceRecord, byPolicy: boolean): Promise<Plan> {
    const entries = await at.snapshots.list(slice.uuid)
    const bytes = estimateOf(slice, entries)
    const use = boundsSnapshots(this.quotas) ? await snapshotUse(at.store, slice) : { sliceBytes: 0, userBytes: 0, user: slice.creator }
    const others = [...this.promised.values()]
    use.sliceBytes += sum(others.filter((p) => p.slice === slice.uuid))
    use.userBytes += sum(others.filter((p) => sameUrn(p.user, slice.creator)))
    const excess = excessOf(this.quotas, use, bytes)
    const forQuota = byPolicy ? toFree(entries, slice.head, excess) : excess > 0 ? undefined : []
    if (!forQuota) return { objection: snapshotObjection(this.quotas, use, bytes), going: [], bytes }
    if (!byPolicy) return { objection: undefined, going: [], bytes } // the floor is looked at where the cut begins
    const short = this.floorBytes - (await at.snapshots.freeBytes())
    const forFloor = toFree(entries, slice.head, short)
    if (!forFloor) return { objection: floorText(this.floorBytes - short, this.floorBytes), going: [], bytes }
    return { objection: undefined, going: forQuota.length > forFloor.length ? forQuota : forFloor, bytes } // both begin with the oldest
  }

  /** Removes what is planned, and more as long as the disk has less free than it must: a layer that others need frees nothing. */
  private async clear(at: JobParts, slice: SliceRecord, going: SnapshotEntry[], how: { byPolicy: boolean; giveWay: AbortSignal }): Promise<void> {
    if (going.length === 0) return
    const entries = await at.snapshots.list(slice.uuid)
    for (const [i, entry] of mayGo(entries, slice.head).entries()) {
      if (i >= going.length && (await at.snapshots.freeBytes()) >= this.floorBytes) break
      if (how.giveWay.aborted) break
      await removeByRetention(at, slice, entry, i < going.length ? 'to make room for the next one' : 'the disk is full')
    }
    await at.store.saveSnapshots(slice.uuid, await at.snapshots.list(slice.uuid))
  }
}

/** One snapshot of the policy less, but for one that the operation which holds the slice by now works with: a rollback may be on its way to it. */
export async function removeByRetention(at: JobParts, slice: SliceRecord, entry: SnapshotEntry, why: string): Promise<void> {
  const holder = (await at.store.slice(slice.urn))?.operation
  const next = holder ? await at.store.operation(holder.id) : undefined
  if (next?.kind !== 'delete-snapshot' && next?.params.snapshot === entry.id) return
  try {
    await at.snapshots.remove(slice.uuid, entry.id)
  } catch (error) {
    throw new Failure('failed', `snapshot ${entry.id} could not be removed by retention`, { cause: error })
  }
  at.log.info({ slice: slice.urn, id: entry.id, bytes: entry.bytes, why }, 'a snapshot of the policy is removed')
  await noteEvent(at, slice, { kind: 'snapshot-removed', text: `snapshot ${entry.id} of the policy is removed: ${why}`, who: 'policy' })
}

const sum = (promised: { bytes: number }[]): number => promised.reduce((total, p) => total + p.bytes, 0)

const floorText = (free: number, floor: number): string =>
  `only ${shownSize(free)} are free where snapshots are kept, ${shownSize(floor)} must stay free: free some space or remove snapshots`
