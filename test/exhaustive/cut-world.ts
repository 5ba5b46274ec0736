// Two attempts at a cut in a world of coordinators, hosts and what flies between them, for everyState(). The step functions of
// coordinator and participant are the product's own. What surrounds them in the product does I/O (snapshots/take.ts,
// hosts/participants.ts, cut-host.ts, cut-vm.ts, overlay/switch.ts); here it is told again in steps between which anything may
// happen: who is admitted, what each work does to VM, switch and parts, who may decide.
import { isOver as isLed, newCoordinator, stepCoordinator, type CoordinatorEvent } from '../../snapshots/coordinator.js'
import type { HostCutAsk, Outcome } from '../../snapshots/messages.js'
import { isOver, newParticipant, stepParticipant, type ParticipantEvent, type Work } from '../../snapshots/participant.js'
import {
  copyOf, forward, isVain, nameOf, raise, reports, tell, without, type CutBounds, type CutState, type Defect, type Fault, type Host, type HostCut, type Lead,
  type Message,
} from './cut-state.js'
import type { Move, WorldOf } from './every-state.js'

const slice = 's'
const run = '0000000100000000'

export class CutWorld implements WorldOf<CutState> {
  readonly first: CutState
  private readonly bounds: CutBounds
  private readonly defect: Defect

  constructor(bounds: CutBounds) {
    this.bounds = bounds
    this.defect = bounds.defect ?? 'none'
    const hosts = Array.from({ length: bounds.hosts }, (): Host =>
      ({ k: 1, token: 0, vm: 'runs', cuts: {}, net: { epoch: 1, prepared: 1, open: '', gated: false, verdicts: {} } }))
    const empty: CutState = { leads: [], hosts, flying: [], outcomes: {}, gone: {}, decided: {}, faults: bounds.count, broken: '' }
    this.first = this.beginAttempt(empty, 1)
  }

  moves(from: CutState): Move<CutState>[] {
    const moves: Move<CutState>[] = []
    const add = (name: string, change: (state: CutState) => void) => {
      const next = copyOf(from)
      change(next)
      next.flying = next.flying.filter((message) => !isVain(next, message))
      moves.push({ name, next })
    }
    from.flying.forEach((message, i) => {
      if (this.mustWait(from, message)) return
      add(`arrives: ${tell(message)}`, (s) => this.deliver(s, s.flying.splice(i, 1)[0]!))
    })
    from.leads.forEach((lead, i) => {
      if (!lead.alive || isLed(lead.state) || lead.state.phase === 'deciding') return
      add(`deadline of ${lead.op} while ${lead.state.phase}`, (s) => this.lead(s, s.leads[i]!, { type: 'deadline', phase: lead.state.phase }))
    })
    from.hosts.forEach((host, h) => this.hostMoves(from, host, h, add))
    this.attemptMoves(from, add)
    if (from.faults > 0) this.faultMoves(from, (name, change) => add(name, (s) => {
      s.faults--
      change(s)
    }))
    return moves
  }

  wrong(state: CutState): string | undefined {
    if (state.broken !== '') return state.broken
    for (const [op, count] of Object.entries(state.decided)) if (count > 1) return `${op} was decided ${count} times`
    for (const [op, outcome] of Object.entries(state.outcomes)) {
      if (outcome !== 'commit') continue
      const lacking = state.hosts.findIndex(({ cuts: { [op]: cut } }) => !cut?.part || !cut.image)
      if (lacking >= 0) return `${op} is committed and ${nameOf(lacking)} has no part, or no image of its flip`
    }
    const ended = state.hosts.findIndex((host) => host.vm === 'ended')
    if (ended >= 0 && !Object.values(state.outcomes).includes('commit')) return `the VM of ${nameOf(ended)} has ended for nothing`
    return undefined
  }

  wrongAtEnd(state: CutState): string | undefined {
    const committed = Object.values(state.outcomes).includes('commit')
    for (const [h, host] of state.hosts.entries()) {
      const open = Object.entries(host.cuts).find(([, cut]) => !isOver(cut.state) && cut.state.phase !== 'none')
      if (open) return `${open[0]} is ${open[1].state.phase} at ${nameOf(h)} for ever`
      const wanted = committed && this.bounds.kind === 'suspend' ? 'ended' : 'runs'
      if (host.vm !== wanted) return `the VM of ${nameOf(h)} ${host.vm} for ever`
      if (host.net.gated || host.net.open !== '') return `the switch of ${nameOf(h)} is in a cut for ever`
      const left = Object.entries(host.cuts).find(([op, cut]) => state.outcomes[op] !== 'commit' && cut.prepared) // parts go with the folder
      if (left) return `${nameOf(h)} has kept what belongs to ${left[0]}`
    }
    return undefined
  }

