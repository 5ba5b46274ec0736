// Takes a snapshot of a running slice: finds the next epoch, leads the cut, and makes the entry of the catalogue. An abort
// is no error: the VMs run on and the reason is told.
import type { KeyObject } from 'node:crypto'
import { explain, Failure, unreachable } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import { shownSize } from '../base/sizes.js'
import { rfc3339, type Clock } from '../base/time.js'
import { noRun } from '../overlay/run.js'
import { disruptionText, entryOf, portNames } from './catalogue.js'
import { judgeCut, judgeMembers } from './consistency.js'
import {
  isOver, newCoordinator, stepCoordinator, type CoordinatorEffect, type CoordinatorEvent, type CoordinatorState,
} from './coordinator.js'
import type { CutHosts, CutJournal } from './hosts-link.js'
import type { ImageStore } from './image-store.js'
import { canonicalJson, type HostShare, type Inventory } from './inventory.js'
import type { CutReport, HostCutAsk, Maxima, Outcome, SealedReport } from './messages.js'
import type { CutResult, SnapshotEntry, SnapshotRequest } from './needs.js'
import { runMachine } from './runner.js'

export interface TakeParts {
  hosts: CutHosts
  journal: CutJournal
  store: ImageStore
  key: KeyObject
  /** URN of this aggregate, and its software version: both are signed. */
  am: string
  software: string
  /** SHA-256 of the certificate that goes with the key. */
  certificate?: string
  freeFloorBytes: number
  clock: Clock
  log: Log
  /** Told when the operation should give way; the cut is voided. */
  preempted?: AbortSignal
}

/** Cuts in a row that may be void because a guest did not drain, before it is cut as it is. */
const drainAttempts = 3

export async function takeSnapshot(request: SnapshotRequest, at: TakeParts): Promise<CutResult> {
  const free = await at.store.freeBytes()
  const before = await maximaOf(request, at)
  if (free < at.freeFloorBytes) {
    const reason = `only ${shownSize(free)} are free where snapshots are kept, ${shownSize(at.freeFloorBytes)} must stay free: ` +
      'free some space or remove snapshots'
    return { committed: false, reason, run: request.run, epoch: before.k } // the highest run seen may be one that was given up
  }
  let last: CutResult | undefined
  for (let attempt = 1; attempt <= drainAttempts; attempt++) {
    const maxima = await maximaOf(request, at)
    const k = Math.max(maxima.k, request.epoch) + 1
    // the record's run is a hint: a restore that was decided and not heard of has made a later one
    const run = maxima.current === undefined || maxima.current === noRun ? request.run : maxima.current
    const cut = new Cut({ ...request, run, op: attempt === 1 ? request.op : `${request.op}-${attempt}` }, k, attempt === drainAttempts, at)
    last = await cut.run()
    if (last.committed || !last.reason.includes('did not take the frames')) return last
    await at.store.remove(request.slice.uuid, request.id) // void: the same id may be tried again
  }
  return last!
}

/** The highest that any member's host has seen. */
export async function maximaOf(request: { slice: { uuid: string }; members: { host: string }[] }, at: { hosts: CutHosts }): Promise<Maxima> {
  const hosts = [...new Set(request.members.map((m) => m.host))]
  const seen = await Promise.all(hosts.map((host) => at.hosts.ask(host, 'maxima', { slice: request.slice.uuid }, limits.prepareMs)))
  return {
    run: seen.reduce((run, m) => (m.run > run ? m.run : run), noRun),
    k: Math.max(0, ...seen.map((m) => m.k)),
    token: Math.max(0, ...seen.map((m) => m.token)),
    current: seen.reduce((run, m) => ((m.current ?? noRun) > run ? m.current! : run), noRun),
  }
}

class Cut {
  private readonly request: SnapshotRequest
  private readonly k: number
  private readonly force: boolean
  private readonly at: TakeParts
  private readonly hosts: string[]
  private readonly begun: number
  private inventory: Inventory | undefined
  private digest: string | undefined

  constructor(request: SnapshotRequest, k: number, force: boolean, at: TakeParts) {
    this.request = request
    this.k = k
    this.force = force
    this.at = at
    this.hosts = [...new Set(request.members.map((m) => m.host))]
    this.begun = at.clock.monotonic()
  }

