// A host's side of one cut, as a pure step function: what was asked and what happened, in; what to do, out. The runner
// journals the state before it performs the effects (snapshots/runner.ts), so that whatever the journal says when an
// agent is started again, the rule below says what to do.
//
//   none ─prepare─▶ preparing ─▶ prepared ─cut─▶ cutting ─▶ saved ─seal─▶ sealing ─▶ sealed ─tell─▶ ending ─▶ done
//                        └──────────┴──────────────┴──────────┴───────────────┘
//                            failure, expiry, tell abort, the switch going forward, a full disk: voiding ─▶ void
//
// After `sealed` was answered only the outcome ends it: no timer and no deadman (cut protocol, hole 4).
import { limits } from '../base/limits.js'
import { unreachable } from '../base/errors.js'
import type { CutAskName, CutOrder, HostCutAsk, HostReport, Outcome } from './messages.js'

export type Work = 'prepare' | 'cut' | 'seal' | 'void' | 'end'
export type ParticipantPhase =
  | 'none' | 'preparing' | 'prepared' | 'cutting' | 'saved' | 'sealing' | 'sealed' | 'ending' | 'done' | 'voiding' | 'void'

export interface ParticipantState {
  phase: ParticipantPhase
  order: CutOrder | undefined
  /** Recorded answers: an ask that comes again gets the same one. */
  reports: Partial<Record<CutAskName, HostReport>>
  outcome: Outcome | undefined
  why: string
}

export type ParticipantEvent =
  | { type: 'ask'; ask: HostCutAsk }
  | { type: 'done'; work: Work; report: HostReport | undefined }
  | { type: 'failed'; work: Work; why: string }
  | { type: 'expired'; phase: ParticipantPhase }
  | { type: 'forwarded'; why: string }
  /** The disk is full: what is not sealed gives its room to VMs, though it might just end well. */
  | { type: 'no-room'; why: string }
  /** The agent was started again and found this state in its journal. */
  | { type: 'restarted' }

export type ParticipantEffect =
  | { do: 'work'; work: Work }
  | { do: 'answer'; ask: CutAskName; report: HostReport }
  | { do: 'refuse'; ask: CutAskName; why: string }
  | { do: 'expire'; phase: ParticipantPhase; ms: number }

export const newParticipant = (): ParticipantState => ({ phase: 'none', order: undefined, reports: {}, outcome: undefined, why: '' })

type Step = [ParticipantState, ParticipantEffect[]]

const working: Partial<Record<ParticipantPhase, Work>> = {
  preparing: 'prepare', cutting: 'cut', sealing: 'seal', voiding: 'void', ending: 'end',
}
const asked: Partial<Record<Work, CutAskName>> = { prepare: 'prepare', cut: 'cut', seal: 'seal', end: 'tell' }
const after: Record<Work, ParticipantPhase> = { prepare: 'prepared', cut: 'saved', seal: 'sealed', end: 'done', void: 'void' }
/** How long a phase may wait for the coordinator before the host voids the cut by itself. VMs of a suspension stand meanwhile. */
function expiryOf(phase: ParticipantPhase, order: CutOrder | undefined): number | undefined {
  if (phase === 'prepared') return limits.prepareMs
  if (phase === 'saved') return order?.kind === 'suspend' ? limits.holdMs : limits.sealMs
  return undefined
}

export function stepParticipant(state: ParticipantState, event: ParticipantEvent): Step {
  switch (event.type) {
    case 'ask': return asks(state, event.ask)
    case 'done': return done(state, event.work, event.report)
    case 'failed': return failed(state, event.work, event.why)
    case 'expired':
      if (event.phase !== state.phase || !mayVoid(state)) return [state, []]
      return voided(state, `nothing was heard from the coordinator while ${state.phase}`)
    case 'forwarded': return mayVoid(state) ? voided(state, event.why) : [state, []]
    case 'no-room': return mayVoid(state) || state.phase === 'sealing' ? voided(state, event.why) : [state, []]
    case 'restarted': return restarted(state)
    default: return unreachable(event)
  }
}

export const isOver = (state: ParticipantState): boolean => state.phase === 'done' || state.phase === 'void'

