// A network device as QEMU has it: a socket to the switch, up to 68 KiB that were read at once and wait, and the guest's ring, of
// which each entry that was used is counted. `stop` throws away what waits (docs/cut-protocol.md, "What QEMU does").
import type { Peer, SimSocket } from './modules/net.js'
import { coinOf } from './guest.js'
import type { Life } from './ledger.js'
import { world, type Proc } from './world.js'

const readBytes = 68 * 1024
const socketBytes = 200 * 1024
export const ringEntries = 6

export interface NicImage { ring: string[]; usedRx: number; usedTx: number; vring: string }

export class Nic implements Peer {
  usedRx: number
  usedTx: number
  vring: string
  /** The driver of the guest is there. */
  up = false
  ring: Buffer[]
  socket: SimSocket | undefined
  /** Connected to a switch that has once been there before. */
  private connections = 0
  private arriving: Buffer[] = []
  private waiting: Buffer[] = []
  private partial = Buffer.alloc(0)
  private leaving: Buffer[] = []
  private reading = false
  private writing = false
  private readonly owner: Proc
  private readonly life: Life
  private readonly me: string
  /** Is the VM running? */
  private readonly runs: () => boolean
  /** Its guest takes nothing: QEMU reads no more than once, and what comes then waits in the socket. */
  private readonly isStuck: () => boolean
  private readonly onRing: () => void
  private readonly onAttach: (again: boolean) => void
  /** ms until QEMU reads, longer where it is a slow one. */
  private readonly lag: () => number

  constructor(at: {
    owner: Proc; life: Life; me: string; runs: () => boolean; isStuck: () => boolean; onRing: () => void; onAttach: (again: boolean) => void; lag: () => number
  }, image?: NicImage) {
    this.owner = at.owner
    this.life = at.life
    this.me = at.me
    this.runs = at.runs
    this.isStuck = at.isStuck
    this.onRing = at.onRing
    this.onAttach = at.onAttach
    this.lag = at.lag
    this.usedRx = image?.usedRx ?? 0
    this.usedTx = image?.usedTx ?? 0
    this.vring = image?.vring ?? `v${world().dice.int(1e6)}`
    this.ring = (image?.ring ?? []).map((text) => Buffer.from(text, 'base64'))
    this.up = image !== undefined
  }

  image(): NicImage {
    return { ring: this.ring.map((b) => b.toString('base64')), usedRx: this.usedRx, usedTx: this.usedTx, vring: this.vring }
  }

  /** The guest sends. False: no cable, so the device counts it as sent and drops it. */
  send(frame: Buffer): boolean {
    this.usedTx = (this.usedTx + 1) % 65_536
    if (!this.socket) return false
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32BE(frame.length)
    this.leaving.push(Buffer.concat([length, frame]))
    this.flush()
    return true
  }

  attach(socket: SimSocket): void {
    this.socket?.hangUp()
    this.socket = socket
    this.onAttach(this.connections++ > 0)
  }

  detach(socket: SimSocket): void {
    if (this.socket !== socket) return
    this.socket = undefined
    this.writing = false
    this.leaving = []
    this.arriving = []
    this.partial = Buffer.alloc(0)
  }

  take(_socket: SimSocket, bytes: Buffer): void {
    this.arriving.push(bytes)
    this.read()
  }

  unread(): number { return this.leaving.reduce((n, b) => n + b.length, 0) }
  isReadByPeer(): boolean { return this.arriving.length === 0 }
  queued(): number { return Math.max(0, this.arriving.reduce((n, b) => n + b.length, 0) - socketBytes) }

  /** The guest takes what is in its ring. */
  taken(count: number): Buffer[] {
    const frames = this.ring.splice(0, count)
    this.fill()
    return frames
  }