  async run(): Promise<CutResult> {
    const { request, k, at } = this
    await at.store.create(request.slice.uuid, request.id)
    faultPoint('worker.created')
    const machine = runMachine<CoordinatorState, CoordinatorEvent, CoordinatorEffect>({
      step: stepCoordinator,
      isOver,
      journal: async (state) => {
        faultPoint(`worker.before-${state.phase}`)
        await at.journal.save(request.op, { ...state, reports: undefined })
        faultPoint(`worker.${state.phase}`)
      },
      perform: (effect, emit) => this.perform(effect, emit, () => machine.state),
      onStep: (from, to) => {
        if (from.phase === to.phase) return
        at.log.info({ slice: request.slice.urn, op: request.op, k, why: to.why === '' ? undefined : to.why }, `snapshot ${from.phase} -> ${to.phase}`)
      },
    }, newCoordinator(request.op, k, this.hosts), [{ type: 'begin' }])
    const giveWay = () => machine.emit({ type: 'preempted', why: String(at.preempted?.reason ?? 'another operation came first') })
    if (at.preempted?.aborted) giveWay()
    at.preempted?.addEventListener('abort', giveWay, { once: true })
    try {
      const state = await machine.over.catch((error: unknown) => this.giveUp(explain(error)))
      if (state.outcome === 'commit') return { committed: true, entry: this.told(), run: request.run, epoch: k }
      await at.store.remove(request.slice.uuid, request.id)
      return { committed: false, reason: `${state.why}${stoodText(machine.state)}`, run: request.run, epoch: k }
    } finally {
      at.preempted?.removeEventListener('abort', giveWay)
      await at.journal.remove(request.op).catch((error: unknown) => at.log.warn({ err: error }, 'the journal of an ended cut stays'))
    }
  }

  private told(): SnapshotEntry {
    const entry = entryOf(this.inventory!, this.digest)
    const { id, pauseMs, phasesMs, skewMs, savingMs, ports, framesRecorded, bytes, committedMs } = entry
    const figures = { pauseMs, phasesMs, skewMs, savingMs, ports, framesRecorded, bytes, committedMs }
    const { slice, op } = this.request
    this.at.log.info({ slice: slice.urn, op, k: this.k, snapshot: id, ...figures }, `snapshot committed: ${disruptionText(entry)}`)
    return entry
  }

  /** The journal could not be written, so nothing more was done. What the outcome says holds; where there is none it becomes abort. */
  private async giveUp(why: string): Promise<{ outcome: Outcome | undefined; why: string }> {
    const { request, at } = this
    const held = await at.store.decide(request.slice.uuid, request.id, { format: 1, outcome: 'abort', why })
    await Promise.all(this.hosts.map((host) => at.hosts.ask(host, 'cut', { ...this.header, ask: 'tell', outcome: held.outcome }, limits.sealMs)
      .catch((error: unknown) => at.log.warn({ host, why: explain(error) }, 'it will read the outcome itself'))))
    if (held.outcome === 'commit' && !this.inventory) throw new Failure('damaged', `another worker has committed ${request.id}`)
    return { outcome: held.outcome, why: held.why }
  }

  private perform(effect: CoordinatorEffect, emit: (event: CoordinatorEvent) => void, state: () => CoordinatorState): void {
    switch (effect.do) {
      case 'ask': return void this.ask(effect.host, this.askOf(effect.ask, effect.host), emit)
      case 'tell': return void this.ask(effect.host, { ...this.header, ask: 'tell', outcome: effect.outcome }, emit)
      case 'deadline': {
        const timer = setTimeout(() => emit({ type: 'deadline', phase: effect.phase }), effect.ms)
        timer.unref()
        return
      }
      case 'decide': return void this.decide(effect, state()).then(emit, async (error: unknown) => {
        const { slice, id } = this.request
        const gone = await this.at.store.isGone(slice.uuid, id).catch(() => false)
        if (gone) return emit({ type: 'decided', outcome: 'abort', why: 'another worker has given it up' })
        this.at.log.error({ op: this.request.op, err: error }, 'the outcome could not be written: asking again')
        setTimeout(() => this.perform(effect, emit, state), 1_000)
      })
      default: return unreachable(effect)
    }
  }

  private get header() {
    const { slice, run, op, token } = this.request
    return { slice: slice.uuid, run, k: this.k, op, token }
  }

  private askOf(ask: 'prepare' | 'cut' | 'seal', host: string): HostCutAsk {
    if (ask !== 'prepare') return { ...this.header, ask }
    const { id, kind, mode, members } = this.request
    const vms = members.filter((m) => m.host === host).map((m) => m.vm)
    return { ...this.header, ask, snapshot: id, kind, mode, vms, force: this.force }
  }

  private async ask(host: string, ask: HostCutAsk, emit: (event: CoordinatorEvent) => void): Promise<void> {
    const { op } = this.request
    try {
      emit({ type: 'report', host, op, k: this.k, report: await this.at.hosts.ask(host, 'cut', ask, limits.saveMs) })
    } catch (error) {
      emit({ type: 'refused', host, op, k: this.k, why: explain(error) })
    }
  }

