// The switch of one host: every run of every slice that has a VM here. Its control interface is overlay/control.ts; its
// process is hosts/switch/main.ts, apart from the agent, so that frames flow while agents come and go.
//
// What must survive it is one number per slice and run, the highest epoch prepared: a switch that was restarted starts
// every port there, since it may have acknowledged a flip that it no longer remembers (cut protocol, hole 14).
import { readFile, rm } from 'node:fs/promises'
import { writeDurably } from '../base/durable.js'
import { Failure, Refusal } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import { readRecord, type Form } from '../base/records.js'
import { until, type Clock } from '../base/time.js'
import { Alarm } from './alarm.js'
import { decodeLog, encodeLog, type LoggedFrame } from './channel-log.js'
import type { ClosedLog, CutRef, NetRef, NetStats, PortRequest, RecordedSum, SwitchAsks, SwitchTells } from './control.js'
import type { DeviceWitness, PortLatch } from './slice-net.js'
import type { Rule } from './port.js'
import { SliceNet } from './slice-net.js'
import { addTo, emptyTally } from './tally.js'
import { VmLink } from './vm-link.js'

interface Live {
  net: SliceNet
  alarm: Alarm
  cut: CutRef | undefined
  gatedSince: number | undefined
  /** VMs that have drained and are now being stopped, since when: until the flip nobody goes forward (hole 34). */
  stopping: Map<string, number>
  /** VMs that were being stopped when this switch went forward without their agent: closed until it says what has become of them (hole 53). */
  unknown: { cut: CutRef; vms: ReadonlySet<string>; since: number } | undefined
}
type Handlers = { [K in keyof SwitchAsks]: (ask: SwitchAsks[K][0]) => Promise<SwitchAsks[K][1]> }

export interface SwitchOptions {
  /** Folder of its own, for the prepared epochs. */
  folder: string
  bootId: string
  clock: Clock
  log: Log
  tell<K extends keyof SwitchTells>(what: K, detail: SwitchTells[K]): void
  /** Is an agent connected? One that stands still is. Absent: none ever is. */
  isLed?(): boolean
  /** VMs stand and wait for this process, from the first gate of a cut until its log is closed or it is given up. */
  urgency?: { begin(): void; end(): void }
}

/** The highest epoch prepared in a run. */
export const preparedForm: Form<{ format: 1; k: number }> = { format: 1, is: ({ k }) => Number.isSafeInteger(k) }

const emptiedMs = 100
/** Between two ticks: more, and we have stood still. Then whoever asked us meanwhile has a turn before we judge how long something took (hole 45). */
const stoodMs = 2_000
const turnMs = 200
/** Since the answer that a VM has drained, or the agent's last word that it sees to it: a monitor may be silent, and an agent dead. */
const stoppingMs = 1_500
const connectedMs = 1_000
/** An agent that has died is there again within some seconds, or nobody starts it. */
const awayMs = 10_000
/** One that stands still was stopped by somebody, who will let it run: VMs that run stay cut off for so long, and their TCP survives it. */
const unknownMs = 5 * 60_000
/** Timers have whole ms: a frame may arrive so much early, so that on average none is late. */
const earlyMs = 0.5

export class Switch {
  readonly handlers: Handlers
  private readonly runs = new Map<string, Live>()
  /** The last tick; before the first one nobody has missed one. */
  private ticked = Infinity
  private patientUntil = 0
  private ledAt = -Infinity
  private readonly at: SwitchOptions

  constructor(options: SwitchOptions) {
    this.at = options
    this.handlers = {
      openRun: async (ask) => this.openRun(ask),
      closeRun: async (ask) => this.closeRun(ask),
      addPort: async (ask) => this.addPort(ask),
      removeVm: async (ask) => this.removeVm(ask),
      prepare: async (ask) => this.prepare(ask),
      gate: async (ask) => this.gate(ask),
      quiet: async (ask) => this.quiet(ask),
      rebase: async (ask) => this.rebase(ask),
      cut: async (ask) => this.cut(ask),
      stay: async (ask) => this.stay(ask),
      thaw: async (ask) => this.thaw(ask),
      forward: async (ask) => this.forward(ask),
      closeLog: async (ask) => this.closeLog(ask),
      replay: async (ask) => this.replay(ask),
      stats: async (ask) => this.stats(ask),
    }
  }

