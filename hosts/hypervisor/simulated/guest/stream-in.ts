// The receiving end of the stream: takes records in order only, tells how far it is, and names what no loss can explain.
import { makeRecord, streamError, windowRecords, type Segment, type StreamFaults } from './stream-wire.js'

export interface InMemory {
  /** The connection and its next record; absent: none is open. */
  open?: { connection: number; next: number }
  received: number
  /** The record that must come next whatever the connection. */
  expected: number
}

/** The receiving end in a bank that starts. */
export const freshIn = (): InMemory => ({ received: 0, expected: 1 })

export class StreamIn {
  private readonly memory: InMemory
  private readonly faults: StreamFaults
  private readonly send: (segment: Segment) => void

  constructor(memory: InMemory, faults: StreamFaults, send: (segment: Segment) => void) {
    this.memory = memory
    this.faults = faults
    this.send = send
  }

  receive(segment: Segment): void {
    if (segment.number === 0) return // records are numbered from 1: this was sent by no bank
    if (segment.kind === 'open') this.accept(segment)
    else this.take(segment)
  }

  private accept({ connection, number }: Segment): void {
    if (this.memory.open?.connection !== connection) {
      if (this.memory.open) this.drop('the neighbour connected anew')
      this.memory.open = { connection, next: number }
    }
    this.send({ kind: 'opened', connection, number: this.memory.open.next - 1 })
  }

  private take({ connection, number, record }: Segment): void {
    const { open } = this.memory
    if (open?.connection !== connection) return this.send({ kind: 'reset', connection, number: 0 })
    if (number >= open.next + windowRecords) {
      this.drop(`record ${number} came, and no more than ${windowRecords} can follow record ${open.next - 1}`)
      return this.send({ kind: 'reset', connection, number: 0 })
    }
    if (number === open.next) {
      open.next++
      this.count(number, record!)
    }
    this.send({ kind: 'ack', connection, number: open.next - 1 })
  }

  private count(number: number, record: Buffer): void {
    this.memory.received++
    if (!record.equals(makeRecord(number))) {
      streamError(this.faults, `garbage instead of record ${this.memory.expected++}`)
      return
    }
    if (number !== this.memory.expected) streamError(this.faults, `record ${number} came instead of ${this.memory.expected}`)
    this.memory.expected = number + 1
  }

  private drop(why: string): void {
    streamError(this.faults, `the stream from the previous neighbour broke after record ${this.memory.expected - 1}: ${why}`)
    delete this.memory.open
  }
}