  /** Writes the outcome, and obeys what is there already. A commit is only asked for when the sums hold. */
  private async decide(effect: { want: 'commit' | 'abort'; why: string }, state: CoordinatorState): Promise<CoordinatorEvent> {
    const { request, at } = this
    const { uuid } = request.slice
    let { want, why } = effect
    let digest: string | undefined
    if (want === 'commit') {
      const shares = this.hosts.map((host) => shareOf(host, state))
      this.inventory ??= this.inventoryOf(shares, await this.parentDigest()) // asked again, it is the same: the first may have been decided on
      const objection = this.objection(shares)
      if (objection !== undefined) {
        want = 'abort'
        why = objection
      } else {
        faultPoint('worker.before-inventory')
        digest = await at.store.writeInventory(uuid, request.id, Buffer.from(canonicalJson(this.inventory)), at.key)
      }
    }
    faultPoint('worker.before-outcome')
    this.digest = digest
    const held = await at.store.decide(uuid, request.id, { format: 1, outcome: want, why, ...(digest ? { inventory: digest } : {}) })
    faultPoint('worker.after-outcome')
    if (held.outcome === 'commit' && held.inventory !== digest) throw new Failure('damaged', `another inventory of ${request.id} was committed`)
    return { type: 'decided', outcome: held.outcome, why: held.why }
  }

  private objection(shares: HostShare[]): string | undefined {
    const { maxPauseMs, mode } = this.request
    const longest = Math.max(0, ...Object.values(entryOf(this.inventory!).pauseMs))
    if (maxPauseMs !== undefined && longest > maxPauseMs) return `a VM stood for ${Math.round(longest)} ms, the policy allows ${maxPauseMs} ms`
    const missing = judgeMembers(this.request.members, shares)
    if (missing.length > 0) return `the snapshot would not be complete: ${missing.slice(0, 5).join('; ')}`
    if (mode === 'drop' || mode === 'uncoordinated') return undefined // for comparison: known to lose, and kept to show it
    const findings = judgeCut(shares, portNames(this.inventory!))
    const wrong = [...findings.orphans, ...findings.losses]
    return wrong.length > 0 ? `the counters do not add up: ${wrong.slice(0, 5).join('; ')}` : undefined
  }

  /** A parent whose outcome cannot be read is a parent all the same. */
  private async parentDigest(): Promise<string | undefined> {
    const { parent, slice } = this.request
    if (parent === undefined || parent === '') return undefined
    return (await this.at.store.outcome(slice.uuid, parent).catch(() => undefined))?.inventory
  }

  private inventoryOf(shares: HostShare[], parentDigest: string | undefined): Inventory {
    const { request, at } = this
    return {
      format: 'violin-inventory-1', am: at.am, ...(at.certificate !== undefined ? { certificate: at.certificate } : {}),
      id: request.id, name: request.name ?? '',
      ...(request.note !== undefined ? { note: request.note } : {}), slice: request.slice,
      parent: request.parent ?? '', ...(parentDigest !== undefined ? { parentDigest } : {}),
      op: request.op, run: request.run, k: this.k, mode: request.mode, kind: request.kind,
      origin: request.origin, created: rfc3339(at.clock.now()), committedMs: Math.round(at.clock.monotonic() - this.begun),
      members: request.members, topology: request.topology, hosts: shares, software: at.software,
    }
  }
}

/** A cut that was given up may have stopped VMs as well. */
function stoodText({ reports }: CoordinatorState): string {
  const cuts = Object.values(reports).flat().filter((r): r is CutReport => r.progress === 'cut').flatMap((r) => r.vms)
  const longest = Math.max(0, ...cuts.map((c) => (c.resumedAt ?? c.stoppedAt) - c.stoppedAt))
  return longest > 0 ? ` (VMs stood for up to ${longest.toFixed(1)} ms)` : ''
}

function shareOf(host: string, state: CoordinatorState): HostShare {
  const cut = state.reports[host]!.find((r) => r.progress === 'cut') as CutReport
  const sealed = state.reports[host]!.find((r) => r.progress === 'sealed') as SealedReport
  if (cut.switchBootId !== sealed.log.bootId) throw new Failure('aborted', `the switch of ${host} was restarted in the cut`)
  const vms = sealed.vms.map((vm) => ({ ...vm, cut: cut.vms.find((c) => c.vm === vm.vm)! }))
  return { host, vms, channels: sealed.channels, log: sealed.log }
}
