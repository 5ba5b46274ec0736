// Which snapshots go. Only ever those that the policy has made by itself: never one that a user has made or named, never the
// head (the present run descends from it), and never the policy's newest one. Pure; all lists are oldest first.
import type { CheckpointPolicy } from '../rspec/topology.js'
import type { SnapshotEntry } from '../snapshots/needs.js'

export type Stored = Pick<SnapshotEntry, 'id' | 'origin' | 'name' | 'created' | 'bytes'>

const isPolicys = (entry: Stored): boolean => entry.origin === 'policy' && entry.name === ''

/** What may go at all, oldest first. */
export function mayGo<T extends Stored>(entries: T[], head: string): T[] {
  return entries.filter(isPolicys).slice(0, -1).filter((e) => e.id !== head)
}

/** What the policy does not keep: more than `keep`, older than `max_age`, and what its snapshots have beyond `max_bytes`. */
export function outlived<T extends Stored>(entries: T[], policy: Pick<CheckpointPolicy, 'keep' | 'maxAgeMs' | 'maxBytes'>, head: string, now: number): T[] {
  const own = entries.filter(isPolicys)
  const newest = new Set(own.slice(-policy.keep).map((e) => e.id))
  const candidates = mayGo(entries, head)
  const going = new Set(candidates.filter((e) => !newest.has(e.id) || isOlder(e, policy.maxAgeMs, now)))
  let bytes = bytesIn(own) - bytesIn([...going])
  for (const e of candidates) {
    if (going.has(e) || bytes <= (policy.maxBytes ?? Infinity)) continue
    going.add(e)
    bytes -= e.bytes
  }
  return candidates.filter((e) => going.has(e))
}

/** What must go so that so many bytes are free. Undefined: that cannot be, so nothing is to go in vain. */
export function toFree<T extends Stored>(entries: T[], head: string, bytes: number): T[] | undefined {
  const going: T[] = []
  for (const e of mayGo(entries, head)) {
    if (bytesIn(going) >= bytes) break
    going.push(e)
  }
  return bytesIn(going) >= bytes ? going : undefined
}

const isOlder = (entry: Stored, maxAgeMs: number | undefined, now: number): boolean =>
  maxAgeMs !== undefined && now - Date.parse(entry.created) > maxAgeMs
const bytesIn = (entries: Stored[]): number => entries.reduce((sum, e) => sum + e.bytes, 0)
