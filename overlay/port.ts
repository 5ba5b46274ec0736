// One VM interface at the switch: its epoch, its one queue and the rule at delivery. Everything that waits for the VM
// (gated, held, put back, replayed, or just not taken yet) waits in the same queue, in order per channel. What comes over
// a shaped link is in flight before that: it is born, and nobody has judged its colour yet.
import { limits } from '../base/limits.js'
import { belongsTo, verdict } from './colour.js'
import type { ChannelLog } from './channel-log.js'
import type { Frame } from './frame.js'
import { Shaper, type Shape, type ShaperDrop } from './shaper.js'
import { addTo, emptyTally, sum, takeFrom, type Tally } from './tally.js'
import type { PortLink } from './vm-link.js'

/** Those of the shaper are what the link was asked to do; the others happen to the switch. */
export type DropKind = 'queueTail' | 'orphan' | ShaperDrop
export type Rule = 'colour' | 'drop' | 'none'

/** What happened to the copies that one source port addressed to this port, since the run began. */
export interface ChannelCount {
  born: Tally
  delivered: Tally
  /** Highest sequence number delivered. */
  highest: number
  drops: { kind: DropKind; epoch: number; tally: Tally; seqs: number[] }[]
}

interface Waiting { frame: Frame; heldSince: number; logged: number[] }

/** What a port looks to its surroundings for. */
export interface PortContext {
  rule(): Rule
  openLogs(): ChannelLog[]
  now(): number
  /** A frame of epoch `t` is held here. */
  onHeld(t: number): void
  /** A frame is in flight to here and arrives at `due`. */
  onFlight(due: number): void
}

const keptDropSeqs = 10_000
const emulated: readonly DropKind[] = ['loss', 'rateTail', 'delayTail']

export class Port {
  readonly id: number
  readonly vm: string
  readonly lan: string
  epoch: number
  gated = false
  /** It has had the recorded frames of its run, or its VM ran before this switch began. */
  replayed = false
  link: PortLink | undefined
  /** Frames read from the VM in this run; also the last sequence number given. */
  seq: number
  framesRead = 0
  framesWritten = 0
  heldFrames = 0
  longestHoldMs = 0
  /** Dropped since the cut was prepared, the queue being full, while this port was gated or held frames: the cut's fault. */
  heldDropped = 0
  /** Frames read from the VM that are for nobody: too short for an address, or for the VM itself. */
  nowhere = 0
  readonly channels = new Map<number, ChannelCount>()
  private readonly shapers = new Map<number, Shaper<Waiting>>()
  private landing = Infinity
  private queue: Waiting[] = []
  private queuedBytes = 0
  private holding = 0
  private written: Waiting[] = []
  private writtenBytes = 0
  private readonly context: PortContext

  constructor(at: { id: number; vm: string; lan: string; epoch: number; seq: number }, context: PortContext) {
    this.id = at.id
    this.vm = at.vm
    this.lan = at.lan
    this.epoch = at.epoch
    this.seq = at.seq
    this.context = context
  }

  /** Frames of that port come over a link of this shape. Before: none has come yet. `fraction` is the chance of its losses. */
  shape(source: number, shape: Shape, fraction: () => number): void {
    this.shapers.set(source, new Shaper(shape, fraction))
  }

  /** A copy of a frame is addressed to this port. */
  accept(frame: Frame): void {
    const channel = this.channel(frame.source)
    addTo(channel.born, frame.source, frame.seq)
    const waiting = { frame, heldSince: 0, logged: [] }
    const shaper = this.shapers.get(frame.source)
    if (!shaper) {
      this.enqueue(waiting)
      return this.pump()
    }
    const dropped = shaper.offer(waiting, frame.bytes.length, this.context.now())
    if (dropped) return this.drop(frame, dropped)
    const due = shaper.nextDue()!
    this.landing = Math.min(this.landing, due)
    this.context.onFlight(due)
  }

  /** What was in flight and has arrived by `now` waits like everything else. */
  land(now: number): void {
    if (now < this.landing) return // asked every ms, on a LAN of many
    const shapers = [...this.shapers.values()]
    const arrived = shapers.flatMap((shaper) => shaper.arrived(now)).sort((a, b) => a.due - b.due)
    this.landing = Math.min(Infinity, ...shapers.map((shaper) => shaper.nextDue() ?? Infinity))
    for (const { item } of arrived) this.enqueue(item)
    if (arrived.length > 0) this.pump()
  }

  /** When the next frame in flight arrives; Infinity when none is. */
  nextLanding(): number {
    return this.landing
  }

  /** Frames of a channel log enter before everything else, in their order. */
  replay(frames: Frame[]): void {
    this.replayed = true
    for (const frame of frames) addTo(this.channel(frame.source).born, frame.source, frame.seq)
    this.putAtHead(frames.map((frame) => ({ frame, heldSince: 0, logged: [] })))
    this.pump()
  }

  /** Delivers what may be delivered now. */
  pump(): void {
    if (this.gated || this.queue.length === 0) return
    const kept: Waiting[] = []
    let i = 0
    for (; i < this.queue.length; i++) {
      if (!this.link?.ready) break
      const waiting = this.queue[i]!
      const what = this.judge(waiting.frame)
      if (what === 'hold') kept.push(this.markHeld(waiting))
      else this.release(waiting, what)
    }
    this.queue = i === 0 ? this.queue : kept.concat(this.queue.slice(i))
  }

