// The leader of one cut, as a pure step function. It waits for every host in each phase, decides once through the
// write-once outcome, and tells everybody. Whatever goes wrong before the decision ends in asking for `abort`; what the
// outcome then says is obeyed, whoever wrote it (cut protocol, hole 6).
//
//   preparing ──all prepared──▶ cutting ──all cut──▶ sealing ──all sealed──▶ deciding ──outcome──▶ telling ──▶ over
//       └──────── a host refused or was lost, a deadline passed, the cut was pre-empted ────▲
import { limits } from '../base/limits.js'
import { unreachable } from '../base/errors.js'
import type { HostReport, Outcome } from './messages.js'

export type Progress = 'none' | 'prepared' | 'cut' | 'sealed' | 'told'
type Collecting = 'preparing' | 'cutting' | 'sealing'

export interface CoordinatorState {
  phase: Collecting | 'deciding' | 'telling' | 'over'
  op: string
  k: number
  hosts: string[]
  /** The furthest that each host has come: answers of a later phase are kept, not dropped (hole 26). */
  progress: Record<string, Progress>
  reports: Record<string, HostReport[]>
  outcome: Outcome | undefined
  why: string
}

export type CoordinatorEvent =
  | { type: 'begin' }
  | { type: 'report'; host: string; op: string; k: number; report: HostReport }
  | { type: 'refused'; host: string; op: string; k: number; why: string }
  | { type: 'deadline'; phase: CoordinatorState['phase'] }
  | { type: 'preempted'; why: string }
  | { type: 'decided'; outcome: Outcome; why: string }

export type CoordinatorEffect =
  | { do: 'ask'; host: string; ask: 'prepare' | 'cut' | 'seal' }
  | { do: 'tell'; host: string; outcome: Outcome }
  | { do: 'deadline'; phase: CoordinatorState['phase']; ms: number }
  | { do: 'decide'; want: Outcome; why: string }

type Step = [CoordinatorState, CoordinatorEffect[]]

const ladder: Progress[] = ['none', 'prepared', 'cut', 'sealed', 'told']
const reach: Record<Collecting, { ask: 'prepare' | 'cut' | 'seal'; progress: Progress; next: Collecting | 'deciding'; ms: number }> = {
  preparing: { ask: 'prepare', progress: 'prepared', next: 'cutting', ms: limits.prepareMs },
  cutting: { ask: 'cut', progress: 'cut', next: 'sealing', ms: limits.saveMs },
  sealing: { ask: 'seal', progress: 'sealed', next: 'deciding', ms: limits.sealMs },
}

export function newCoordinator(op: string, k: number, hosts: string[]): CoordinatorState {
  return {
    phase: 'preparing', op, k, hosts, outcome: undefined, why: '',
    progress: Object.fromEntries(hosts.map((h) => [h, 'none'])), reports: Object.fromEntries(hosts.map((h) => [h, []])),
  }
}

export const isOver = (state: CoordinatorState): boolean => state.phase === 'over'

export function stepCoordinator(state: CoordinatorState, event: CoordinatorEvent): Step {
  switch (event.type) {
    case 'begin': return [state, askAll(state, 'preparing')]
    case 'report': return report(state, event)
    case 'refused':
      if (event.op !== state.op || event.k !== state.k || !state.hosts.includes(event.host)) return [state, []]
      // A host that cannot be told reads the outcome itself when it is back.
      if (state.phase === 'telling') return onwards({ ...state, progress: { ...state.progress, [event.host]: 'told' } })
      return wantAbort(state, event.why)
    case 'deadline':
      if (event.phase !== state.phase) return [state, []]
      if (state.phase === 'telling') return [{ ...state, phase: 'over' }, []]
      return wantAbort(state, `${behind(state).join(', ')} did not answer while ${state.phase}`)
    case 'preempted': return wantAbort(state, event.why)
    case 'decided':
      if (state.phase !== 'deciding') return [state, []]
      return [
        { ...state, phase: 'telling', outcome: event.outcome, why: event.outcome === 'commit' ? '' : event.why || state.why },
        [
          ...state.hosts.map((host) => ({ do: 'tell' as const, host, outcome: event.outcome })),
          { do: 'deadline', phase: 'telling', ms: limits.sealMs },
        ],
      ]
    default: return unreachable(event)
  }
}

function report(state: CoordinatorState, event: CoordinatorEvent & { type: 'report' }): Step {
  if (event.op !== state.op || event.k !== state.k || state.phase === 'over') return [state, []]
  const before = state.progress[event.host]
  if (before === undefined) return [state, []] // not a member: members are fixed when the cut begins
  if (ladder.indexOf(event.report.progress) <= ladder.indexOf(before)) return [state, []] // a duplicate
  return onwards({
    ...state,
    progress: { ...state.progress, [event.host]: event.report.progress },
    reports: { ...state.reports, [event.host]: [...state.reports[event.host]!, event.report] },
  })
}

function onwards(state: CoordinatorState): Step {
  if (behind(state).length > 0) return [state, []]
  if (state.phase === 'telling') return [{ ...state, phase: 'over' }, []]
  if (state.phase === 'deciding' || state.phase === 'over') return [state, []]
  const { next } = reach[state.phase]
  if (next === 'deciding') return [{ ...state, phase: 'deciding' }, [{ do: 'decide', want: 'commit', why: '' }]]
  return [{ ...state, phase: next }, askAll(state, next)]
}

function behind(state: CoordinatorState): string[] {
  const wanted = state.phase === 'telling' ? 'told' : state.phase === 'deciding' || state.phase === 'over' ? 'none' : reach[state.phase].progress
  return state.hosts.filter((h) => ladder.indexOf(state.progress[h]!) < ladder.indexOf(wanted))
}

function askAll(state: CoordinatorState, phase: Collecting): CoordinatorEffect[] {
  const { ask, ms } = reach[phase]
  return [...state.hosts.map((host) => ({ do: 'ask' as const, host, ask })), { do: 'deadline', phase, ms }]
}

function wantAbort(state: CoordinatorState, why: string): Step {
  if (state.phase === 'deciding' || state.phase === 'telling' || state.phase === 'over') return [state, []]
  return [{ ...state, phase: 'deciding', why }, [{ do: 'decide', want: 'abort', why }]]
}
