// The sending end of the stream: repairs what the network lost, as TCP does, and notices what TCP would break on: an
// answer to what it never sent, a neighbour that does not know it, and long silence.
import { due, type Pace } from './pace.js'
import { makeRecord, streamError, windowRecords, type Segment, type StreamFaults } from './stream-wire.js'

export interface OutMemory {
  state: 'closed' | 'opening' | 'open'
  connection: number
  /** Number of the last record sent, and of the last that was acknowledged. */
  sent: number
  acked: number
  record: Pace
  /** When closed: not opened again before. */
  retryAt: number
  /** When something is on its way: sent again then, and after that so much later. */
  resendAt: number
  patience: number
  /** Since when something is on its way and nothing was acknowledged. */
  silentSince: number
}

const recordEveryMs = 20
const firstPatienceMs = 200
const mostPatienceMs = 2_000
const silenceMs = 30_000
const retryMs = 1_000
const nsPerMs = 1e6

/** The sending end in a bank that starts now. */
export const freshOut = (now: number): OutMemory => ({
  state: 'closed', connection: 0, sent: 0, acked: 0, record: { interval: recordEveryMs, next: now }, retryAt: 0, resendAt: 0,
  patience: firstPatienceMs, silentSince: 0,
})

export class StreamOut {
  private readonly memory: OutMemory
  private readonly faults: StreamFaults
  private readonly send: (segment: Segment) => void

  constructor(memory: OutMemory, faults: StreamFaults, send: (segment: Segment) => void) {
    this.memory = memory
    this.faults = faults
    this.send = send
  }

  startPacing(now: number): void {
    this.memory.record.next = now
  }

  /** What is due of new records; without room in the window they are left out, as the real bank does when TCP takes no more. */
  sendRecords(now: number): void {
    const { memory } = this
    if (memory.state === 'closed' && now >= memory.retryAt) this.open(now)
    for (let n = due(memory.record, now); n > 0 && memory.state === 'open' && memory.sent - memory.acked < windowRecords; n--) {
      if (memory.sent === memory.acked) this.beginWaiting(now)
      memory.sent++ // before it leaves: its acknowledgement must find it sent
      this.sendRecord(memory.sent)
    }
  }

  /** Goes on when the bank is stopped: what was sent is to arrive. */
  tick(now: number): void {
    const { memory } = this
    if (!this.waiting) return
    if (now >= memory.silentSince + silenceMs) return this.drop(now, `nothing was acknowledged for ${silenceMs / 1000} s`)
    if (now < memory.resendAt) return
    memory.patience = Math.min(2 * memory.patience, mostPatienceMs)
    memory.resendAt = now + memory.patience
    if (memory.state === 'opening') this.sendOpen()
    else for (let number = memory.acked + 1, last = memory.sent; number <= last; number++) this.sendRecord(number)
  }

  receive(segment: Segment, now: number): void {
    const { memory } = this
    if (memory.state === 'closed' || segment.connection !== memory.connection) return // of a connection that was given up
    if (segment.kind === 'reset') return this.drop(now, 'the neighbour does not know of the connection')
    if (segment.number > memory.sent) return this.drop(now, `the neighbour acknowledged record ${segment.number}, which was never sent`)
    if (memory.state === 'opening') memory.state = 'open'
    else if (segment.number <= memory.acked) return // an old acknowledgement, or one of a copy
    memory.acked = Math.max(memory.acked, segment.number)
    this.beginWaiting(now)
  }

  nextDue(running: boolean): number {
    const { memory } = this
    const again = this.waiting ? Math.min(memory.resendAt, memory.silentSince + silenceMs) : Infinity
    return running ? Math.min(again, memory.record.next) : again
  }

  private get waiting(): boolean {
    return this.memory.state === 'opening' || (this.memory.state === 'open' && this.memory.acked < this.memory.sent)
  }

  private open(now: number): void {
    const { memory } = this
    memory.state = 'opening'
    memory.connection = Math.round(now * nsPerMs) % 0x1_0000_0000 // as TCP does: by the clock, so that a new one differs from the old
    memory.acked = memory.sent // what was on its way is lost with the old connection
    this.beginWaiting(now)
    this.sendOpen()
  }

  private beginWaiting(now: number): void {
    this.memory.patience = firstPatienceMs
    this.memory.resendAt = now + firstPatienceMs
    this.memory.silentSince = now
  }

  private sendOpen(): void {
    this.send({ kind: 'open', connection: this.memory.connection, number: this.memory.sent + 1 })
  }

  private sendRecord(number: number): void {
    this.send({ kind: 'data', connection: this.memory.connection, number, record: makeRecord(number) })
  }

  private drop(now: number, why: string): void {
    streamError(this.faults, `the stream to the next neighbour broke after record ${this.memory.sent}: ${why}`)
    this.memory.state = 'closed'
    this.memory.retryAt = now + retryMs
  }
}