  key(state: CutState): string {
    const hosts = state.hosts.map((h) => {
      const cuts = Object.entries(h.cuts).map(([op, c]) =>
        `${op}:${c.state.phase}/${c.state.outcome ?? ''}/${Object.keys(c.state.reports).join('+')}/${Object.entries(c.under).join('+')}` +
        `/${[c.isVoid, c.stood, c.prepared, c.image, c.part].map(Number).join('')}`)
      const { net } = h
      return `${h.k} ${h.token} ${h.vm} ${net.epoch} ${net.prepared} ${net.open} ${net.gated} ${Object.entries(net.verdicts).join('+')} ${cuts.sort().join(' ')}`
    })
    const leads = state.leads.map((l) => `${l.op} ${l.k} ${l.token} ${l.alive} ${l.state.phase} ${Object.values(l.state.progress).join('+')}`)
    const { outcomes, gone, decided } = state
    return [...leads, ...hosts, state.flying.map(tell).sort().join(' '), JSON.stringify([outcomes, gone, decided]), state.faults, state.broken].join('|')
  }

  // ---- who leads

  private beginAttempt(state: CutState, token: number): CutState {
    const op = `op${state.leads.length + 1}`
    const k = Math.max(...state.hosts.map((h) => h.k)) + (this.defect === 'epoch again' && state.leads.length > 0 ? 0 : 1)
    const lead: Lead = { op, k, token, alive: true, state: newCoordinator(op, k, state.hosts.map((_, h) => nameOf(h))) }
    state.leads.push(lead)
    this.lead(state, lead, { type: 'begin' })
    return state
  }

  private lead(state: CutState, lead: Lead, event: CoordinatorEvent): void {
    if (!lead.alive) return
    const [next, effects] = stepCoordinator(lead.state, event)
    lead.state = next
    for (const effect of effects) {
      if (effect.do === 'decide') state.flying.push({ to: 'store', op: lead.op, want: effect.want })
      else if (effect.do !== 'deadline') {
        const host = Number(effect.host.slice(1)) - 1
        const ask = effect.do === 'tell' ? 'tell' : effect.ask
        state.flying.push({ to: 'host', host, op: lead.op, ask, ...(effect.do === 'tell' ? { outcome: effect.outcome } : {}) })
      }
    }
    if (this.defect === 'commit early' && next.phase === 'sealing' && event.type === 'report') state.flying.push({ to: 'store', op: lead.op, want: 'commit' })
  }

  private attemptMoves(from: CutState, add: (name: string, change: (state: CutState) => void) => void): void {
    const [first] = from.leads
    if (from.leads.length > 1 || this.bounds.attempts < 2) {
      // What a dead worker has not decided, the next one does; it may also die before that, and so on.
      for (const lead of from.leads) {
        if (lead.alive || from.outcomes[lead.op] || from.gone[lead.op]) continue
        add(`the next worker decides ${lead.op}`, (s) => this.recoverOp(s, lead.op))
      }
    } else if (isLed(first!.state) && from.outcomes[first!.op] === 'abort') {
      add('the same worker tries again', (s) => this.beginAttempt(s, 1))
    } else if (!first!.alive && !from.gone[first!.op] && from.outcomes[first!.op] !== 'commit') {
      add('the next worker decides op1', (s) => this.recoverOp(s, 'op1'))
    } else if (from.gone['op1'] === 'all' && (!first!.alive || this.bounds.faults.includes('worker is slow'))) {
      add('the next worker tries again', (s) => this.beginAttempt(s, 2))
    }
    for (const lead of from.leads) {
      if (from.gone[lead.op] === 'outcome') add(`the folder of ${lead.op} is removed`, (s) => { s.gone[lead.op] = 'all' })
    }
  }

  /** What the next worker does with an attempt that has no outcome: it is aborted, and its folder goes. */
  private recoverOp(state: CutState, op: string): void {
    this.decide(state, op, 'abort')
    if (state.outcomes[op] !== 'abort') return
    state.gone[op] = this.defect === 'outcome goes first' ? 'outcome' : 'all'
  }

