// Sockets of the product that are no RPC: the switch's end of a network device, and a look at a login port.
import { world, type Proc } from '../world.js'

/** The other end of a connection: a device of a VM, or its login. */
export interface Peer {
  /** The far side has something to say to whoever connects; undefined: a device, which speaks when it is spoken to. */
  attach(socket: SimSocket): void
  detach(socket: SimSocket): void
  take(socket: SimSocket, bytes: Buffer): void
  unread(): number
  isReadByPeer(): boolean
  queued(): number
}

/** Who listens where: paths of devices, and `HOST:PORT` of logins. */
export const listening = new Map<string, Peer>()

let count = 0

type Where = { path?: string; port?: number; onread?: { buffer: Buffer; callback: (count: number, buffer: Buffer) => boolean } }

export class SimSocket {
  readonly fd = ++count
  readonly owner: Proc
  destroyed = false
  peer: Peer | undefined
  private readonly where: Where
  private readonly listeners = new Map<string, ((...args: unknown[]) => void)[]>()
  private late: { off: boolean } | undefined

  constructor(where: Where, owner: Proc) {
    this.where = where
    this.owner = owner
    world().after(0.1, owner, () => this.open())
    owner.onDeath.push(() => this.end())
  }

  get writableLength(): number { return this.peer?.queued() ?? 0 }
  on(event: string, listener: (...args: never[]) => void): this {
    this.listeners.set(event, [...this.listeners.get(event) ?? [], listener as (...args: unknown[]) => void])
    return this
  }
  once(event: string, listener: (...args: never[]) => void): this { return this.on(event, listener) }

  setTimeout(ms: number, act: () => void): this {
    this.late = world().timer(act, ms, false)
    return this
  }

  write(bytes: Buffer): boolean {
    if (this.peer && world().step(this.owner)) this.peer.take(this, bytes)
    return true
  }

  unread(): number { return this.peer?.unread() ?? 0 }
  isReadByPeer(): boolean { return this.peer?.isReadByPeer() ?? true }

  /** By its owner. */
  destroy(): void {
    if (this.destroyed) return
    this.end()
    world().after(0.01, this.owner, () => this.emit('close'))
  }

  /** By the far side. */
  hangUp(): void {
    if (this.destroyed) return
    this.end()
    world().after(0.05, this.owner, () => this.emit('close'))
  }

  /** What the far side has sent, at most as much as the reader has room for; returns how much was taken. */
  receive(bytes: Buffer): number {
    const { onread } = this.where
    if (!onread) {
      this.emit('data', bytes)
      return bytes.length
    }
    const taken = bytes.copy(onread.buffer, 0)
    onread.callback(taken, onread.buffer)
    return taken
  }

  emit(event: string, ...args: unknown[]): void {
    if (!this.owner.alive) return
    for (const listener of this.listeners.get(event) ?? []) listener(...args)
  }

  private open(): void {
    if (this.destroyed) return
    const peer = listening.get(this.where.path ?? `${this.owner.host.name}:${this.where.port}`)
    if (!peer) {
      this.end()
      this.emit('error', Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
      world().after(0.01, this.owner, () => this.emit('close'))
      return
    }
    this.peer = peer
    peer.attach(this)
    this.emit('connect')
  }

  private end(): void {
    this.destroyed = true
    if (this.late) this.late.off = true
    const { peer } = this
    this.peer = undefined
    peer?.detach(this)
  }
}

export function connect(where: Where): SimSocket {
  return new SimSocket(where, world().self())
}
