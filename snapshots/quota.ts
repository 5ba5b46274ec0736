// The bytes of the snapshots of a slice and of its user, against their quotas. The AM asks this before it begins a snapshot
// and the worker before it cuts, both from the catalogue's copy in the store.
import { shownSize } from '../base/sizes.js'
import { sameUrn } from '../base/urn.js'
import type { Quotas } from '../slices/quota.js'
import { provisioned, type SliceRecord } from '../slices/slice.js'
import type { SliceStore } from '../slices/slice-store.js'
import type { SnapshotEntry } from './needs.js'

export interface SnapshotUse { sliceBytes: number; userBytes: number; user: string }

/** Where it says no, nothing has to be counted. */
export const boundsSnapshots = (quotas: Quotas): boolean =>
  quotas['slice-snapshots-bytes'] !== undefined || quotas['user-snapshots-bytes'] !== undefined

/** Snapshots that wait for their owner after the end of a lease count for the user too. */
export async function snapshotUse(store: SliceStore, slice: SliceRecord): Promise<SnapshotUse> {
  const slices = (await store.slices()).filter((s) => sameUrn(s.creator, slice.creator)).map((s) => s.uuid)
  const kept = (await store.kept()).filter((k) => sameUrn(k.owner, slice.creator)).map((k) => k.uuid)
  const bytesOf = async (uuid: string) => bytesIn((await store.snapshots(uuid)) as SnapshotEntry[])
  const all = await Promise.all([...new Set([slice.uuid, ...slices, ...kept])].map(bytesOf))
  return { sliceBytes: await bytesOf(slice.uuid), userBytes: all.reduce((sum, n) => sum + n, 0), user: slice.creator }
}

const bytesIn = (entries: SnapshotEntry[]): number => entries.reduce((sum, e) => sum + e.bytes, 0)

/** What the next snapshot will take: as much as the last one of the same VMs; before the first one all of their memory. */
export function estimateOf(slice: SliceRecord, entries: SnapshotEntry[]): number {
  const members = (vms: string[]) => vms.sort().join()
  const today = members(provisioned(slice).map((s) => s.id))
  const last = entries.filter((e) => members(e.members.map((m) => m.vm)) === today).at(-1)
  return last?.bytes ?? provisioned(slice).reduce((sum, s) => sum + s.node.memoryMiB * 1024 * 1024, 0)
}

/** By how many bytes the quotas would be exceeded with `asked` more; 0 where they hold. */
export function excessOf(quotas: Quotas, use: SnapshotUse, asked: number): number {
  const slice = use.sliceBytes + asked - (quotas['slice-snapshots-bytes'] ?? Infinity)
  const user = use.userBytes + asked - (quotas['user-snapshots-bytes'] ?? Infinity)
  return Math.max(0, slice, user)
}

/** Why there may be no snapshot of about `asked` bytes, or undefined. */
export function snapshotObjection(quotas: Quotas, use: SnapshotUse, asked: number): string | undefined {
  const sentence = (key: 'slice-snapshots-bytes' | 'user-snapshots-bytes', used: number, whose: string) => {
    const quota = quotas[key]
    if (quota === undefined || used + asked <= quota) return undefined
    return `quota ${key}: the snapshots ${whose} have ${shownSize(used)} of at most ${shownSize(quota)}, and this one needs about ` +
      `${shownSize(asked)}: remove some with violin_delete, let the policy keep fewer, or ask the operator of this aggregate for more`
  }
  return sentence('slice-snapshots-bytes', use.sliceBytes, 'of the slice')
    ?? sentence('user-snapshots-bytes', use.userBytes, `of all slices of ${use.user}`)
}