  /** The last `count` frames written come back to the head of the queue: QEMU had taken them, the guest had not. */
  putBack(count: number): number {
    const back = this.written.splice(Math.max(0, this.written.length - count))
    for (const { frame } of back) {
      takeFrom(this.channel(frame.source).delivered, frame.source, frame.seq)
      this.writtenBytes -= frame.bytes.length
    }
    this.framesWritten -= back.length
    this.putAtHead(back)
    return back.length
  }

  /** Copies what still waits here, or is in flight to here, for cut `k` into its log, flagged so that its delivery does not record it again. */
  copyWaiting(log: ChannelLog): void {
    for (const waiting of [...this.queue, ...this.flying()]) { // a channel's frames in flight are behind those that wait
      if (!belongsTo(log.k, this.epoch, waiting.frame.epoch) || waiting.logged.includes(log.k)) continue
      waiting.logged.push(log.k)
      log.add(this.id, waiting.frame)
    }
  }

  /** Since when the oldest held frame waits; undefined when none does. */
  heldSince(): number | undefined {
    return this.queue.find((w) => w.heldSince > 0)?.heldSince
  }

  highestWaiting(): number {
    return [...this.queue, ...this.flying()].reduce((t, w) => Math.max(t, w.frame.epoch), 0)
  }

  /** Drops of epochs before `k` count together from here on: later cuts ask for no less. */
  settleDrops(k: number): void {
    for (const channel of this.channels.values()) {
      for (const kind of new Set(channel.drops.map((d) => d.kind))) {
        const old = channel.drops.filter((d) => d.kind === kind && d.epoch < k)
        if (old.length < 2) continue
        const seqs = old.flatMap((d) => d.seqs).slice(0, keptDropSeqs)
        channel.drops = channel.drops.filter((d) => !old.includes(d))
        channel.drops.push({ kind, epoch: k - 1, tally: sum(...old.map((d) => d.tally)), seqs })
      }
    }
  }

  get waitingFrames(): number { return this.queue.length }
  get flyingFrames(): number { return this.flying().length }
  get waitingBytes(): number { return this.queuedBytes }

  channel(source: number): ChannelCount {
    let channel = this.channels.get(source)
    if (!channel) {
      channel = { born: emptyTally(), delivered: emptyTally(), highest: 0, drops: [] }
      this.channels.set(source, channel)
    }
    return channel
  }

  private flying(): Waiting[] {
    return [...this.shapers.values()].flatMap((shaper) => shaper.inFlight())
  }

  private enqueue(waiting: Waiting): void {
    const { frame } = waiting
    if (this.queuedBytes + frame.bytes.length > limits.portQueueBytes) {
      if (this.gated || this.holding > 0) this.heldDropped++
      return this.drop(frame, 'queueTail')
    }
    this.queue.push(waiting)
    this.queuedBytes += frame.bytes.length
  }

  private judge(frame: Frame): 'deliver' | 'deliver-and-record' | 'hold' | 'drop' {
    const rule = this.context.rule()
    if (rule === 'none') return 'deliver'
    const what = verdict(this.epoch, frame.epoch)
    if (rule === 'drop') return what === 'hold' ? 'drop' : 'deliver'
    return what
  }

  private release(waiting: Waiting, what: 'deliver' | 'deliver-and-record' | 'drop'): void {
    const { frame } = waiting
    this.queuedBytes -= frame.bytes.length
    if (waiting.heldSince > 0) this.holding--
    if (waiting.heldSince > 0) this.longestHoldMs = Math.max(this.longestHoldMs, this.context.now() - waiting.heldSince)
    waiting.heldSince = 0
    if (what === 'drop') return this.drop(frame, 'orphan')
    if (what === 'deliver-and-record') this.record(waiting)
    const channel = this.channel(frame.source)
    addTo(channel.delivered, frame.source, frame.seq)
    channel.highest = Math.max(channel.highest, frame.seq)
    this.framesWritten++
    this.remember(waiting)
    this.link!.send(frame.bytes)
  }

  private record(waiting: Waiting): void {
    for (const log of this.context.openLogs()) {
      if (!belongsTo(log.k, this.epoch, waiting.frame.epoch) || waiting.logged.includes(log.k)) continue
      waiting.logged.push(log.k)
      log.add(this.id, waiting.frame)
    }
  }

  private markHeld(waiting: Waiting): Waiting {
    if (waiting.heldSince === 0) {
      waiting.heldSince = this.context.now()
      this.heldFrames++
      this.holding++
      this.context.onHeld(waiting.frame.epoch)
    }
    return waiting
  }

  private remember(waiting: Waiting): void {
    this.written.push(waiting)
    this.writtenBytes += waiting.frame.bytes.length
    if (this.writtenBytes <= 2 * limits.writtenRingBytes) return
    let drop = 0 // cut down to the bound at once and not frame by frame: shifting an array is dear
    while (this.writtenBytes > limits.writtenRingBytes) this.writtenBytes -= this.written[drop++]!.frame.bytes.length
    this.written = this.written.slice(drop)
  }

  private putAtHead(waiting: Waiting[]): void {
    this.queue = waiting.concat(this.queue)
    for (const { frame } of waiting) this.queuedBytes += frame.bytes.length
  }

  private drop(frame: Frame, kind: DropKind): void {
    const { drops } = this.channel(frame.source)
    let entry = drops.find((d) => d.kind === kind && d.epoch === frame.epoch)
    if (!entry) {
      entry = { kind, epoch: frame.epoch, tally: emptyTally(), seqs: [] }
      drops.push(entry)
    }
    addTo(entry.tally, frame.source, frame.seq)
    if (!emulated.includes(kind) && entry.seqs.length < keptDropSeqs) entry.seqs.push(frame.seq) // nobody looks for what was to be lost
  }
}
