// The cuts under way at this host: each a participant with its journal file, run by the common runner.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder, removeDurably, writeDurably } from '../base/durable.js'
import { explain, Failure, Refusal, unreachable } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import type { Log } from '../base/log.js'
import { readableOr, readRecord, type Form } from '../base/records.js'
import type { SwitchTells } from '../overlay/control.js'
import type { CutAskName, HostCutAsk, HostReport, Outcome } from '../snapshots/messages.js'
import {
  isOver, newParticipant, stepParticipant, type ParticipantEffect, type ParticipantEvent, type ParticipantState, type Work,
} from '../snapshots/participant.js'
import { readOutcome } from '../snapshots/image-store.js'
import { runMachine, type Running } from '../snapshots/runner.js'
import { CutHost, type CutHostParts } from './cut-host.js'
import type { SliceMarks } from './slice-marks.js'

interface Waiter { resolve(report: HostReport): void; reject(error: Error): void }
interface OpenCut {
  slice: string
  running: Running<ParticipantState, ParticipantEvent>
  waiters: Map<CutAskName, Waiter[]>
  work: CutHost | undefined
  /** Settles once it is over, or given up because its journal could not be written. */
  ended: Promise<void>
  /** Its journal could not be written and it is being voided: nothing is answered any more. */
  lost?: Failure
  timer: NodeJS.Timeout | undefined
  /** Since when it is being voided (monotonic). */
  voidingSince?: number
}

export const cutJournalForm: Form<ParticipantState> = {
  format: 1, unmarked: 'allowed', is: (s) => typeof s.phase === 'string' && typeof s.reports === 'object',
}

const againMs = 500
/** A VM of a cut that is being voided runs again after this, rescue and all; what stands for longer stands for reasons of its own. */
const letRunMs = 10_000
/** Ended cuts whose journals are kept, so that a worker that asks again gets the recorded answer. */
const keptJournals = 20

export class Participants {
  private readonly open = new Map<string, OpenCut>()
  private readonly folder: string
  private readonly marks: SliceMarks
  private readonly parts: CutHostParts
  private readonly log: Log

  constructor(folder: string, marks: SliceMarks, parts: CutHostParts) {
    this.folder = folder
    this.marks = marks
    this.parts = parts
    this.log = parts.log
  }

  /** After: every cut that an earlier agent left open is void, or sealed and waiting for its outcome. */
  async recover(): Promise<void> {
    await makeFolder(this.folder)
    for (const file of (await readdir(this.folder)).filter((f) => f.endsWith('.json'))) {
      const op = file.slice(0, -'.json'.length)
      const state = await readableOr(() => this.recorded(op), (why) => this.log.error({ op, why }, 'the journal of a cut cannot be read: it is left alone'))
      if (!state || isOver(state)) continue
      const cut = this.begin(op, state.order?.slice ?? '', state)
      cut.running.emit({ type: 'restarted' })
      if (state.phase !== 'sealed') await cut.running.over
    }
  }

  /** One ask of the coordinator. Answers once the host has come that far, with the same answer if it is asked again. */
  async ask(ask: HostCutAsk): Promise<HostReport> {
    const marks = await this.marks.fence(ask.slice, ask.token)
    let cut = this.open.get(ask.op)
    if (!cut) {
      const recorded = await this.recorded(ask.op)
      cut = recorded || ask.ask !== 'prepare'
        ? this.begin(ask.op, ask.slice, recorded ?? newParticipant())
        : await this.parts.registry.outsideCuts(ask.slice, () => this.admit(ask, marks.k))
    }
    if (cut.lost) throw cut.lost
    const answer = new Promise<HostReport>((resolve, reject) => {
      cut.waiters.set(ask.ask, [...(cut.waiters.get(ask.ask) ?? []), { resolve, reject }])
    })
    cut.running.emit({ type: 'ask', ask })
    return answer
  }

  /** Sealed and not told: the outcome on the store decides. A folder that is gone was an aborted one. Call it now and then. */
  async checkOutcomes(): Promise<void> {
    for (const cut of this.open.values()) {
      await readableOr(() => this.obeyOutcome(cut), (why) => this.log.error({ slice: cut.slice, why }, 'an outcome cannot be read: its cut waits'))
    }
  }