  /** False: there is no folder to write it into. */
  private decide(state: CutState, op: string, want: Outcome): boolean {
    if (state.gone[op] === 'all') return false
    if (state.outcomes[op] && state.gone[op] === undefined && this.defect !== 'two decisions') return true
    state.outcomes[op] = want
    state.decided[op] = (state.decided[op] ?? 0) + 1
    return true
  }

  // ---- what arrives

  private mustWait(state: CutState, message: Message): boolean {
    if (message.to === 'store') return state.gone[message.op] === 'all' // asks again and again
    if (message.to !== 'host' || !message.fenced) return false
    return Object.entries(state.hosts[message.host]!.cuts).some(([op, cut]) => op !== message.op && !isOver(cut.state) && cut.state.phase !== 'none')
  }

  private deliver(state: CutState, message: Message): void {
    if (message.to === 'host') return this.ask(state, message)
    if (message.to === 'agent') return this.participate(state, message.host, message.op, { type: 'forwarded', why: message.why })
    const lead = state.leads.find((l) => l.op === message.op)!
    if (message.to === 'lead') return this.lead(state, lead, message.event)
    if (!lead.alive) return
    this.decide(state, message.op, message.want)
    this.lead(state, lead, { type: 'decided', outcome: state.outcomes[message.op]!, why: '' })
  }

  /** As Participants.ask and admit. */
  private ask(state: CutState, message: Message & { to: 'host' }): void {
    const host = state.hosts[message.host]!
    const lead = state.leads.find((l) => l.op === message.op)!
    const refuse = (why: string) => state.flying.push({ to: 'lead', op: lead.op, event: { type: 'refused', host: nameOf(message.host), op: lead.op, k: lead.k, why } })
    if (!message.fenced && lead.token < host.token) return void refuse('token')
    if (!host.cuts[message.op]) {
      if (message.ask === 'prepare') {
        for (const [op, cut] of Object.entries(host.cuts)) {
          if (isOver(cut.state) || cut.state.phase === 'none') continue
          if (cut.state.phase === 'sealed' && !this.readsOutcome(state, message.host, op)) return void refuse('sealed')
          if (cut.state.phase !== 'sealed' && cut.state.phase !== 'ending') this.participate(state, message.host, op, { type: 'forwarded', why: 'later' })
        }
        if (this.mustWait(state, { ...message, fenced: true })) return void state.flying.push({ ...message, fenced: true })
        if (lead.k <= host.k && this.defect !== 'epoch again') return void refuse('epoch')
        host.k = Math.max(host.k, lead.k)
        host.token = Math.max(host.token, lead.token)
      }
      host.cuts[message.op] = { state: newParticipant(), under: {}, isVoid: false, stood: false, prepared: false, image: false, part: false }
    }
    this.participate(state, message.host, message.op, { type: 'ask', ask: this.askOf(lead, message) })
  }

  private askOf(lead: Lead, message: Message & { to: 'host' }): HostCutAsk {
    const header = { slice, run, k: lead.k, op: lead.op, token: lead.token }
    if (message.ask === 'tell') return { ...header, ask: 'tell', outcome: message.outcome! }
    if (message.ask !== 'prepare') return { ...header, ask: message.ask }
    return { ...header, ask: 'prepare', snapshot: lead.op, kind: this.bounds.kind, mode: 'live', vms: ['vm'], force: false }
  }

  /** As Participants.obeyOutcome: a folder that is gone was an aborted one. */
  private readsOutcome(state: CutState, h: number, op: string): boolean {
    const outcome = state.gone[op] === 'all' ? 'abort' : state.gone[op] === 'outcome' ? undefined : state.outcomes[op]
    if (!outcome) return false
    const lead = state.leads.find((l) => l.op === op)!
    this.participate(state, h, op, { type: 'ask', ask: { slice, run, k: lead.k, op, token: lead.token, ask: 'tell', outcome } })
    return true
  }

