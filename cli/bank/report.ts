// What a bank says of itself (images/bank.c prints it). It comes from inside a guest that may have been damaged by the very
// thing under test, so it is read with suspicion: a report that is not whole must never pass for a good one.
import { Failure } from '../../base/errors.js'

/** A channel carries the coin messages between the reporting VM and one peer; `sent` is ours, the rest is what came in. */
export interface BankChannel {
  peer: number
  sent: number
  received: number
  last: number
  missing: [number, number][]
  /** The first numbers that came twice (MAX_LISTED of bank.c); `doubledCount` is of all. */
  doubled: number[]
  doubledCount: number
  /** Received, and later sent anew by a sender that was set back to before it had sent them; listed like `doubled`. */
  orphaned: number[]
  orphanedCount: number
  early: number
}

export interface BankReport {
  index: number
  peers: string[]
  state: 'waiting' | 'running' | 'stopped'
  coins: number
  channels: BankChannel[]
  tcp: { sent: number; received: number; broken: number; errors: string[] }
  /** `onDisk` is -1 when the block cannot be read or is torn. */
  disk: { done: number; intent: number; onDisk: number; ok: boolean }
  rcvbufErrors: number
  uptimeMs: number
}

export interface NamedReport { name: string; report: BankReport }

type Fields = Record<string, unknown>

/** Reads the line `bank report` prints; a Failure names the VM and the member that is wrong. */
export function parseReport(name: string, line: string): BankReport {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new Failure('damaged', `the bank of ${name} answered something that is not JSON: ${line.slice(0, 80)}`, { cause })
  }
  const reader = new Reader(name)
  const all = reader.fields(value, 'report')
  const tcp = reader.fields(all['tcp'], 'tcp')
  const disk = reader.fields(all['disk'], 'disk')
  const report: BankReport = {
    index: reader.count(all, 'index'),
    peers: reader.list(all, 'peers').map((p) => reader.text(p, 'peers')),
    state: reader.state(all['state']),
    coins: reader.integer(all, 'coins'),
    channels: reader.list(all, 'channels').map((c) => channel(reader, c)),
    tcp: {
      sent: reader.count(tcp, 'sent'), received: reader.count(tcp, 'received'), broken: reader.count(tcp, 'broken'),
      errors: reader.list(tcp, 'errors').map((e) => reader.text(e, 'errors')),
    },
    disk: {
      done: reader.count(disk, 'done'), intent: reader.count(disk, 'intent'), onDisk: reader.integer(disk, 'onDisk'),
      ok: disk['ok'] === true,
    },
    rcvbufErrors: reader.count(all, 'rcvbufErrors'),
    uptimeMs: reader.count(all, 'uptimeMs'),
  }
  checkIndices(reader, report)
  return report
}

function channel(reader: Reader, value: unknown): BankChannel {
  const c = reader.fields(value, 'channels')
  const read = {
    peer: reader.count(c, 'peer'), sent: reader.count(c, 'sent'), received: reader.count(c, 'received'), last: reader.count(c, 'last'),
    missing: reader.list(c, 'missing').map((r) => reader.range(r)),
    doubled: reader.list(c, 'doubled').map((n) => reader.whole(n, 'doubled', 1)), doubledCount: reader.count(c, 'doubledCount'),
    orphaned: reader.list(c, 'orphaned').map((n) => reader.whole(n, 'orphaned', 1)), orphanedCount: reader.count(c, 'orphanedCount'),
    early: reader.count(c, 'early'),
  }
  if (read.doubledCount < read.doubled.length) reader.wrong('doubledCount')
  if (read.orphanedCount < read.orphaned.length) reader.wrong('orphanedCount')
  return read
}

function checkIndices(reader: Reader, report: BankReport): void {
  const others = report.peers.map((_, i) => i).filter((i) => i !== report.index)
  if (others.length === report.peers.length) reader.wrong('index')
  if (String(report.channels.map((c) => c.peer).sort((a, b) => a - b)) !== String(others)) reader.wrong('channels')
}

class Reader {
  private readonly name: string

  constructor(name: string) {
    this.name = name
  }

  wrong(member: string): never {
    throw new Failure('damaged', `the report of the bank of ${this.name} has a missing or wrong member "${member}"`)
  }

  fields(value: unknown, member: string): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) this.wrong(member)
    return value as Fields
  }

  list(from: Fields, member: string): unknown[] {
    const value = from[member]
    return Array.isArray(value) ? value as unknown[] : this.wrong(member)
  }

  text(value: unknown, member: string): string {
    return typeof value === 'string' ? value : this.wrong(member)
  }

  whole(value: unknown, member: string, least: number): number {
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= least ? value : this.wrong(member)
  }

  count(from: Fields, member: string): number {
    return this.whole(from[member], member, 0)
  }

  integer(from: Fields, member: string): number {
    return this.whole(from[member], member, Number.MIN_SAFE_INTEGER)
  }

  range(value: unknown): [number, number] {
    if (!Array.isArray(value) || value.length !== 2) this.wrong('missing')
    const [from, to] = value.map((n) => this.whole(n, 'missing', 1))
    return from! <= to! ? [from!, to!] : this.wrong('missing')
  }

  state(value: unknown): BankReport['state'] {
    return value === 'waiting' || value === 'running' || value === 'stopped' ? value : this.wrong('state')
  }
}