function asks(state: ParticipantState, ask: HostCutAsk): Step {
  const recorded = state.reports[ask.ask]
  if (recorded) return [state, [{ do: 'answer', ask: ask.ask, report: recorded }]]
  if (ask.ask === 'tell') return told(state, ask.outcome)
  const wanted: ParticipantPhase = ask.ask === 'prepare' ? 'none' : ask.ask === 'cut' ? 'prepared' : 'saved'
  const under: ParticipantPhase = ask.ask === 'prepare' ? 'preparing' : ask.ask === 'cut' ? 'cutting' : 'sealing'
  if (state.phase === under) return [state, []] // asked again while at it: the answer comes
  if (state.phase !== wanted) {
    return [state, [{ do: 'refuse', ask: ask.ask, why: state.why === '' ? `this cut is ${state.phase}` : `this cut is void: ${state.why}` }]]
  }
  return [
    { ...state, phase: under, order: ask.ask === 'prepare' ? orderOf(ask) : state.order },
    [{ do: 'work', work: working[under]! }],
  ]
}

function told(state: ParticipantState, outcome: Outcome): Step {
  if (state.phase === 'sealed' && outcome === 'commit') return [{ ...state, phase: 'ending', outcome }, [{ do: 'work', work: 'end' }]]
  if (state.phase === 'ending' || state.phase === 'done') return [state, []]
  if (outcome === 'commit') return [state, [{ do: 'refuse', ask: 'tell', why: `it was never sealed here (${state.phase})` }]]
  if (state.phase === 'void' || state.phase === 'none') {
    const report: HostReport = { progress: 'told' }
    return [{ ...state, phase: 'void', outcome, reports: { ...state.reports, tell: report } }, [{ do: 'answer', ask: 'tell', report }]]
  }
  if (state.phase === 'voiding') return [{ ...state, outcome }, []]
  return voided({ ...state, outcome }, 'the cut was aborted')
}

function done(state: ParticipantState, work: Work, report: HostReport | undefined): Step {
  if (working[state.phase] !== work) return [state, []] // finished after it had been given up
  const ask = work === 'void' ? (state.outcome === 'abort' ? 'tell' : undefined) : asked[work]
  const answer: HostReport | undefined = work === 'void' || work === 'end' ? { progress: 'told' } : report
  const phase = after[work]
  const next = { ...state, phase, reports: ask && answer ? { ...state.reports, [ask]: answer } : state.reports }
  const expires = expiryOf(phase, state.order)
  return [next, [
    ...(ask && answer ? [{ do: 'answer' as const, ask, report: answer }] : []),
    ...(expires !== undefined ? [{ do: 'expire' as const, phase, ms: expires }] : []),
  ]]
}

function failed(state: ParticipantState, work: Work, why: string): Step {
  if (working[state.phase] !== work) return [state, []]
  // What must not fail is tried again: ending and voiding are repeated until the world allows them.
  if (work === 'void' || work === 'end') return [state, [{ do: 'work', work }]]
  return voided(state, why)
}

function voided(state: ParticipantState, why: string): Step {
  const ask = asked[working[state.phase] ?? 'void']
  return [{ ...state, phase: 'voiding', why }, [
    ...(ask && ask !== 'tell' ? [{ do: 'refuse' as const, ask, why }] : []),
    { do: 'work', work: 'void' },
  ]]
}

/** A window found open after a restart is void; what was whole stays (cut protocol, "Recovery"). */
function restarted(state: ParticipantState): Step {
  switch (state.phase) {
    case 'none': case 'sealed': case 'done': case 'void': return [state, []]
    case 'ending': return [state, [{ do: 'work', work: 'end' }]]
    case 'preparing': case 'prepared': case 'cutting': case 'saved': case 'sealing': case 'voiding':
      return voided(state, state.why === '' ? `the agent was restarted while ${state.phase}` : state.why)
    default: return unreachable(state.phase)
  }
}

const mayVoid = (state: ParticipantState): boolean => ['preparing', 'prepared', 'cutting', 'saved'].includes(state.phase)

function orderOf(ask: HostCutAsk & { ask: 'prepare' }): CutOrder {
  const { ask: _, ...order } = ask
  return order
}