  /** The VM stops: what waits is lost to it. `covered`: the switch can know of it and must put it back. */
  purge(covered: boolean): void {
    for (const frame of this.waiting) {
      const coin = coinOf(frame)
      if (coin.to !== this.me) continue
      if (covered) this.life.purged.set(`${coin.from} ${coin.seq}`, world().now)
      else this.life.destroy(coin.from, coin.seq, world().now)
    }
    if (!covered && this.waiting.length > 0) this.life.uncoveredAt = world().now
    if (this.waiting.length > 0) world().probe(covered ? 'stop threw frames away, to be put back' : 'stop threw frames away, not covered')
    this.waiting = []
    if (!this.isStuck()) return
    for (const frame of framesOf(Buffer.concat([this.partial, ...this.arriving])).frames) { // an image of now has them nowhere
      const coin = coinOf(frame)
      if (coin.to === this.me) this.life.destroy(coin.from, coin.seq, world().now)
    }
  }

  /** The guest's driver begins anew: new rings, and what waits is gone. */
  reset(): void {
    this.vring = `v${world().dice.int(1e6)}`
    this.usedRx = 0
    this.usedTx = 0
  }

  resumed(): void { this.fill() }
  hangUp(): void { this.socket?.hangUp() }

  private read(): void {
    if (this.reading || this.arriving.length === 0) return
    this.reading = true
    world().after(this.lag(), this.owner, () => {
      this.reading = false
      if ((!this.runs() || this.isStuck()) && this.waiting.length > 0) return // a stopped VM takes one read, and no more before it runs
      const full = this.queued() > 0
      const all = Buffer.concat([this.partial, ...this.arriving])
      const now = all.subarray(0, readBytes)
      this.arriving = all.length > readBytes ? [Buffer.from(all.subarray(readBytes))] : []
      const { frames, rest } = framesOf(now)
      for (const frame of frames) this.arrived(frame)
      this.partial = rest
      this.fill()
      if (full && this.queued() === 0) this.drained()
      if (this.arriving.length > 0) this.read()
    })
  }

  private drained(): void {
    const { socket } = this
    if (socket) world().after(0.02, socket.owner, () => socket.emit('drain'))
  }

  private arrived(frame: Buffer): void {
    const coin = coinOf(frame)
    if (coin.to === this.me) {
      this.life.purged.delete(`${coin.from} ${coin.seq}`)
      this.life.seen.set(coin.from, Math.max(this.life.seen.get(coin.from) ?? 0, coin.seq))
    }
    this.waiting.push(frame)
  }

  private fill(): void {
    if (!this.runs()) return
    if (!this.up) {
      for (const frame of this.waiting.splice(0)) {
        const coin = coinOf(frame)
        if (coin.to === this.me) this.life.destroy(coin.from, coin.seq, world().now)
      }
      return
    }
    let filled = false
    while (this.ring.length < ringEntries && this.waiting.length > 0) {
      this.ring.push(this.waiting.shift()!)
      this.usedRx = (this.usedRx + 1) % 65_536
      filled = true
    }
    if (filled) this.onRing()
    this.read()
  }

  /** The switch reads: in pieces that keep to no border of a frame. */
  private flush(): void {
    const { socket } = this
    if (this.writing || !socket) return
    this.writing = true
    const lag = world().dice.chance(0.15) ? world().dice.between(0.3, 6) : world().dice.between(0.01, 0.3)
    world().after(lag, socket.owner, () => {
      this.writing = false
      if (this.socket !== socket || this.leaving.length === 0) return
      const all = Buffer.concat(this.leaving)
      const piece = world().dice.chance(0.1) ? 1 + world().dice.int(all.length) : all.length
      const taken = socket.receive(all.subarray(0, piece))
      this.leaving = taken < all.length ? [Buffer.from(all.subarray(taken))] : []
      if (this.leaving.length > 0) this.flush()
    })
  }
}

/** Each behind its length; `rest` is the begin of one that has not come yet. */
function framesOf(bytes: Buffer) {
  const frames: Buffer[] = []
  let at = 0
  while (bytes.length - at >= 4 && bytes.length - at - 4 >= bytes.readUInt32BE(at)) {
    const end = at + 4 + bytes.readUInt32BE(at)
    frames.push(Buffer.from(bytes.subarray(at + 4, end)))
    at = end
  }
  return { frames, rest: Buffer.from(bytes.subarray(at)) }
}