  /** False: it is not sealed, or not decided. */
  private async obeyOutcome(cut: OpenCut): Promise<boolean> {
    const { phase, order } = cut.running.state
    if (phase !== 'sealed' || !order) return false
    const folder = join(this.parts.store, order.slice, order.snapshot)
    const there = await stat(folder).then(() => true, () => false)
    const outcome = there ? (await readOutcome(join(folder, 'outcome')))?.outcome : 'abort'
    if (outcome) cut.running.emit({ type: 'ask', ask: { ...order, ask: 'tell', outcome } })
    return outcome !== undefined
  }

  /** The switch gave up holding: the cut is void at this host. */
  forwarded(at: SwitchTells['forwarded']): void {
    this.open.get(at.op)?.running.emit({ type: 'forwarded', why: at.why })
  }

  /** Every cut that is not sealed is void: what it has reserved is room for the VMs. */
  giveWay(why: string): void {
    for (const cut of this.open.values()) cut.running.emit({ type: 'no-room', why })
  }

  /** Is a cut of this slice under way? While it is, layers are not collected. */
  isCutting(): boolean {
    return [...this.open.values()].some((cut) => !isOver(cut.running.state) && cut.running.state.phase !== 'sealed')
  }

  /** May VMs of this slice stand, or crawl while their memory is written, for a cut? Not for ever: voiding it may wait for one that hangs. */
  excuses(slice: string): boolean {
    return [...this.open.values()].some(({ slice: of, voidingSince, running: { state } }) => {
      if (of !== slice || isOver(state) || ['none', 'sealed'].includes(state.phase)) return false
      return voidingSince === undefined || this.parts.clock.monotonic() - voidingSince < letRunMs
    })
  }

  /** Settles once no cut of this slice is under way, but for those that are sealed: nothing stops their VMs any more. */
  async settled(slice: string): Promise<void> {
    for (const cut of this.open.values()) {
      if (cut.slice === slice && !['sealed', 'ending'].includes(cut.running.state.phase)) await cut.ended.catch(() => undefined)
    }
  }

  /** Is there a cut of this slice of which the outcome is not done yet? Until then its layers are nobody's to change. */
  isOpen(slice: string): boolean {
    return [...this.open.values()].some((cut) => cut.slice === slice && !isOver(cut.running.state))
  }

  /** Is this VM stopped for a suspension that is sealed and waits for its outcome? */
  holds(vm: string): boolean {
    return [...this.open.values()].some(({ running: { state } }) =>
      ['sealed', 'ending'].includes(state.phase) && state.order?.kind === 'suspend' && state.order.vms.includes(vm))
  }

  private async admit(ask: HostCutAsk & { ask: 'prepare' }, highest: number): Promise<OpenCut> {
    for (const [op, other] of this.open) {
      if (other.slice !== ask.slice || isOver(other.running.state)) continue
      const { phase } = other.running.state
      if (phase === 'sealed' && !(await this.obeyOutcome(other))) throw new Refusal('busy', `cut ${op} of this slice is sealed and not decided yet`)
      if (phase !== 'sealed' && phase !== 'ending') other.running.emit({ type: 'forwarded', why: 'a later cut began' })
      await other.ended.catch(() => undefined)
    }
    const left = [...this.open].find(([, other]) => other.slice === ask.slice && !isOver(other.running.state))
    if (left) throw new Refusal('busy', `cut ${left[0]} of this slice could not be ended: its journal cannot be written`)
    if (ask.k <= highest) throw new Refusal('refused', `epoch ${ask.k} was used before: this host has seen ${highest}`)
    await this.marks.raise(ask.slice, { k: ask.k, token: ask.token })
    return this.open.get(ask.op) ?? this.begin(ask.op, ask.slice, newParticipant())
  }

