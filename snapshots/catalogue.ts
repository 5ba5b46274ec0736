// The snapshots of a slice, as people and policies see them: made from the inventories on disk, which are the truth.
import { shownSize } from '../base/sizes.js'
import { makeUrn, parseUrn } from '../base/urn.js'
import type { HostShare, Inventory } from './inventory.js'
import type { PortDisruption, SnapshotEntry } from './needs.js'

const round = (ms: number): number => Math.round(ms * 1000) / 1000

export function snapshotUrn(am: string, id: string): string {
  return makeUrn(parseUrn(am)?.authority ?? 'unknown', 'snapshot', id)
}

/** `digest`: of the inventory. */
export function entryOf(inventory: Inventory, digest?: string): SnapshotEntry {
  const vms = inventory.hosts.flatMap((h) => h.vms)
  const stops = vms.map((v) => v.cut.stoppedAt)
  const logs = inventory.hosts.map((h) => h.log)
  const memory = vms.reduce((sum, v) => sum + v.memory.bytes, 0)
  const frozen = vms.reduce((sum, v) => sum + (v.layers.at(-1)?.bytes ?? 0), 0) // older layers belong to older snapshots
  const channels = inventory.hosts.reduce((sum, h) => sum + h.channels.bytes, 0)
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
    bytes: memory + frozen + channels, committedMs: inventory.committedMs,
    ...(digest !== undefined ? { digest } : {}), savingMs: savingMs(vms), ports: disruptedPorts(inventory),
    memoryBytes: memory, diskBytes: frozen, channelBytes: channels,
  }
}

function savingMs(vms: HostShare['vms']): Record<string, number> {
  return Object.fromEntries(vms.flatMap(({ spec, savedAt, cut: { resumedAt } }) =>
    savedAt === undefined || resumedAt === undefined ? [] : [[spec.clientId, round(Math.max(0, savedAt - resumedAt))]]))
}

function disruptedPorts(inventory: Inventory): PortDisruption[] {
  const nameOf = portNames(inventory)
  const held = new Map(inventory.hosts.flatMap((h) => (h.log.ports ?? []).map((p) => [p.port, p])))
  return inventory.hosts.flatMap((h) => h.vms.flatMap((vm) => vm.cut.latches)).flatMap(({ port, putBack }) => {
    const { framesHeld = 0, longestHoldMs = 0 } = held.get(port) ?? {}
    return framesHeld + putBack === 0 ? [] : [{ port: nameOf(port), framesHeld, longestHoldMs: round(longestHoldMs), framesPutBack: putBack }]
  })
}

/** `a:if0`: the names that people gave their interfaces, which mostly begin with that of the node. */
export function portNames(inventory: Inventory): (port: number) => string {
  const names = new Map<number, string>()
  for (const member of inventory.members) for (const port of member.ports) names.set(port, `${member.clientId}:${port}`)
  const nics = inventory.hosts.flatMap((h) => h.vms.flatMap(({ spec }) => spec.nics.map((nic) => ({ ...nic, node: spec.clientId }))))
  for (const { port, name, node } of nics) names.set(port, name.startsWith(`${node}:`) ? name : `${node}:${name}`)
  return (port) => names.get(port) ?? `port ${port}`
}

/** What a snapshot has cost the running slice, on one line. */
export function disruptionText(entry: SnapshotEntry): string {
  const longest = Math.max(0, ...Object.values(entry.pauseMs))
  const pause = longest > 0 ? `longest pause ${longest.toFixed(1)} ms, ` : ''
  const held = entry.framesHeld > 0 ? `${entry.framesHeld} frames held (longest ${entry.longestHoldMs.toFixed(1)} ms)` : 'no frame held'
  return `${pause}cuts ${entry.skewMs.toFixed(1)} ms apart, ${held}, ${entry.framesRecorded} recorded; ` +
    `${shownSize(entry.bytes)}, committed after ${(entry.committedMs / 1000).toFixed(1)} s`
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