  /** The hold timer: call it some ten times a second. */
  tick(): void {
    const now = this.at.clock.monotonic()
    if (now - this.ticked > stoodMs) this.patientUntil = now + turnMs
    this.ticked = now
    if (this.at.isLed?.()) this.ledAt = now
    if (now < this.patientUntil) return
    for (const live of this.runs.values()) {
      if (live.unknown && (!this.isLed || now - live.unknown.since >= unknownMs)) this.giveUpOn(live)
      if (!live.cut) continue
      const since = Math.min(live.gatedSince ?? Infinity, ...live.net.ports().map((p) => p.heldSince() ?? Infinity))
      const full = live.net.ports().find((p) => p.waitingBytes > limits.portQueueBytes / 2 && (p.gated || p.heldSince() !== undefined))
      if (now - since < limits.holdMs && !full) continue
      if ([...live.stopping.values()].some((at) => now - at < stoppingMs)) continue
      const why = full ? `port ${full.id} of ${full.vm} had half its queue full` : `frames waited longer than ${limits.holdMs} ms`
      const { cut } = live
      const unknown = new Set(live.stopping.keys())
      this.goForward(live, cut.k, unknown)
      if (unknown.size > 0) live.unknown = { cut, vms: unknown, since: now }
      this.at.log.warn({ slice: cut.slice, k: cut.k, why, closed: [...unknown] }, 'cut is void: the switch went forward by itself')
      this.at.tell('forwarded', { ...cut, why })
      if (unknown.size > 0 && !this.isLed) this.giveUpOn(live)
    }
  }

  private get isLed(): boolean { return this.at.clock.monotonic() - this.ledAt < awayMs }

  /** Nobody says whether they were stopped: where they were, what their devices had not handed on is lost. */
  private giveUpOn(live: Live): void {
    const { cut, vms } = live.unknown!
    live.unknown = undefined
    const lost = 'no agent says what has become of VMs that it was stopping: frames that they had not taken may be lost. ' +
      'Let the agent run on if somebody has stopped it, or start `violin up`'
    this.at.log.error({ slice: cut.slice, k: cut.k, vms: [...vms] }, lost)
    for (const vm of vms) {
      live.net.forget(vm)
      live.net.thaw(vm)
    }
  }

  close(): void {
    for (const live of this.runs.values()) endRun(live)
    this.runs.clear()
  }

  private async openRun(ask: NetRef & { epoch: number }): Promise<{ epoch: number }> {
    const there = this.runs.get(key(ask))
    if (there) return { epoch: there.net.epoch }
    const epoch = Math.max(ask.epoch, await this.preparedEpoch(ask))
    const { clock } = this.at
    const net: SliceNet = new SliceNet({ ...ask, epoch }, () => clock.monotonic(), {
      onHeld: (t) => {
        const cut = this.runs.get(key(ask))?.cut
        if (cut) this.at.tell('held', { ...cut, epoch: t })
      },
      onFlight: (due) => alarm.set(due),
    })
    const alarm = new Alarm(clock, () => alarm.set(net.land(clock.monotonic() + earlyMs)))
    faultPoint('switch.run-opened')
    this.runs.set(key(ask), { net, alarm, cut: undefined, gatedSince: undefined, stopping: new Map(), unknown: undefined })
    return { epoch }
  }

  /** Whoever opens a run again gives the epoch that its host remembers: nothing need be kept here. */
  private async closeRun(ask: NetRef): Promise<null> {
    const live = this.runs.get(key(ask))
    if (live) this.endGate(live)
    if (live) endRun(live)
    this.runs.delete(key(ask))
    faultPoint('switch.run-closed')
    await rm(this.stateFile(ask), { force: true })
    return null
  }

  private addPort(ask: PortRequest): null {
    const { net } = this.find(ask)
    if (net.ports().some((p) => p.id === ask.port)) return null
    const port = net.addPort({
      id: ask.port, vm: ask.vm, lan: ask.lan, mac: ask.mac, seq: ask.seq, ...(ask.base ? { base: ask.base } : {}),
      ...(ask.shapes ? { shapes: ask.shapes } : {}), ...(ask.reconnected ? { reconnected: true } : {}),
      ...(ask.gated ? { gated: true } : {}),
    })
    port.link = new VmLink(ask.socket, {
      onFrame: (bytes) => net.ingress(port, bytes),
      onReady: () => port.pump(),
    })
    return null
  }

  private removeVm(ask: NetRef & { vm: string }): null {
    const net = this.runs.get(key(ask))?.net
    for (const port of net?.ports(ask.vm) ?? []) net!.removePort(port.id)
    return null
  }

