// One run of one slice at this switch: its ports, its LANs, its open channel logs, and what the switch does in a cut.
// No sockets and no files in here, so that tests and simulations drive the very code that runs.
import { Refusal } from '../base/errors.js'
import { seededFractions } from '../base/random.js'
import { ChannelLog, type LoggedFrame } from './channel-log.js'
import type { Frame } from './frame.js'
import { MacTable } from './mac-table.js'
import { Port, type ChannelCount, type Rule } from './port.js'
import type { Shape } from './shaper.js'
import { emptyTally, type Tally } from './tally.js'

/** What the devices of a stopped VM say of one interface; `usedRx` and `usedTx` are virtio used indexes (mod 2^16). */
export interface DeviceWitness { port: number; usedRx: number; usedTx: number; vring: string }
/** Where the counting of a port began. No base: the next cut has no witness and only sets one. */
export interface Base { usedRx: number; usedTx: number; vring?: string }

export type WitnessVerdict = 'exact' | 'none' | 'tx-differs'

/** Everything latched at the flip of one port. */
export interface PortLatch {
  port: number
  vm: string
  /** S_p: the last sequence number read from the VM before its cut. */
  sent: number
  epoch: number
  witness: WitnessVerdict
  usedRx: number
  usedTx: number
  vring: string
  framesRead: number
  framesWritten: number
  putBack: number
  /** Read from the VM and for nobody. This and what follows: absent in snapshots from before it was kept. */
  nowhere?: number
  /** What the witness was weighed against, so that anybody can do it again. */
  base?: Base & { framesRead: number; framesWritten: number }
  /** Its run was here before and the switch has been restarted: what it held then is lost, and counted nowhere. */
  reconnected?: true
  channels: { from: number; delivered: Tally; highest: number }[]
  born: { to: number; tally: Tally }[]
}

interface NewPort {
  id: number; vm: string; lan: string; mac: string; seq: number; base?: Base; shapes?: readonly InboundShape[]; reconnected?: boolean; gated?: boolean
}
interface Member { port: Port; mac: string; base: Base | undefined; readAtBase: number; writtenAtBase: number; reconnected: boolean }
type CutVerdict = { cut: string } | 'forward'

export interface NetEvents {
  onHeld(t: number): void
  /** A frame is in flight and arrives at `due`: call `land` then. */
  onFlight(due: number): void
}
/** The shape of what one port sends to another. */
export interface InboundShape extends Shape { from: number }

export class SliceNet {
  readonly slice: string
  readonly run: string
  rule: Rule = 'colour'
  /** The epoch that every port is in or on the way to. */
  epoch: number
  heldBefore = 0
  private readonly members = new Map<number, Member>()
  private readonly macs = new MacTable()
  private readonly verdicts = new Map<string, CutVerdict>()
  private logs: ChannelLog[] = []
  private readonly now: () => number
  private readonly events: NetEvents

  constructor(at: { slice: string; run: string; epoch: number }, now: () => number, events: NetEvents) {
    this.slice = at.slice
    this.run = at.run
    this.epoch = at.epoch
    this.now = now
    this.events = events
  }

  addPort(at: NewPort): Port {
    if (this.members.has(at.id)) throw new Refusal('exists', `port ${at.id} of slice ${this.slice} is there already`)
    const port = new Port({ ...at, epoch: this.epoch }, {
      rule: () => this.rule,
      openLogs: () => this.logs,
      now: this.now,
      onHeld: (t) => this.events.onHeld(t),
      onFlight: (due) => this.events.onFlight(due),
    })
    port.gated = at.gated ?? false
    port.replayed = at.reconnected ?? false
    // The same run loses the same frames, another one others; so do the two directions of a link.
    for (const { from, ...shape } of at.shapes ?? []) port.shape(from, shape, seededFractions(`${this.slice} ${this.run} ${from} ${at.id}`))
    this.members.set(at.id, { port, mac: at.mac, base: at.base, readAtBase: 0, writtenAtBase: 0, reconnected: at.reconnected ?? false })
    return port
  }

  removePort(id: number): void {
    this.members.get(id)?.port.link?.close()
    this.members.delete(id)
    this.macs.forget(id)
  }

  ports(vm?: string): Port[] {
    return [...this.members.values()].map((m) => m.port).filter((p) => vm === undefined || p.vm === vm)
  }

