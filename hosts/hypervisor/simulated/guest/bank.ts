// The bank of a simulated guest: what images/bank.c is to a real one. It joins coins, stream and disk counter, and prints the
// same report, so that one check judges real and simulated slices alike.
import type { VmSpec } from '../../../../slices/vm-spec.js'
import { coinPort, Coins, freshCoins, type CoinsMemory } from './coins.js'
import { DiskCounter, freshDisk, type Disk, type DiskMemory } from './disk-counter.js'
import { ipNumber, sameNetwork } from './ethernet.js'
import type { Network } from './network.js'
import { freshIn, StreamIn, type InMemory } from './stream-in.js'
import { freshOut, StreamOut, type OutMemory } from './stream-out.js'
import { decodeSegment, encodeSegment, streamPort, type Segment, type StreamFaults } from './stream-wire.js'
import type { Datagram } from './udp.js'

export interface BankMemory {
  peers: string[]
  self: number
  started: number
  stopped: boolean
  coins: CoinsMemory
  out: OutMemory
  in: InMemory
  faults: StreamFaults
  disk: DiskMemory
}

/** What the bank needs of its guest. */
export interface BankWorld extends Disk {
  now(): number
  network: Network
}

/** The addresses of all nodes in the network of our first NIC, in the order that all nodes agree on (images/init). */
export function peersOf(spec: VmSpec): string[] {
  const first = spec.nics[0]
  if (!first) return []
  const near = spec.neighbours.map((n) => n.ip).filter((ip) => sameNetwork(ip, first.ip, first.prefixLength))
  return [...new Set(near)].sort((a, b) => ipNumber(a) - ipNumber(b))
}

/** A bank that starts now; undefined when none of the peers is this VM. */
export function freshBank(spec: VmSpec, now: number): BankMemory | undefined {
  const peers = peersOf(spec)
  const self = peers.findIndex((ip) => spec.nics.some((nic) => nic.ip === ip))
  if (self < 0) return undefined
  return {
    peers, self, started: now, stopped: false, coins: freshCoins(peers.length, now), out: freshOut(now), in: freshIn(),
    faults: { broken: 0, errors: [] }, disk: freshDisk(now),
  }
}

export class Bank {
  private readonly memory: BankMemory
  private readonly world: BankWorld
  private readonly coins: Coins
  private readonly out: StreamOut
  private readonly in: StreamIn
  private readonly disk: DiskCounter

  constructor(memory: BankMemory, world: BankWorld) {
    this.memory = memory
    this.world = world
    this.coins = new Coins(memory.coins, {
      self: memory.self, now: () => world.now(), send: (peer, payload) => this.send(peer, coinPort, payload),
    })
    this.out = new StreamOut(memory.out, memory.faults, (segment) => this.sendSegment(this.next, segment))
    this.in = new StreamIn(memory.in, memory.faults, (segment) => this.sendSegment(this.previous, segment))
    this.disk = new DiskCounter(memory.disk, world)
  }

  /** Writes the first counter; an exception of the disk passes, and the bank is not to be used. */
  begin(): void {
    this.disk.begin()
  }

  receive(datagram: Datagram): void {
    const peer = this.memory.peers.indexOf(datagram.from)
    if (peer < 0 || peer === this.memory.self) return
    if (datagram.toPort === streamPort) this.receiveSegment(peer, datagram.payload)
    else if (datagram.toPort === coinPort && this.coins.receive(peer, datagram.payload)) this.startPacing()
  }

  tick(): void {
    const now = this.world.now()
    this.out.tick(now)
    if (!this.coins.everyoneAnswered) this.coins.sendHellos(now)
    if (!this.running) return
    this.coins.sendCoins(now)
    if (this.memory.peers.length > 1) this.out.sendRecords(now)
    this.disk.write(now)
  }

  nextDue(): number {
    const alone = this.memory.peers.length < 2
    const network = Math.min(this.coins.nextDue(this.memory.stopped), this.out.nextDue(this.running && !alone))
    return this.running ? Math.min(network, this.disk.nextDue()) : network
  }

  stop(): void {
    this.memory.stopped = true
  }

  go(): void {
    if (this.memory.stopped) this.startPacing()
    this.memory.stopped = false
  }

  /** One line of JSON, as `bank report` prints it. */
  report(): string {
    const { memory } = this
    const waiting = this.coins.everyoneAnswered ? 'running' : 'waiting'
    return JSON.stringify({
      index: memory.self, peers: memory.peers, state: memory.stopped ? 'stopped' : waiting, coins: memory.coins.coins,
      channels: this.coins.channels(),
      tcp: { sent: memory.out.sent, received: memory.in.received, broken: memory.faults.broken, errors: memory.faults.errors },
      disk: this.disk.report(), rcvbufErrors: 0, uptimeMs: Math.floor(this.world.now() - memory.started),
    })
  }

  private get running(): boolean {
    return this.coins.everyoneAnswered && !this.memory.stopped
  }

  private get next(): number {
    return (this.memory.self + 1) % this.memory.peers.length
  }

  private get previous(): number {
    return (this.memory.self + this.memory.peers.length - 1) % this.memory.peers.length
  }

  private startPacing(): void {
    const now = this.world.now()
    this.coins.startPacing(now)
    this.out.startPacing(now)
    this.disk.startPacing(now)
  }

  /** Between two VMs both streams join the same pair, and the kind of a segment tells whose it is. */
  private receiveSegment(peer: number, payload: Buffer): void {
    const segment = decodeSegment(payload)
    if (!segment) return
    const toReceiver = segment.kind === 'open' || segment.kind === 'data'
    if (toReceiver && peer === this.previous) this.in.receive(segment)
    if (!toReceiver && peer === this.next) this.out.receive(segment, this.world.now())
  }

  private sendSegment(peer: number, segment: Segment): void {
    this.send(peer, streamPort, encodeSegment(segment)) // one that could not be sent is sent again like one that was lost
  }

  private send(peer: number, port: number, payload: Buffer): boolean {
    const { peers, self } = this.memory
    return this.world.network.send({ from: peers[self]!, to: peers[peer]!, fromPort: port, toPort: port, payload })
  }
}
