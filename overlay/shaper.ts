// What a link does to the frames of one direction: they go one after another at its capacity, arrive its latency later, and
// some do not arrive. Pure: whoever owns it says what time it is. Order is kept, whatever the shape.
//
// Frames are dropped only on entry, so a frame has its fate when it is born: in here it is in flight, and no cut that
// comes meanwhile has to judge a loss (docs/cut-protocol.md, "Shaped links").

/** What is asked of one direction. What is absent is not limited. */
export interface Shape {
  /** kbit/s, counted over whole Ethernet frames without checksum and preamble. */
  capacityKbps?: number
  latencyMs?: number
  /** The part of frames that is lost: 0 to 1. */
  loss?: number
}

/** Why a frame was not let in: chance, no room before a slow link, more in flight than is kept here. */
export type ShaperDrop = 'loss' | 'rateTail' | 'delayTail'

/** A frame may wait so long for its turn; then it is dropped, as at the tail of a router's queue. */
const queueMs = 100
/** The same for slow links: some ten full frames. */
const queueBytes = 16_384
/** One direction of 100 Mbit/s over one second has half of this in flight. */
const inFlightBytes = 24 * 1024 * 1024
/** What a frame costs in memory beside its bytes, so that many small ones are bounded too. */
const frameBytes = 256

interface InFlight<T> { item: T; bytes: number; due: number }

export class Shaper<T> {
  readonly shape: Shape
  private readonly fraction: () => number
  private queue: InFlight<T>[] = []
  private first = 0
  private bytes = 0
  /** When all that came before has gone out on the link. */
  private free = 0
  private lastDue = 0

  /** `fraction` gives chance: from 0 to 1, without 1. */
  constructor(shape: Shape, fraction: () => number) {
    this.shape = shape
    this.fraction = fraction
  }

  /** The item is in flight from now on; or why it is not. */
  offer(item: T, bytes: number, now: number): ShaperDrop | undefined {
    const { capacityKbps, latencyMs = 0, loss = 0 } = this.shape
    if (this.bytes + bytes + frameBytes > inFlightBytes) return 'delayTail'
    let gone = now
    if (capacityKbps !== undefined) {
      const perMs = capacityKbps / 8
      const before = Math.max(0, this.free - now) * perMs
      if (before > 0 && before + bytes > Math.max(queueBytes, perMs * queueMs)) return 'rateTail'
      gone = this.free = Math.max(now, this.free) + bytes / perMs
    }
    if (loss > 0 && this.fraction() < loss) return 'loss' // it was on the link and took its time there
    this.lastDue = Math.max(this.lastDue, gone + latencyMs)
    this.queue.push({ item, bytes, due: this.lastDue })
    this.bytes += bytes + frameBytes
    return undefined
  }

  /** What has arrived by now, in order. */
  arrived(now: number): { item: T; due: number }[] {
    const begin = this.first
    while (this.first < this.queue.length && this.queue[this.first]!.due <= now) this.bytes -= this.queue[this.first++]!.bytes + frameBytes
    const out = this.queue.slice(begin, this.first)
    if (this.first * 2 > this.queue.length) { // now and then and not each time: shifting an array is dear
      this.queue = this.queue.slice(this.first)
      this.first = 0
    }
    return out
  }

  /** When the next one arrives; undefined when none is in flight. */
  nextDue(): number | undefined {
    return this.queue[this.first]?.due
  }

  /** All that is in flight, in order. */
  inFlight(): T[] {
    return this.queue.slice(this.first).map((one) => one.item)
  }
}