  /** A frame from a VM: coloured with its port's epoch, then one copy for each port that it is for. */
  ingress(port: Port, bytes: Buffer): void {
    port.framesRead++ // the device counts every one
    if (bytes.length < 14) {
      port.nowhere++
      return
    }
    const frame: Frame = { run: this.run, epoch: port.epoch, source: port.id, seq: ++port.seq, bytes }
    this.macs.learn(port.lan, bytes.subarray(6, 12), port.id)
    const to = this.macs.lookup(port.lan, bytes.subarray(0, 6))
    if (to === port.id) {
      port.nowhere++
      return
    }
    const one = to === undefined ? undefined : this.members.get(to)
    if (one) return one.port.accept(frame)
    for (const { port: other } of this.members.values()) if (other !== port && other.lan === port.lan) other.accept(frame)
  }

  /** What was in flight on shaped links and has arrived by `now` goes on. Returns when to call again; Infinity when nothing is in flight. */
  land(now: number): number {
    const ports = this.ports()
    for (const port of ports) port.land(now)
    return Math.min(Infinity, ...ports.map((port) => port.nextLanding()))
  }

  /** Cut `k` may come: its log is open from now on. Ports below k-1 go forward to it (they missed an aborted cut). */
  prepare(k: number, rule: Rule): void {
    this.rule = rule
    this.epoch = Math.max(this.epoch, k - 1)
    for (const port of this.ports()) if (port.epoch < k - 1) this.raise(port, k - 1)
    this.logs = this.logs.filter((log) => log.k < k)
    if (rule === 'colour') this.logs.push(new ChannelLog(k))
    for (const port of this.ports()) {
      port.heldFrames = 0
      port.longestHoldMs = 0
      port.heldDropped = 0
    }
  }

  gate(vm: string): void {
    for (const port of this.ports(vm)) port.gated = true
  }

  thaw(vm: string): void {
    for (const port of this.ports(vm)) {
      port.gated = false
      port.pump()
    }
  }

  isDrained(vm: string): boolean {
    return this.ports(vm).every((p) => p.link?.drained() ?? true)
  }

  isConnected(vm: string): boolean {
    return this.ports(vm).every((p) => p.link?.connected ?? false)
  }

  isEmptied(vm: string): boolean {
    return this.ports(vm).every((p) => p.link?.emptied() ?? true)
  }

  /**
   * The flip of one VM. Before: it is stopped, gated, drained and its sockets are read empty. After: what QEMU had taken
   * and the guest had not is back at the head of the queues, everything is latched, its ports are in epoch k.
   * Refused when the switch has already gone forward (hole 5c): the cut of this VM is void.
   */
  cut(vm: string, k: number, op: string, witnesses: DeviceWitness[], putBack: boolean, late = false): PortLatch[] {
    const before = this.verdicts.get(`${vm} ${k}`)
    if (before !== undefined) {
      throw new Refusal('refused', `${vm} has already ${before === 'forward' ? `gone forward to epoch ${k}` : `been cut for ${k}`}`)
    }
    this.verdicts.set(`${vm} ${k}`, { cut: op })
    this.epoch = Math.max(this.epoch, k)
    return this.ports(vm).map((port) => {
      const latch = this.latch(port, witnesses.find((w) => w.port === port.id), putBack, late)
      port.epoch = k
      return latch
    })
  }

  /**
   * Every port of the slice goes on to epoch k at least, and whatever waited is released in order. Ports of VMs of whom it is not known whether
   * they were stopped (`unknown`) stay closed, and counted as before.
   */
  forward(k: number, unknown: ReadonlySet<string> = new Set()): void {
    const target = Math.max(k, ...this.ports().map((p) => p.highestWaiting()))
    this.epoch = Math.max(this.epoch, target)
    for (const port of this.ports()) {
      if (!this.verdicts.has(`${port.vm} ${k}`)) this.verdicts.set(`${port.vm} ${k}`, 'forward')
      if (!unknown.has(port.vm)) port.gated = false
      if (port.epoch < target) this.raise(port, target)
    }
    this.logs = this.logs.filter((log) => log.k > target)
    this.rule = 'colour'
    for (const port of this.ports()) port.pump()
  }

  /**
   * The same for a VM that was stopped for a cut which has been given up since: what `stop` threw away is back at the head of the queues, and
   * counting goes on from what its devices say. Safe to call again.
   */
  takeBack(vm: string, witnesses: DeviceWitness[], putBack: boolean): void {
    for (const port of this.ports(vm)) this.latch(port, witnesses.find((w) => w.port === port.id), putBack, true)
  }

  /** It may have been stopped, and nobody has said what it had taken by then: its counters say nothing any more (the next cut sets a base). */
  forget(vm: string): void {
    for (const port of this.ports(vm)) this.members.get(port.id)!.base = undefined
  }

