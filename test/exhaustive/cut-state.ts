// What CutWorld's states are made of: coordinators, hosts with their switch, what flies between them, what was decided.
import { isOver as isLed, type CoordinatorEvent, type CoordinatorState } from '../../snapshots/coordinator.js'
import type { HostReport, Outcome } from '../../snapshots/messages.js'
import type { ParticipantState, Work } from '../../snapshots/participant.js'

/** What may go wrong, each at any moment; deadlines, expiries and the switch that goes forward may come at any moment anyway. */
export const allFaults = [
  'lose', 'double', 'host-lost', 'work fails', 'agent restarts', 'switch restarts', 'no room', 'worker dies', 'worker is slow',
] as const
export type Fault = (typeof allFaults)[number]
/** Deliberate mistakes, to see that they are found. */
export type Defect = 'none' | 'void beside the cut' | 'two decisions' | 'expires when sealed' | 'outcome goes first' | 'epoch again' | 'commit early'

export interface CutBounds {
  hosts: number
  attempts: 1 | 2
  kind: 'live' | 'suspend'
  faults: readonly Fault[]
  /** So many faults at most. */
  count: number
  /** Each work of a host is one step. */
  coarse?: boolean
  defect?: Defect
}

export interface Lead { op: string; k: number; token: number; alive: boolean; state: CoordinatorState }
export interface HostCut {
  state: ParticipantState
  /** Works under way: the next step of each. */
  under: Partial<Record<Work, number>>
  /** This agent has begun to void it. */
  isVoid: boolean
  /** It has stood since it was stopped for this cut. */
  stood: boolean
  prepared: boolean
  /** An image was saved, and the VM has stood from its flip to it. */
  image: boolean
  part: boolean
}
export interface Host {
  k: number
  token: number
  vm: 'runs' | 'stands' | 'ended'
  cuts: Record<string, HostCut>
  net: { epoch: number; prepared: number; open: string; gated: boolean; verdicts: Record<string, 'cut' | 'forward'> }
}
export type Message =
  | { to: 'host'; host: number; op: string; ask: 'prepare' | 'cut' | 'seal' | 'tell'; outcome?: Outcome; fenced?: boolean }
  | { to: 'lead'; op: string; event: CoordinatorEvent }
  | { to: 'store'; op: string; want: Outcome }
  | { to: 'agent'; host: number; op: string; why: string }
export interface CutState {
  leads: Lead[]
  hosts: Host[]
  flying: Message[]
  outcomes: Record<string, Outcome>
  /** Folders of attempts that were removed, and how far. */
  gone: Record<string, 'outcome' | 'all'>
  /** How often an outcome was written. */
  decided: Record<string, number>
  faults: number
  broken: string
}

/** What a host answers when a work is done. */
export const reports: Partial<Record<Work, HostReport>> = {
  prepare: { progress: 'prepared', switchBootId: 'b' },
  cut: { progress: 'cut', switchBootId: 'b', vms: [] },
  seal: { progress: 'sealed', vms: [], channels: { name: '', bytes: 0, digest: '' }, log: {} as never },
}

export const nameOf = (host: number): string => `h${host + 1}`

export const without = (under: HostCut['under'], work: Work): HostCut['under'] =>
  Object.fromEntries(Object.entries(under).filter(([other]) => other !== work))

/** What may be changed by a move is copied; what step functions and messages are made of is never changed. */
export function copyOf(s: CutState): CutState {
  return {
    ...s, leads: s.leads.map((l) => ({ ...l })), flying: [...s.flying], outcomes: { ...s.outcomes }, gone: { ...s.gone }, decided: { ...s.decided },
    hosts: s.hosts.map((h) => ({
      ...h, net: { ...h.net, verdicts: { ...h.net.verdicts } },
      cuts: Object.fromEntries(Object.entries(h.cuts).map(([op, cut]) => [op, { ...cut, under: { ...cut.under } }])),
    })),
  }
}

const ladder = ['none', 'prepared', 'cut', 'sealed', 'told']

/** Whenever this arrives, nothing comes of it: it may as well arrive now. */
export function isVain(state: CutState, message: Message): boolean {
  if (message.to !== 'lead') return false
  const { alive, state: lead } = state.leads.find((l) => l.op === message.op)!
  if (!alive || isLed(lead)) return true
  const { event } = message
  return event.type === 'report' && ladder.indexOf(event.report.progress) <= ladder.indexOf(lead.progress[event.host]!)
}

export function tell(message: Message): string {
  switch (message.to) {
    case 'host': return `${message.ask}${message.outcome ? ` ${message.outcome}` : ''} of ${message.op} to ${nameOf(message.host)}${message.fenced ? ', waiting' : ''}`
    case 'agent': return `${message.op} went forward, to ${nameOf(message.host)}`
    case 'store': return `${message.op} wants ${message.want}`
    default: {
      const { event } = message
      return event.type === 'report' ? `${event.report.progress} of ${message.op} from ${event.host}`
        : event.type === 'refused' ? `refusal of ${message.op} from ${event.host}` : `${event.type} of ${message.op}`
    }
  }
}

export function forward(state: CutState, h: number, k: number): void {
  const { net } = state.hosts[h]!
  net.verdicts[k] ??= 'forward'
  raise(state, h, Math.max(net.epoch, k))
  Object.assign(net, { open: '', gated: false })
}

export function raise(state: CutState, h: number, epoch: number): void {
  const { net } = state.hosts[h]!
  if (epoch < net.epoch) state.broken = `${nameOf(h)} went back to epoch ${epoch}`
  net.epoch = epoch
}
