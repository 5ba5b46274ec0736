// What the demo found, as data: printed as lines for people while it runs, as one JSON object for programs at its end.
import type { BankCheck } from '../bank/check.js'
import { text, type Struct } from './slice-client.js'

export interface SnapshotReport {
  id: string
  origin: string
  pauseMs: Record<string, number>
  skewMs: number
  framesHeld: number
  longestHoldMs: number
  framesRecorded: number
  framesPutBack: number
  /** Only in `drop` mode, per channel. */
  framesDropped: Record<string, number>
  bytes: number
  committedMs: number
}
export interface RestoreFigures { runningMs: number; firstFrameMs: number }
export type CheckSums = Omit<BankCheck, 'ok' | 'findings'>

export interface DemoReport {
  ok: boolean
  reasons: string[]
  mode: string
  snapshots: SnapshotReport[]
  rollback: RestoreFigures
  resume: RestoreFigures
  /** From a death until the policy had the slice running again. */
  recovery: { runningMs: number }
  check: CheckSums
  seconds: number
}

export function snapshotReport(snapshot: Struct): SnapshotReport {
  const number = (member: string) => Number(text(snapshot, member) || '0')
  return {
    id: text(snapshot, 'id'), origin: text(snapshot, 'origin'),
    pauseMs: Object.fromEntries(Object.entries(snapshot['pause_ms'] as Struct).map(([vm, ms]) => [vm, Number(ms)])),
    skewMs: number('skew_ms'), framesHeld: number('frames_held'), longestHoldMs: number('longest_hold_ms'),
    framesRecorded: number('frames_recorded'), framesPutBack: number('frames_put_back'),
    framesDropped: Object.fromEntries(Object.entries((snapshot['frames_dropped'] ?? {}) as Struct).map(([c, n]) => [c, Number(n)])),
    bytes: number('bytes'), committedMs: number('committed_ms'),
  }
}

export const emptyReport = (mode: string): DemoReport => ({
  ok: false, reasons: [], mode, snapshots: [], rollback: { runningMs: 0, firstFrameMs: 0 }, resume: { runningMs: 0, firstFrameMs: 0 },
  recovery: { runningMs: 0 }, check: noSums, seconds: 0,
})

export const noSums: CheckSums = { coinsExpected: 0, coinsFound: 0, lost: 0, duplicated: 0, orphans: 0, tcpBroken: 0, diskMismatch: 0 }

export function addSums(a: CheckSums, b: CheckSums): CheckSums {
  return Object.fromEntries(Object.keys(noSums).map((key) => [key, a[key as keyof CheckSums] + b[key as keyof CheckSums]])) as unknown as CheckSums
}

export function snapshotLine(s: SnapshotReport): string {
  const pauses = Object.entries(s.pauseMs).map(([vm, ms]) => `${vm} ${ms.toFixed(1)}`).join(', ')
  const dropped = Object.entries(s.framesDropped).map(([channel, frames]) => `${channel} ${frames}`).join(', ')
  return `snapshot ${s.id} (${s.origin}): pause ms ${pauses}; skew ${s.skewMs.toFixed(1)} ms; frames held ${s.framesHeld} ` +
    `(longest ${s.longestHoldMs.toFixed(1)} ms), recorded ${s.framesRecorded}, put back ${s.framesPutBack}${dropped === '' ? '' : `, dropped ${dropped}`}; ` +
    `${(s.bytes / 1048576).toFixed(0)} MiB, committed after ${(s.committedMs / 1000).toFixed(1)} s`
}
