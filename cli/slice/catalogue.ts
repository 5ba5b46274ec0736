// The snapshots of a slice as its list tells them: as numbers for programs, as a table for people.
import { text, type Struct } from '../demo/slice-client.js'
import { localTime, size, table } from './printing.js'

export interface SnapshotRow {
  id: string
  urn: string
  name: string
  note: string
  created: string
  origin: string
  kind: string
  mode: string
  /** Id of the snapshot before it in its line; '' for none. */
  parent: string
  /** The slice, as it is now, has come from this one. */
  current: boolean
  bytes: number
  pauseMs: Record<string, number>
  longestPauseMs: number
  /** How long memory was still being written after the node ran again. */
  savingMs: Record<string, number>
  skewMs: number
  framesHeld: number
  longestHoldMs: number
  framesRecorded: number
  framesPutBack: number
  framesDropped: Record<string, number>
  ports: { port: string; framesHeld: number; longestHoldMs: number; framesPutBack: number }[]
  memoryBytes: number
  diskBytes: number
  channelBytes: number
  committedMs: number
  /** SHA-256 of the inventory. */
  digest: string
}

export function rowOf(snapshot: Struct): SnapshotRow {
  const figures = (member: string) => Object.fromEntries(Object.entries((snapshot[member] ?? {}) as Struct).map(([name, n]) => [name, Number(n)]))
  const pauseMs = figures('pause_ms')
  const of = (member: string) => text(snapshot, member)
  const number = (member: string) => Number(of(member))
  return {
    id: of('id'), urn: of('urn'), name: of('name'), note: of('note'), created: of('created'), origin: of('origin'), kind: of('kind'), mode: of('mode'),
    parent: of('parent'), current: of('current') === '1', bytes: Number(of('bytes')), pauseMs, longestPauseMs: Math.max(0, ...Object.values(pauseMs)),
    savingMs: figures('saving_ms'), skewMs: number('skew_ms'), framesHeld: number('frames_held'), longestHoldMs: number('longest_hold_ms'),
    framesRecorded: number('frames_recorded'), framesPutBack: number('frames_put_back'), framesDropped: figures('frames_dropped'),
    ports: ((snapshot['ports'] ?? []) as Struct[]).map((p) => ({
      port: text(p, 'port'), framesHeld: Number(text(p, 'frames_held')), longestHoldMs: Number(text(p, 'longest_hold_ms')),
      framesPutBack: Number(text(p, 'frames_put_back')),
    })),
    memoryBytes: number('memory_bytes'), diskBytes: number('disk_bytes'), channelBytes: number('channel_bytes'), committedMs: number('committed_ms'),
    digest: of('digest'),
  }
}

/** Oldest first; `*` is where the slice, as it is now, has come from. */
export function catalogueLines(rows: SnapshotRow[]): string[] {
  const nameOf = (id: string) => rows.find((r) => r.id === id)?.name || id
  return table(['', 'ID', 'NAME', 'CREATED', 'ORIGIN', 'SIZE', 'PAUSE', 'PARENT', 'NOTE'], rows.map((r) => [
    r.current ? '*' : '', r.id, r.name, localTime(r.created), r.origin, size(r.bytes), pauseText(r), nameOf(r.parent), r.note,
  ]))
}

/** The VMs of a suspension do not go on, so they have no pause. */
export const pauseText = (row: SnapshotRow): string => (row.longestPauseMs > 0 ? `${row.longestPauseMs.toFixed(1)} ms` : '-')

/** One snapshot, and what it has cost the running slice. */
export function reportLines(row: SnapshotRow, nameOf: (id: string) => string): string[] {
  const ms = (n: number) => `${n.toFixed(1)} ms`
  const nodes = [...new Set([...Object.keys(row.pauseMs), ...Object.keys(row.savingMs)])]
  const held = row.framesHeld === 0 ? 'none' : `${row.framesHeld}, the longest for ${ms(row.longestHoldMs)}`
  const dropped = Object.entries(row.framesDropped).map(([channel, n]) => `${channel} ${n}`).join(', ')
  return [
    `snapshot   ${row.id}${row.name === '' ? '' : ` (${row.name})`}${row.note === '' ? '' : `: ${row.note}`}`,
    `taken      ${localTime(row.created)}, ${row.origin}, mode ${row.mode}${row.parent === '' ? '' : `, after ${nameOf(row.parent)}`}`,
    `committed  after ${(row.committedMs / 1000).toFixed(1)} s`,
    `written    ${size(row.bytes)}: memory ${size(row.memoryBytes)}, disks ${size(row.diskBytes)}, frames in transit ${size(row.channelBytes)}`,
    `cuts       ${ms(row.skewMs)} between the first and the last`,
    `held       ${held}`,
    `recorded   ${row.framesRecorded} frames in transit, ${row.framesPutBack} of them taken back from devices`,
    ...(dropped === '' ? [] : [`dropped    from the running slice: ${dropped}`]),
    `digest     ${row.digest}`,
    '', ...(nodes.length === 0 ? ['no node ran on: it was a suspension'] : table(['NODE', 'PAUSE', 'WRITES SLOWED FOR'], nodes.map((node) => [
      node, ms(row.pauseMs[node] ?? 0), row.savingMs[node] === undefined ? '-' : ms(row.savingMs[node]),
    ]))),
    ...(row.ports.length === 0 ? [] : ['', ...table(['PORT', 'FRAMES HELD', 'LONGEST HOLD', 'TAKEN BACK'], row.ports.map((p) => [
      p.port, String(p.framesHeld), ms(p.longestHoldMs), String(p.framesPutBack),
    ]))]),
  ]
}
