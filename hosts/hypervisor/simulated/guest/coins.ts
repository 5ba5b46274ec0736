// The coins of a simulated bank: numbered messages between all VMs, sent once and never again, so that a message that a
// snapshot lost, doubled or invented stays lost, doubled or invented and can be named (images/bank.c, "Coins").
import { due, type Pace } from './pace.js'
import { addNumber, countNumber, freshTally, noNumbers, type Numbers, type Tally } from './tally.js'

export const coinPort = 7001

export interface CoinsMemory {
  coins: number
  /** The peer whose turn it was last. */
  turn: number
  coin: Pace
  hello: Pace
  /** One for each peer, in their order; our own is not used. */
  peers: CoinPeer[]
}

interface CoinPeer {
  acked: boolean
  sent: number
  in: Tally
  orphaned: Numbers
  /** Number and send time of the last coins that came from it, by number modulo the bound: [number, time, number, time, ...]. */
  history: number[]
}

/** What the coins need of the bank around them. */
export interface CoinsContext {
  self: number
  now(): number
  /** False: it was not sent. */
  send(peer: number, payload: Buffer): boolean
}

const kinds = { hello: 1, helloAck: 2, coin: 3 } as const
const magic = 0x42414e4b
const messageBytes = 32
const coinsAtStart = 1_000_000
const coinEveryMs = 1000 / 320
const helloEveryMs = 200
const historyBound = 1024
const nsPerMs = 1e6
const high = 0x1_0000_0000

/** The coins of a bank that starts now. */
export const freshCoins = (peers: number, now: number): CoinsMemory => ({
  coins: coinsAtStart, turn: 0, coin: { interval: coinEveryMs, next: now }, hello: { interval: helloEveryMs, next: now },
  peers: Array.from({ length: peers }, () => ({ acked: false, sent: 0, in: freshTally(), orphaned: noNumbers(), history: [] })),
})

export class Coins {
  private readonly memory: CoinsMemory
  private readonly context: CoinsContext

  constructor(memory: CoinsMemory, context: CoinsContext) {
    this.memory = memory
    this.context = context
  }

  get everyoneAnswered(): boolean {
    return this.memory.peers.every((peer, i) => i === this.context.self || peer.acked)
  }

  startPacing(now: number): void {
    this.memory.coin.next = now
  }

  sendHellos(now: number): void {
    if (due(this.memory.hello, now) === 0) return
    for (const [i, peer] of this.memory.peers.entries()) if (i !== this.context.self && !peer.acked) this.send(i, kinds.hello, 0)
  }

  sendCoins(now: number): void {
    const { memory, context } = this
    const count = memory.peers.length
    for (let n = due(memory.coin, now); n > 0 && count > 1; n--) {
      memory.turn = (memory.turn + 1) % count
      if (memory.turn === context.self) memory.turn = (memory.turn + 1) % count
      const peer = memory.peers[memory.turn]!
      // Counted before it is sent, so that memory read while the frame leaves already knows of it.
      peer.sent++
      memory.coins--
      if (this.send(memory.turn, kinds.coin, peer.sent)) continue
      peer.sent-- // not sent: the number is used next time
      memory.coins++
    }
  }

  /** True when it was the last answer that was waited for. */
  receive(peer: number, payload: Buffer): boolean {
    const from = this.memory.peers[peer]
    if (!from || payload.length !== messageBytes || payload.readUInt32BE(0) !== magic) return false
    if (payload.readUInt32BE(8) !== peer || payload.readUInt32BE(12) !== this.context.self) return false
    const kind = payload.readUInt32BE(4)
    if (kind === kinds.hello) this.send(peer, kinds.helloAck, 0)
    if (kind === kinds.coin) this.receiveCoin(from, payload)
    if (kind !== kinds.helloAck || from.acked) return false
    from.acked = true
    return this.everyoneAnswered
  }

  nextDue(stopped: boolean): number {
    if (!this.everyoneAnswered) return this.memory.hello.next
    return stopped || this.memory.peers.length < 2 ? Infinity : this.memory.coin.next
  }

  /** The channels of the report. */
  channels(): unknown[] {
    const all = this.memory.peers.map((peer, i) => ({
      peer: i, sent: peer.sent, received: peer.in.received, last: peer.in.last, missing: peer.in.missing.toSorted((a, b) => a[0] - b[0]),
      doubled: peer.in.doubled.list, doubledCount: peer.in.doubled.count, orphaned: peer.orphaned.list, orphanedCount: peer.orphaned.count,
      early: peer.in.early,
    }))
    return all.filter((channel) => channel.peer !== this.context.self)
  }

  // A number that comes again with another send time is no copy: the sender was set back to before it had sent it, and
  // sends it anew. So what we have of it comes from a future that its sender does not know: an orphan.
  private receiveCoin(from: CoinPeer, payload: Buffer): void {
    const number = payload.readUInt32BE(16)
    if (number === 0) return // coins are numbered from 1: this was sent by no bank
    const time = payload.readUInt32BE(24) * high + payload.readUInt32BE(28)
    const at = 2 * (number % historyBound)
    if (from.history[at] === number && from.history[at + 1] !== time) addNumber(from.orphaned, number)
    else if (countNumber(from.in, number)) this.memory.coins += payload.readUInt32BE(20)
    else return
    while (from.history.length < at) from.history.push(0) // a hole would come back from JSON as null
    from.history[at] = number
    from.history[at + 1] = time
  }

  private send(peer: number, kind: number, number: number): boolean {
    const message = Buffer.alloc(messageBytes)
    const time = Math.round(this.context.now() * nsPerMs)
    const words = [magic, kind, this.context.self, peer, number, kind === kinds.coin ? 1 : 0, Math.floor(time / high), time % high]
    for (const [i, word] of words.entries()) message.writeUInt32BE(word, 4 * i)
    return this.context.send(peer, message)
  }
}
