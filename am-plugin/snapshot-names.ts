// Snapshots as clients name and see them.
import { Refusal } from '../base/errors.js'
import { makeUrn, sameUrn } from '../base/urn.js'
import type { SnapshotEntry } from '../snapshots/needs.js'
import type { Struct } from './xmlrpc/value.js'

export const snapshotUrnOf = (authority: string, id: string): string => makeUrn(authority, 'snapshot', id)

/** What ids look like. No name may: it would hide a snapshot. */
export const idForm = /^s-[0-9a-f]{12}$/

/** By id, URN or name; without a wish the latest. Refuses with what there is. */
export function chooseSnapshot(catalogue: SnapshotEntry[], wanted: string | undefined): SnapshotEntry {
  const latest = catalogue.at(-1)
  if (!latest) throw new Refusal('not-found', 'the slice has no snapshot yet: take one with violin_snapshot')
  if (wanted === undefined) return latest
  const found = catalogue.find((e) => e.id === wanted || e.name === wanted || sameUrn(e.urn, wanted))
  if (found) return found
  const known = catalogue.slice(-10).map((e) => (e.name === '' ? e.id : `${e.name} (${e.id})`)).join(', ')
  throw new Refusal('not-found', `the slice has no snapshot "${wanted.slice(0, 120)}": it has ${known}`)
}

/** Strings and ints only: XML-RPC clients of the field take nothing else. `head`: the one that the present run descends from. */
export function snapshotStruct(e: SnapshotEntry, head: string): Struct {
  return {
    id: e.id, urn: e.urn, name: e.name, current: e.id === head ? 1 : 0, origin: e.origin, kind: e.kind, mode: e.mode, created: e.created, parent: e.parent,
    bytes: String(e.bytes), pause_ms: Object.fromEntries(Object.entries(e.pauseMs).map(([vm, ms]) => [vm, String(ms)])),
    skew_ms: String(e.skewMs), longest_hold_ms: String(e.longestHoldMs), frames_held: e.framesHeld, frames_recorded: e.framesRecorded,
    frames_put_back: e.framesPutBack, frames_dropped: { ...e.framesDropped }, committed_ms: Math.round(e.committedMs),
  }
}