  private participate(state: CutState, h: number, op: string, event: ParticipantEvent): void {
    const cut = state.hosts[h]!.cuts[op]
    if (!cut) return
    const { k } = state.leads.find((l) => l.op === op)!
    const [next, effects] = stepParticipant(cut.state, event)
    cut.state = next
    for (const effect of effects) {
      if (effect.do === 'answer') state.flying.push({ to: 'lead', op, event: { type: 'report', host: nameOf(h), op, k, report: effect.report } })
      else if (effect.do === 'refuse') state.flying.push({ to: 'lead', op, event: { type: 'refused', host: nameOf(h), op, k, why: 'refused' } })
      else if (effect.do === 'work') {
        cut.under[effect.work] = 0
        if (effect.work === 'void' && this.defect !== 'void beside the cut') cut.isVoid = true
      }
    }
  }

  // ---- what hosts do

  private hostMoves(from: CutState, host: Host, h: number, add: (name: string, change: (state: CutState) => void) => void): void {
    for (const [op, cut] of Object.entries(host.cuts)) {
      for (const work of Object.keys(cut.under) as Work[]) {
        if (this.waits(cut, work)) continue
        add(`${nameOf(h)}: ${work} ${cut.under[work]} of ${op}`, (s) => {
          const it = s.hosts[h]!.cuts[op]!
          do this.work(s, h, op, work); while (this.bounds.coarse && it.under[work] && !this.waits(it, work)) // 0 is a work that has begun anew
        })
      }
      const { phase } = cut.state
      if (phase === 'prepared' || phase === 'saved') {
        add(`${nameOf(h)}: ${op} expires, ${phase}`, (s) => this.participate(s, h, op, { type: 'expired', phase }))
      }
      if (phase === 'sealed' && (from.outcomes[op] || from.gone[op] === 'all')) {
        add(`${nameOf(h)} reads the outcome of ${op}`, (s) => { this.readsOutcome(s, h, op) })
      }
      if (this.defect === 'expires when sealed' && phase === 'sealed') {
        add(`${nameOf(h)}: ${op} expires, sealed`, (s) => {
          const it = s.hosts[h]!.cuts[op]!
          it.state = { ...it.state, phase: 'voiding' }
          it.under.void = 0
        })
      }
    }
    if (host.net.open !== '') {
      add(`the switch of ${nameOf(h)} goes forward`, (s) => {
        const { net } = s.hosts[h]!
        s.flying.push({ to: 'agent', host: h, op: net.open, why: 'forward' })
        forward(s, h, s.leads.find((l) => l.op === net.open)!.k)
      })
    }
  }

  /** Voiding lets VMs run and ports go forward, and then waits for the end of what was begun. */
  private waits(cut: HostCut, work: Work): boolean {
    if (work !== 'void' || cut.under.void !== 2 || this.defect === 'void beside the cut') return false
    return cut.under.prepare !== undefined || cut.under.cut !== undefined
  }

  /** One step of a work: as cut-host.ts, cut-vm.ts and switch.ts do it. */
  private work(state: CutState, h: number, op: string, work: Work): void {
    const host = state.hosts[h]!
    const cut = host.cuts[op]!
    const step = cut.under[work]!
    cut.under[work] = step + 1
    const end = (event: ParticipantEvent) => {
      cut.under = without(cut.under, work)
      this.participate(state, h, op, event)
    }
    const done = () => end({ type: 'done', work, report: reports[work] ?? { progress: 'told' } })
    const fail = () => end({ type: 'failed', work, why: 'refused' })
    const k = state.leads.find((l) => l.op === op)!.k
    switch (`${work} ${step}`) {
      case 'prepare 0': cut.prepared = true; return
      case 'prepare 1': return this.switchPrepare(state, h, op, k) ? done() : fail()
      case 'cut 0':
        if (host.net.open !== op) return fail()
        host.net.gated = true
        return
      case 'cut 1':
        if (cut.isVoid || host.vm !== 'runs') return fail()
        host.vm = 'stands'
        cut.stood = true
        return
      case 'cut 2':
        if (host.net.open !== op || host.net.verdicts[k]) return fail()
        host.net.verdicts[k] = 'cut'
        raise(state, h, k)
        return
      case 'cut 3':
        if (!cut.stood) return fail()
        cut.image = true
        if (this.bounds.kind === 'live') host.vm = 'runs'
        return
      case 'cut 4':
        if (host.net.open !== op) return fail()
        Object.assign(host.net, { open: '', gated: false })
        return done()
      case 'seal 0': cut.part = true; return done()
      case 'end 0': if (this.bounds.kind === 'suspend') host.vm = 'ended'; return done()
      case 'void 0': return this.letRun(host)
      case 'void 1': forward(state, h, k); return
      case 'void 2':
        this.letRun(this.defect === 'void beside the cut' ? undefined : host)
        Object.assign(cut, { prepared: false, part: false })
        return done()
      default: throw new Error(`${work} has no step ${step}`)
    }
  }

