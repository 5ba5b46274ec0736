// Kinds of fault, whom each can strike, and which cells of the matrix make no sense: the one place where a cell is left out.
import { points, type Point } from './points.js'
import { victims, type Victim } from './rig.js'

export const kinds = ['kill', 'stand', 'no-sync', 'no-name', 'no-sink', 'full-disk'] as const
export type Kind = (typeof kinds)[number]
/** The disk is everybody's. */
export type Struck = Victim | 'disk'

export const told: Record<Kind, string> = {
  kill: 'kill -9 of',
  stand: 'SIGSTOP for longer than every time-out, then SIGCONT, of',
  'no-sync': 'fsync and fdatasync fail in',
  'no-name': 'rename and link fail in',
  'no-sink': 'writing memory fails in',
  'full-disk': 'not one byte is free on',
}

/** The others never ask that their files be on disk, give them names, or write memory. */
export const strikes: Record<Kind, readonly Struck[]> = {
  kill: victims,
  stand: victims,
  'no-sync': ['worker', 'agent', 'switch', 'redis', 'vm'],
  'no-name': ['worker', 'agent', 'switch'],
  'no-sink': ['vm'],
  'full-disk': ['disk'],
}

const indexOf = (name: string): number => points.findIndex((p) => p.name === name)
const savingEnds = indexOf('agent.seal.saved')
const cutBegins = indexOf('agent.before-marks')

/** Why this cell makes no sense; undefined where it does. */
export function leftOut(kind: Kind, point: Point, victim: Struck): string | undefined {
  if (kind === 'kill' || kind === 'stand') {
    if (point.during === 'given-up' && victim === 'worker' && kind === 'stand') return 'the worker has just been killed, so that there is something to give up'
    return undefined
  }
  if (point.during === 'idle') return 'nothing is written, so nothing fails'
  if (kind === 'no-sink' && !(point.during === 'snapshot' && indexOf(point.name) >= cutBegins && indexOf(point.name) < savingEnds)) {
    return 'no memory is written after this'
  }
  if (kind === 'full-disk' && (point.by === 'am' || point.name.startsWith('operation.'))) return 'Redis alone writes there, and is full at the points beside it'
  return undefined
}