  /** Before: every port is at k or above. After: the log holds all that was in transit across cut k. */
  closeLog(k: number): LoggedFrame[] {
    const behind = this.ports().find((p) => p.epoch < k)
    if (behind) throw new Refusal('refused', `the log of cut ${k} cannot close: ${behind.vm} has not been cut`)
    const log = this.logs.find((l) => l.k === k)
    if (!log) return []
    for (const port of this.ports()) port.copyWaiting(log)
    log.close()
    this.logs = this.logs.filter((l) => l !== log)
    for (const key of this.verdicts.keys()) if (Number(key.split(' ')[1]) < k - 1) this.verdicts.delete(key)
    return log.frames
  }

  /**
   * From here on a VM's frames and its devices' used indexes are counted together. Before: stopped, drained, read empty. Where no device says
   * anything (it takes nothing just now), what was counted before goes on: a cut finds out whether that still holds.
   */
  rebase(vm: string, witnesses: DeviceWitness[]): void {
    for (const port of this.ports(vm)) {
      const device = witnesses.find((w) => w.port === port.id)
      if (device) this.setBase(port, device)
    }
  }

  /** Has this port a counting base in common with its device? */
  isCounted(port: number): boolean { return this.members.get(port)?.base !== undefined }

  settleDrops(k: number): void {
    for (const port of this.ports()) port.settleDrops(k)
  }

  /** After a cut that kept to another rule (drop, none), the colour rule holds again. */
  finish(): void {
    this.rule = 'colour'
    for (const port of this.ports()) port.pump()
  }

  channels(): { to: number; from: number; count: ChannelCount }[] {
    return this.ports().flatMap((p) => [...p.channels].map(([from, count]) => ({ to: p.id, from, count })))
  }

  close(): void {
    for (const id of [...this.members.keys()]) this.removePort(id)
  }

  private raise(port: Port, epoch: number): void {
    port.epoch = epoch
    port.pump()
  }

  private latch(port: Port, device: DeviceWitness | undefined, putBack: boolean, late: boolean): PortLatch {
    const member = this.members.get(port.id)!
    const since = late ? this.sentSince(member, device) : 0
    const witness = this.weigh(member, device, since)
    const waiting = witness === 'exact' && putBack ? mod16(this.expectedRx(member) - device!.usedRx) : 0
    const back = waiting > 0 ? port.putBack(waiting) : 0
    const base = member.base && { ...member.base, framesRead: member.readAtBase, framesWritten: member.writtenAtBase }
    this.setBase(port, device, since)
    return {
      port: port.id, vm: port.vm, sent: port.seq, epoch: port.epoch, witness,
      usedRx: device?.usedRx ?? -1, usedTx: device?.usedTx ?? -1, vring: device?.vring ?? '',
      framesRead: port.framesRead, framesWritten: port.framesWritten, putBack: back,
      nowhere: port.nowhere, ...(base ? { base } : {}), ...(member.reconnected ? { reconnected: true as const } : {}),
      channels: [...port.channels].map(([from, c]) => ({ from, delivered: { ...c.delivered }, highest: c.highest })),
      born: this.ports().filter((q) => q !== port)
        .map((q) => ({ to: q.id, tally: { ...(q.channels.get(port.id)?.born ?? emptyTally()) } })),
    }
  }

  private setBase(port: Port, device: DeviceWitness | undefined, since = 0): void {
    const member = this.members.get(port.id)!
    member.base = device ? { usedRx: device.usedRx, usedTx: device.usedTx, vring: device.vring } : undefined
    member.readAtBase = port.framesRead - since
    member.writtenAtBase = port.framesWritten
  }

  /** Do the device's own counters agree with ours? Only then is it known what QEMU has not yet handed to the guest. */
  private weigh(member: Member, device: DeviceWitness | undefined, since: number): WitnessVerdict {
    const { base, port } = member
    if (!device || !base) return 'none'
    if (base.vring !== undefined && base.vring !== device.vring) return 'none' // the guest reset its NIC since the base
    if (mod16(this.expectedTx(member) - since) !== device.usedTx) return 'tx-differs'
    const waiting = mod16(this.expectedRx(member) - device.usedRx)
    return waiting <= port.framesWritten - member.writtenAtBase ? 'exact' : 'none'
  }

  /** Frames that were read after the device was asked: its VM has run on. Nothing was written to it meanwhile, for its ports are gated. */
  private sentSince(member: Member, device: DeviceWitness | undefined): number {
    const ahead = device && member.base ? mod16(this.expectedTx(member) - device.usedTx) : 0
    return ahead < 32_768 ? ahead : 0
  }

  private expectedTx(member: Member): number {
    return mod16(member.base!.usedTx + member.port.framesRead - member.readAtBase)
  }

  private expectedRx(member: Member): number {
    return mod16(member.base!.usedRx + member.port.framesWritten - member.writtenAtBase)
  }
}

const mod16 = (x: number): number => ((x % 65_536) + 65_536) % 65_536