  private letRun(host: Host | undefined): void {
    if (host?.vm !== 'stands') return
    host.vm = 'runs'
    for (const cut of Object.values(host.cuts)) cut.stood = false
  }

  private switchPrepare(state: CutState, h: number, op: string, k: number): boolean {
    const { net } = state.hosts[h]!
    if (k <= Math.max(net.epoch, net.prepared) && net.open !== op && this.defect !== 'epoch again') return false
    Object.assign(net, { open: op, prepared: k, gated: false })
    raise(state, h, Math.max(net.epoch, k - 1))
    return true
  }

  // ---- faults

  private faultMoves(from: CutState, add: (name: string, change: (state: CutState) => void) => void): void {
    const may = (fault: Fault) => this.bounds.faults.includes(fault)
    from.flying.forEach((message, i) => {
      if (message.to === 'store' || message.to === 'agent') return
      if (may('lose')) add(`lost: ${tell(message)}`, (s) => { s.flying.splice(i, 1) })
      if (may('double')) add(`doubled: ${tell(message)}`, (s) => { s.flying.push(s.flying[i]!) })
    })
    for (const [i, lead] of from.leads.entries()) {
      if (!lead.alive || isLed(lead.state)) continue
      if (may('worker dies')) {
        add(`the worker of ${lead.op} dies`, (s) => {
          s.leads[i]!.alive = false
          s.flying = s.flying.filter((m) => m.to === 'host' || m.to === 'agent' || m.op !== lead.op)
        })
      }
      if (may('worker is slow') && from.leads.length === 1 && this.bounds.attempts === 2 && !from.gone[lead.op] && from.outcomes[lead.op] !== 'commit') {
        add(`another worker takes over from that of ${lead.op}, which goes on later`, (s) => this.recoverOp(s, lead.op))
      }
      if (may('host-lost')) {
        for (const host of lead.state.hosts) {
          add(`${host} is lost to ${lead.op}`, (s) => this.lead(s, s.leads[i]!, { type: 'refused', host, op: lead.op, k: lead.k, why: 'lost' }))
        }
      }
    }
    from.hosts.forEach((host, h) => {
      const cuts = Object.entries(host.cuts)
      if (may('work fails')) {
        for (const [op, cut] of cuts) {
          for (const work of Object.keys(cut.under) as Work[]) {
            add(`${nameOf(h)}: ${work} ${cut.under[work]} of ${op} fails`, (s) => {
              const it = s.hosts[h]!.cuts[op]!
              it.under = without(it.under, work)
              this.participate(s, h, op, { type: 'failed', work, why: 'broken' })
            })
          }
        }
      }
      if (may('no room')) for (const [op] of cuts) add(`${nameOf(h)} has no room for ${op}`, (s) => this.participate(s, h, op, { type: 'no-room', why: 'full' }))
      if (may('agent restarts') && cuts.length > 0) add(`the agent of ${nameOf(h)} restarts`, (s) => this.restartAgent(s, h))
      if (may('switch restarts') && cuts.length > 0) {
        add(`the switch of ${nameOf(h)} restarts`, (s) => {
          const { net } = s.hosts[h]!
          raise(s, h, Math.max(net.prepared, net.epoch))
          Object.assign(net, { open: '', gated: false, verdicts: {} })
        })
      }
    })
  }

  /** As hosts/main.ts: open cuts are ended, what stands and is not sealed for a suspension runs. What nobody has answered is lost with the connections. */
  private restartAgent(state: CutState, h: number): void {
    const host = state.hosts[h]!
    state.flying = state.flying.filter((m) => !(m.to === 'agent' && m.host === h) && !(m.to === 'host' && m.host === h && m.fenced))
    for (const cut of Object.values(host.cuts)) Object.assign(cut, { under: {}, isVoid: false })
    for (const op of Object.keys(host.cuts)) this.participate(state, h, op, { type: 'restarted' })
    const held = Object.values(host.cuts).some((cut) => this.bounds.kind === 'suspend' && ['sealed', 'ending'].includes(cut.state.phase))
    if (!held) this.letRun(host)
  }
}