  private async prepare(ask: CutRef & { rule: Rule }): Promise<{ bootId: string }> {
    const live = this.find(ask)
    const highest = Math.max(live.net.epoch, await this.preparedEpoch(ask))
    const again = live.cut?.op === ask.op && live.cut.k === ask.k
    if (ask.k <= highest && !again) throw new Refusal('refused', `epoch ${ask.k} is not later than ${highest}, prepared before`)
    faultPoint('switch.before-prepared')
    await writeDurably(this.stateFile(ask), JSON.stringify({ format: 1, slice: ask.slice, run: ask.run, k: ask.k }))
    faultPoint('switch.prepared')
    if (live.unknown) this.giveUpOn(live)
    if (!again) live.net.prepare(ask.k, ask.rule)
    live.cut = { slice: ask.slice, run: ask.run, k: ask.k, op: ask.op }
    this.endGate(live)
    return { bootId: this.at.bootId }
  }

  private async gate(ask: CutRef & { vm: string; withinMs: number }): Promise<{ drained: boolean; waitedMs: number }> {
    const { clock } = this.at
    const live = this.inCut(ask)
    const begun = clock.monotonic()
    if (live.gatedSince === undefined) this.at.urgency?.begin()
    live.gatedSince ??= begun
    live.net.gate(ask.vm)
    faultPoint('switch.gated')
    const drained = await until(clock, ask.withinMs, 1, () => (live.net.isDrained(ask.vm) ? true : undefined))
    this.inCut(ask) // void meanwhile: it must not be stopped
    if (drained) live.stopping.set(ask.vm, clock.monotonic())
    return { drained: drained === true, waitedMs: clock.monotonic() - begun }
  }

  private async quiet(ask: NetRef & { vm: string; withinMs: number }): Promise<{ drained: boolean }> {
    const live = this.find(ask)
    live.net.gate(ask.vm)
    const release = setTimeout(() => { if (!live.cut) live.net.thaw(ask.vm) }, limits.holdMs) // whoever asked may be dead
    release.unref()
    // without a connection QEMU drops what the guest sends and counts it as sent: no base can be had then
    const there = await until(this.at.clock, connectedMs, 5, () => (live.net.isConnected(ask.vm) ? true : undefined))
    const drained = there && (await until(this.at.clock, ask.withinMs, 1, () => (live.net.isDrained(ask.vm) ? true : undefined)))
    return { drained: drained === true }
  }

  private async rebase(ask: NetRef & { vm: string; witnesses: DeviceWitness[] }): Promise<null> {
    const { net } = this.find(ask)
    const emptied = await until(this.at.clock, emptiedMs, 0, () => (net.isEmptied(ask.vm) ? true : undefined))
    if (emptied) net.rebase(ask.vm, ask.witnesses)
    net.thaw(ask.vm)
    return null
  }

  private async cut(ask: CutRef & { vm: string; witnesses: DeviceWitness[]; putBack: boolean }): Promise<{ latches: PortLatch[]; bootId: string }> {
    const live = this.find(ask)
    const gone = live.unknown?.vms.has(ask.vm) && live.unknown.cut.op === ask.op && live.unknown.cut.k === ask.k
    if (!gone) this.inCut(ask)
    const emptied = live.net.isEmptied(ask.vm) ||
      (await until(this.at.clock, emptiedMs, 0, () => (live.net.isEmptied(ask.vm) ? true : undefined)))
    if (!emptied) throw new Failure('timed-out', `the sockets of ${ask.vm} could not be read empty`)
    if (gone && live.unknown) {
      live.net.takeBack(ask.vm, ask.witnesses, ask.putBack)
      throw new Refusal('refused', `cut ${ask.k} is void: the switch went forward; what ${ask.vm} had not taken waits for it again`)
    }
    const since = live.stopping.get(ask.vm)
    live.stopping.delete(ask.vm)
    const late = since !== undefined && this.at.clock.monotonic() - since >= limits.holdMs // we have stood: the VM was let run without us (hole 45)
    faultPoint('switch.before-flip') // what `stop` has thrown away is put back with the flip, in one step
    const latches = this.inCut(ask).net.cut(ask.vm, ask.k, ask.op, ask.witnesses, ask.putBack, late)
    faultPoint('switch.flipped')
    return { latches, bootId: this.at.bootId }
  }

  private stay(ask: CutRef): null {
    const { stopping } = this.inCut(ask)
    for (const vm of stopping.keys()) stopping.set(vm, this.at.clock.monotonic())
    return null
  }

