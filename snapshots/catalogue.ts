// The snapshots of a slice, as people and policies see them: made from the inventories on disk, which are the truth.
import { makeUrn, parseUrn } from '../base/urn.js'
import type { Inventory } from './inventory.js'
import type { SnapshotEntry } from './needs.js'

const round = (ms: number): number => Math.round(ms * 1000) / 1000

export function snapshotUrn(am: string, id: string): string {
  return makeUrn(parseUrn(am)?.authority ?? 'unknown', 'snapshot', id)
}

export function entryOf(inventory: Inventory): SnapshotEntry {
  const vms = inventory.hosts.flatMap((h) => h.vms)
  const stops = vms.map((v) => v.cut.stoppedAt)
  const logs = inventory.hosts.map((h) => h.log)
  const memory = vms.reduce((sum, v) => sum + v.memory.bytes, 0)
  const frozen = vms.reduce((sum, v) => sum + (v.layers.at(-1)?.bytes ?? 0), 0) // older layers belong to older snapshots
  return {
    format: 1, id: inventory.id, urn: snapshotUrn(inventory.am, inventory.id), name: inventory.name,
    ...(inventory.note !== undefined ? { note: inventory.note } : {}), slice: inventory.slice.urn,
    origin: inventory.origin, kind: inventory.kind, mode: inventory.mode, parent: inventory.parent, created: inventory.created,
    run: inventory.run, epoch: inventory.k, members: inventory.members,
    pauseMs: Object.fromEntries(vms.filter((v) => v.cut.resumedAt !== undefined)
      .map((v) => [v.spec.clientId, round(v.cut.resumedAt! - v.cut.stoppedAt)])),
    phasesMs: Object.fromEntries(vms.map((v) => [v.spec.clientId, v.cut.phases])),
    skewMs: round(Math.max(...stops) - Math.min(...stops)),
    framesHeld: logs.reduce((sum, l) => sum + l.framesHeld, 0),
    longestHoldMs: round(Math.max(0, ...logs.map((l) => l.longestHoldMs))),
    framesRecorded: logs.reduce((sum, l) => sum + l.frames, 0),
    framesPutBack: vms.reduce((sum, v) => sum + v.cut.latches.reduce((n, l) => n + l.putBack, 0), 0),
    framesDropped: droppedFrames(inventory),
    bytes: memory + frozen + inventory.hosts.reduce((sum, h) => sum + h.channels.bytes, 0),
    committedMs: inventory.committedMs,
  }
}

/** What the switches dropped of epoch k, by channel: `drop` mode shows with it what holding is for. */
function droppedFrames(inventory: Inventory): Record<string, number> {
  const nameOf = new Map(inventory.members.flatMap((m) => m.ports.map((port) => [port, m.clientId])))
  const dropped: Record<string, number> = {}
  for (const drop of inventory.hosts.flatMap((h) => h.log.drops)) {
    if (drop.kind !== 'orphan' || drop.epoch !== inventory.k) continue
    const channel = `${nameOf.get(drop.from) ?? '?'} -> ${nameOf.get(drop.to) ?? '?'}`
    dropped[channel] = (dropped[channel] ?? 0) + drop.tally.n
  }
  return dropped
}
