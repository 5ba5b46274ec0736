// When a lease ends, work is kept: the snapshots of the slice wait for their owner for a time (the operator's setting),
// then they go. A user who deletes the last sliver has said that the work may go, and it does.
import { readableOr } from '../base/records.js'
import { rfc3339 } from '../base/time.js'
import { noteEvent } from '../slices/event.js'
import type { SliceRecord } from '../slices/slice.js'
import type { JobParts } from './surroundings.js'

/** On whose behalf slivers go when their lease has ended. */
export const leaseWho = 'lease'

export async function keepSnapshots(at: JobParts, slice: SliceRecord): Promise<void> {
  const entries = await at.snapshots.list(slice.uuid)
  if (entries.length === 0) return removeSnapshots(at, slice)
  const until = rfc3339(at.clock.now() + at.graceMs)
  await at.store.keep({ format: 1, uuid: slice.uuid, urn: slice.urn, owner: slice.creator, until })
  at.log.info({ slice: slice.urn, snapshots: entries.length, until }, 'the lease has ended: the snapshots wait for their owner')
  const text = `the slice is gone with its lease: ${entries.length} snapshots wait for their owner until ${until}`
  await noteEvent(at, slice, { kind: 'lease-ended', text, who: leaseWho })
}

export async function removeSnapshots(at: JobParts, slice: { uuid: string; urn: string }, who = leaseWho): Promise<void> {
  const entries = await at.snapshots.list(slice.uuid)
  for (const entry of entries) await at.snapshots.remove(slice.uuid, entry.id)
  await at.store.saveSnapshots(slice.uuid, [])
  await at.store.forgetKept(slice.uuid)
  if (entries.length > 0) await noteEvent(at, slice, { kind: 'snapshot-removed', text: `all ${entries.length} snapshots of the slice are removed`, who })
}

/** Snapshots whose time is over go. A slice that lives again has its snapshots back, and they follow its own rules. */
export async function sweepKept(at: JobParts): Promise<void> {
  const all = await at.store.kept()
  if (all.length === 0) return
  const alive = new Set((await at.store.slices()).filter((s) => s.slivers.length > 0).map((s) => s.uuid))
  for (const kept of all) {
    if (alive.has(kept.uuid)) await at.store.forgetKept(kept.uuid)
    else if (Date.parse(kept.until) <= at.clock.now() && await isReadable(at, kept.urn)) {
      await removeSnapshots(at, kept)
      at.log.info({ slice: kept.urn, owner: kept.owner }, 'the snapshots of an ended lease are removed')
    }
  }
}

/** A slice whose record cannot be read may well live: nothing of it is removed. */
async function isReadable(at: JobParts, urn: string): Promise<boolean> {
  return (await readableOr(async () => { await at.store.slice(urn); return true }, () => undefined)) === true
}
