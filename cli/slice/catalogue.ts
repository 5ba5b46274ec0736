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
}

export function rowOf(snapshot: Struct): SnapshotRow {
  const pauseMs = Object.fromEntries(Object.entries((snapshot['pause_ms'] ?? {}) as Struct).map(([node, ms]) => [node, Number(ms)]))
  const of = (member: string) => text(snapshot, member)
  return {
    id: of('id'), urn: of('urn'), name: of('name'), note: of('note'), created: of('created'), origin: of('origin'), kind: of('kind'), mode: of('mode'),
    parent: of('parent'), current: of('current') === '1', bytes: Number(of('bytes')), pauseMs, longestPauseMs: Math.max(0, ...Object.values(pauseMs)),
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
