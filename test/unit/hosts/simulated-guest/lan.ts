// A LAN of simulated guests under a clock that the test moves: frames need 1 ms, and a test may lose, double or delay them.
// A snapshot of it is what the real system saves: memories, disks, guest clocks and the frames in flight.
import assert from 'node:assert/strict'
import { checkBank, type BankCheck } from '../../../../cli/bank/check.js'
import { parseReport, type NamedReport } from '../../../../cli/bank/report.js'
import { decodeFrame } from '../../../../hosts/hypervisor/simulated/guest/ethernet.js'
import { Guest, type GuestMemory } from '../../../../hosts/hypervisor/simulated/guest/guest.js'
import { decodeUdp } from '../../../../hosts/hypervisor/simulated/guest/udp.js'
import type { VmSpec } from '../../../../slices/vm-spec.js'

export interface Flight { from: number; to: number; frame: Buffer; at: number }
export interface Snapshot { memories: string[]; disks: (Buffer | undefined)[]; times: number[]; flights: Flight[]; at: number }
export interface Sent { from: number; port: number; kind: number; number: number; to: string }

interface Node { guest: Guest; disk: Buffer | undefined; behind: number }

export const names = ['a', 'b', 'c', 'd']
export const macOf = (i: number) => `02:00:00:00:00:0${i + 1}`
export const ipOf = (i: number) => `10.10.1.${i + 1}`

export function specOf(i: number, count: number, execute = ['bank start']): VmSpec {
  const neighbours = names.slice(0, count).map((name, n) => ({ name, ip: ipOf(n) }))
  return {
    vm: `vm-${i}`, slice: 'slice', clientId: names[i]!, memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'violin', loginPort: 0, logins: [],
    nics: [{ port: i + 1, name: `${names[i]}:if0`, lan: 'lan', mac: macOf(i), ip: ipOf(i), prefixLength: 24 }],
    neighbours: [...neighbours, { name: 'elsewhere', ip: '10.10.2.1' }],
    execute: execute.map((command) => ({ shell: 'sh', command })),
  }
}

/** What a frame of the bank is; undefined when it is ARP. Coins have their number behind the two addresses. */
export function sentIn(frame: Buffer): Sent | undefined {
  const datagram = decodeUdp(decodeFrame(frame)!.payload)
  if (!datagram) return undefined
  const { toPort: port, payload, to, from } = datagram
  return { from: Number(from.split('.')[3]) - 1, port, kind: payload.readUInt32BE(4), number: payload.readUInt32BE(port === 7001 ? 16 : 12), to }
}

export class Lan {
  now = 0
  readonly nodes: Node[] = []
  flights: Flight[] = []
  /** How many copies of this frame arrive: 1 unless a test says otherwise. */
  copies: (sent: Sent | undefined, flight: Flight) => number = () => 1
  private readonly count: number

  constructor(count: number) {
    this.count = count
    for (let i = 0; i < count; i++) this.place(i, undefined, undefined, 0)
  }

  run(ms: number): void {
    for (const end = this.now + ms; this.now < end;) {
      this.now++
      const arrived = this.flights.filter((f) => f.at <= this.now)
      this.flights = this.flights.filter((f) => f.at > this.now)
      for (const { to, frame } of arrived) this.nodes[to]!.guest.receive(0, frame)
      for (const [i, { guest }] of this.nodes.entries()) if (guest.nextDue() <= this.timeOf(i)) guest.tick()
    }
  }

  snapshot(): Snapshot {
    return {
      memories: this.nodes.map(({ guest }) => JSON.stringify(guest.memory())), disks: this.nodes.map((n) => n.disk),
      times: this.nodes.map((_, i) => this.timeOf(i)), flights: [...this.flights], at: this.now,
    }
  }

  /** Puts back everything: memories, disks, clocks, frames. */
  restore(s: Snapshot): void {
    for (const i of this.nodes.keys()) this.restoreOne(i, s)
    this.flights = s.flights.map((f) => ({ ...f, at: this.now + f.at - s.at }))
  }

  /** Puts back one VM; `late` moves its clock on by so much, as no two lives of a VM do the same at the same nanosecond. */
  restoreOne(i: number, s: Snapshot, late = 0): void {
    this.place(i, s.disks[i], JSON.parse(s.memories[i]!) as GuestMemory, this.now - s.times[i]! - late)
  }

  command(i: number, line: string): string {
    const { code, out, err } = this.nodes[i]!.guest.command(line)
    assert.equal(code, 0, err)
    return out
  }

  everywhere(line: string): void {
    for (const i of this.nodes.keys()) this.command(i, line)
  }

  reports(): NamedReport[] {
    return this.nodes.map((_, i) => ({ name: names[i]!, report: parseReport(names[i]!, this.command(i, 'bank report')) }))
  }

  /** Stops all banks, lets what is in flight arrive, and judges. */
  judge(): BankCheck {
    this.everywhere('bank stop')
    this.run(5_000)
    return checkBank(this.reports())
  }

  private timeOf(i: number): number {
    return this.now - this.nodes[i]!.behind
  }

  private place(i: number, disk: Buffer | undefined, memory: GuestMemory | undefined, behind: number): void {
    const node: Partial<Node> = { disk, behind }
    const world = {
      now: () => this.now - node.behind!,
      transmit: (_nic: number, frame: Buffer) => this.transmit(i, frame),
      readDisk: () => node.disk,
      writeDisk: (block: Buffer) => { node.disk = Buffer.from(block) },
    }
    node.guest = new Guest(specOf(i, this.count), world, memory)
    this.nodes[i] = node as Node
  }

  private transmit(from: number, frame: Buffer): void {
    const sent = sentIn(frame)
    for (const to of this.nodes.keys()) {
      if (to === from) continue
      const flight = { from, to, frame, at: this.now + 1 }
      for (let n = this.copies(sent, flight); n > 0; n--) this.flights.push(flight)
    }
  }
}