  private begin(op: string, slice: string, state: ParticipantState): OpenCut {
    const cut: OpenCut = {
      slice, waiters: new Map(), timer: undefined, ended: Promise.resolve(),
      work: state.order ? new CutHost(this.parts, state.order) : undefined,
      running: runMachine<ParticipantState, ParticipantEvent, ParticipantEffect>({
        step: stepParticipant,
        isOver,
        journal: async (next) => {
          faultPoint(`agent.before-${next.phase}`)
          await writeDurably(this.path(op), JSON.stringify({ format: 1, ...next }))
          faultPoint(`agent.${next.phase}`)
        },
        perform: (effect, emit) => this.perform(cut, effect, emit),
        onStep: (before, after) => {
          if (before.phase === after.phase) return
          clearTimeout(cut.timer)
          if (after.phase === 'voiding') cut.voidingSince = this.parts.clock.monotonic()
          this.log.info({ op, slice, k: after.order?.k, why: after.why === '' ? undefined : after.why }, `cut ${before.phase} -> ${after.phase}`)
        },
      }, state, []),
    }
    this.open.set(op, cut)
    cut.ended = cut.running.over.then(() => this.forget(), (error: unknown) => this.withoutJournal(op, cut, error))
    cut.ended.catch((error: unknown) => this.log.error({ op, err: error }, 'an ended cut could not be forgotten'))
    return cut
  }

  /**
   * The journal could not be written (a full disk), so the machine has stopped. What was sealed waits for its outcome as before;
   * anything else is void, journal or not: no VM may stand because a disk is full. The next agent finds an older phase and voids it again.
   */
  private async withoutJournal(op: string, cut: OpenCut, error: unknown): Promise<void> {
    this.log.error({ op, why: explain(error) }, 'the journal of a cut could not be written')
    clearTimeout(cut.timer)
    const lost = new Failure('failed', 'the host cannot write its journal: free some space there', { cause: error })
    for (const waiters of cut.waiters.values()) for (const w of waiters) w.reject(lost)
    const { state } = cut.running
    if (state.phase === 'sealed' || state.phase === 'ending') {
      const again = this.begin(op, cut.slice, state)
      await this.parts.clock.sleep(againMs)
      again.running.emit({ type: 'restarted' })
      return
    }
    cut.lost = lost
    cut.voidingSince = this.parts.clock.monotonic()
    for (let done = !cut.work; !done;) done = await cut.work!.work('void', undefined).then(() => true, () => false) // waits before it fails
    this.open.delete(op)
    await removeDurably(this.path(op)).catch(() => undefined)
  }

  private perform(cut: OpenCut, effect: ParticipantEffect, emit: (event: ParticipantEvent) => void): void {
    switch (effect.do) {
      case 'answer': return this.settle(cut, effect.ask, (w) => w.resolve(effect.report))
      case 'refuse': return this.settle(cut, effect.ask, (w) => w.reject(new Failure('aborted', effect.why)))
      case 'expire':
        cut.timer = setTimeout(() => emit({ type: 'expired', phase: effect.phase }), effect.ms).unref() // a deadline alone keeps no process alive
        return
      case 'work': {
        const { order, outcome } = cut.running.state
        cut.work ??= order ? new CutHost(this.parts, order) : undefined
        if (!cut.work) return emit({ type: 'done', work: effect.work, report: undefined })
        void this.do(cut.work, effect.work, outcome, emit)
        return
      }
      default: return unreachable(effect)
    }
  }

  private async do(host: CutHost, work: Work, outcome: Outcome | undefined, emit: (event: ParticipantEvent) => void): Promise<void> {
    try {
      emit({ type: 'done', work, report: await host.work(work, outcome) })
    } catch (error) {
      emit({ type: 'failed', work, why: explain(error) })
    }
  }

  private settle(cut: OpenCut, ask: CutAskName, with_: (waiter: Waiter) => void): void {
    const waiters = cut.waiters.get(ask) ?? []
    cut.waiters.delete(ask)
    for (const waiter of waiters) with_(waiter)
  }

  private async recorded(op: string): Promise<ParticipantState | undefined> {
    return readRecord(this.path(op), cutJournalForm)
  }

  private async forget(): Promise<void> {
    const ended = [...this.open].filter(([, cut]) => isOver(cut.running.state)).map(([op]) => op)
    for (const op of ended.slice(0, Math.max(0, ended.length - keptJournals))) {
      this.open.delete(op)
      await removeDurably(this.path(op))
    }
  }

  private path(op: string): string {
    return join(this.folder, `${op}.json`)
  }
}