  private thaw(ask: CutRef & { vm: string }): null {
    this.find(ask).net.thaw(ask.vm)
    faultPoint('switch.thawed')
    return null
  }

  private forward(ask: CutRef): null {
    const live = this.runs.get(key(ask))
    faultPoint('switch.before-forward')
    if (live) this.goForward(live, ask.k)
    faultPoint('switch.forwarded')
    return null
  }

  private endGate(live: Live): void {
    if (live.gatedSince !== undefined) this.at.urgency?.end()
    live.gatedSince = undefined
    live.stopping.clear()
  }

  private goForward(live: Live, k: number, unknown?: ReadonlySet<string>): void {
    live.net.forward(k, unknown)
    live.cut = undefined
    live.unknown = undefined
    this.endGate(live)
  }

  private async closeLog(ask: CutRef & { file: string }): Promise<ClosedLog> {
    const live = this.inCut(ask)
    const { net } = live
    const frames = net.closeLog(ask.k)
    const drops = net.channels().flatMap(({ to, from, count }) =>
      count.drops.filter((d) => d.epoch < ask.k || d.kind === 'orphan').map((d) => ({ to, from, ...d, tally: { ...d.tally } })))
    net.settleDrops(ask.k)
    const ports = net.ports()
    live.cut = undefined
    this.endGate(live)
    net.finish()
    const bytes = encodeLog(ask.slice, frames)
    faultPoint('switch.before-log')
    await writeDurably(ask.file, bytes)
    faultPoint('switch.log-closed')
    return {
      bootId: this.at.bootId, frames: frames.length, bytes: bytes.length, recorded: sumsOf(frames), drops,
      framesHeld: ports.reduce((n, p) => n + p.heldFrames, 0),
      longestHoldMs: Math.max(0, ...ports.map((p) => p.longestHoldMs)),
      ports: ports.map((p) => ({ port: p.id, framesHeld: p.heldFrames, longestHoldMs: p.longestHoldMs, heldDropped: p.heldDropped })),
    }
  }

  private async replay(ask: NetRef & { file: string }): Promise<{ frames: number }> {
    const { net } = this.find(ask)
    const logged = decodeLog(ask.slice, await readFile(ask.file))
    for (const port of net.ports().filter((p) => !p.replayed)) {
      port.gated = true // a VM that stands takes frames too: after a restart of this switch they would come a second time
      port.replay(logged.filter((f) => f.to === port.id).map((f) => ({ ...f.frame, run: ask.run, epoch: net.epoch })))
    }
    faultPoint('switch.replayed')
    return { frames: logged.length }
  }

  private stats(ask: NetRef): NetStats {
    const { net } = this.find(ask)
    return {
      bootId: this.at.bootId, epoch: net.epoch,
      ports: net.ports().map((p) => ({
        port: p.id, vm: p.vm, epoch: p.epoch, gated: p.gated, framesRead: p.framesRead, framesWritten: p.framesWritten,
        waiting: p.waitingFrames, flying: p.flyingFrames, replayed: p.replayed, counted: net.isCounted(p.id),
      })),
    }
  }

  private find(ref: NetRef): Live {
    const live = this.runs.get(key(ref))
    if (!live) throw new Refusal('not-found', `this switch has no run ${ref.run} of slice ${ref.slice}`)
    return live
  }

  private inCut(ask: CutRef): Live {
    const live = this.find(ask)
    if (live.cut?.op !== ask.op || live.cut.k !== ask.k) throw new Refusal('refused', `cut ${ask.k} is not open at this switch: it is void`)
    return live
  }

  private async preparedEpoch(ref: NetRef): Promise<number> {
    return (await readRecord(this.stateFile(ref), preparedForm))?.k ?? 0
  }

  private stateFile(ref: NetRef): string {
    return `${this.at.folder}/${ref.slice}.${ref.run}.json`
  }
}

const key = (ref: NetRef): string => `${ref.slice} ${ref.run}`

function endRun({ net, alarm }: Live): void {
  alarm.clear()
  net.close()
}

function sumsOf(frames: LoggedFrame[]): RecordedSum[] {
  const sums = new Map<string, RecordedSum>()
  for (const { to, frame } of frames) {
    const name = `${to} ${frame.source}`
    let entry = sums.get(name)
    if (!entry) sums.set(name, (entry = { to, from: frame.source, tally: emptyTally() }))
    addTo(entry.tally, frame.source, frame.seq)
  }
  return [...sums.values()]
}
