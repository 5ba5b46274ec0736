// Snapshots as clients name and see them.
import { Refusal } from '../base/errors.js'
import { makeUrn, sameUrn } from '../base/urn.js'
import { token, type Random } from '../base/random.js'
import type { NewSnapshot } from '../slices/operation.js'
import type { SnapshotEntry } from '../snapshots/needs.js'
import { textOption } from './options.js'
import type { Struct } from './xmlrpc/value.js'

export const snapshotUrnOf = (authority: string, id: string): string => makeUrn(authority, 'snapshot', id)

/** What ids look like. No name may: it would hide a snapshot. */
const idForm = /^s-[0-9a-f]{12}$/

const nameForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const noteLength = 500

/** A snapshot that is to be taken: a fresh id, and what the options `violin_name` and `violin_note` say of it. */
export function newSnapshot(random: Random, options: Struct, catalogue: SnapshotEntry[]): NewSnapshot {
  const name = textOption(options, 'violin_name')
  if (name !== undefined && !nameForm.test(name)) {
    throw new Refusal('bad-arguments', `violin_name "${name.slice(0, 80)}" must be up to 64 letters, digits, dots, hyphens and underscores`)
  }
  if (name !== undefined && idForm.test(name)) throw new Refusal('bad-arguments', `violin_name "${name}" looks like an id: choose another name`)
  if (name !== undefined && catalogue.some((e) => e.name === name)) throw new Refusal('exists', `the slice has a snapshot named ${name} already`)
  const note = noteOption(options)
  return { snapshot: `s-${token(random, 6)}`, ...(name !== undefined ? { name } : {}), ...(note !== undefined ? { note } : {}) }
}

/** Free text. What would steer a terminal, or break an XML document, is no text. */
function noteOption(options: Struct): string | undefined {
  const note = textOption(options, 'violin_note')
  if (note === undefined) return undefined
  const { length } = Array.from(note)
  if (length > noteLength) throw new Refusal('bad-arguments', `violin_note has ${length} characters: at most ${noteLength} are kept`)
  const bad = /[\ufffe\uffff]|\p{Cs}|(?![\n\t])\p{Cc}/u.exec(note)?.[0].codePointAt(0)
  if (bad === undefined) return note
  const code = `U+${bad.toString(16).toUpperCase().padStart(4, '0')}`
  throw new Refusal('bad-arguments', `violin_note holds the control character ${code}: of those only newline and tab may be in it`)
}

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

const strings = (figures: Record<string, number>): Struct => Object.fromEntries(Object.entries(figures).map(([name, n]) => [name, String(n)]))

/** Strings and ints only: XML-RPC clients of the field take nothing else. `head`: the one that the present run descends from. */
export function snapshotStruct(e: SnapshotEntry, head: string): Struct {
  return {
    id: e.id, urn: e.urn, name: e.name, note: e.note ?? '', current: e.id === head ? 1 : 0, origin: e.origin, kind: e.kind, mode: e.mode,
    created: e.created, parent: e.parent, bytes: String(e.bytes), pause_ms: strings(e.pauseMs),
    skew_ms: String(e.skewMs), longest_hold_ms: String(e.longestHoldMs), frames_held: e.framesHeld, frames_recorded: e.framesRecorded,
    frames_put_back: e.framesPutBack, frames_dropped: { ...e.framesDropped }, committed_ms: Math.round(e.committedMs),
    digest: e.digest ?? '', saving_ms: strings(e.savingMs ?? {}), memory_bytes: String(e.memoryBytes ?? ''), disk_bytes: String(e.diskBytes ?? ''),
    channel_bytes: String(e.channelBytes ?? ''),
    ports: (e.ports ?? []).map((p) => ({
      port: p.port, frames_held: p.framesHeld, longest_hold_ms: String(p.longestHoldMs), frames_put_back: p.framesPutBack,
    })),
  }
}
