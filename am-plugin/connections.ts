// The connections that are open: how many, whose, and which of them do nothing. When there are too many, in all or from one
// address, the one that has done nothing for longest is closed for the new one. So neither connections on which nothing is
// ever said, nor those on which it is said one byte at a time, can keep others out.
import type { Socket } from 'node:net'

export interface ConnectionLimits {
  connections: number
  /** Of them, from one address. */
  addressConnections: number
}

interface Connection { socket: Socket; address: string; /** Calls that are worked on. */ calls: number }

export class Connections {
  private readonly bounds: ConnectionLimits
  private readonly open = new Map<string, Connection>()
  /** Those without a call under way, the one that has had none for longest first. */
  private readonly idle = new Map<string, Connection>()
  private readonly perAddress = new Map<string, number>()

  constructor(bounds: ConnectionLimits) {
    this.bounds = bounds
  }

  get size(): number {
    return this.open.size
  }

  /** A TCP connection, before its handshake. False: it has been closed, since every other one is at work, or it has gone already. */
  add(socket: Socket): boolean {
    socket.on('error', () => undefined)
    const connection = { socket, address: addressOf(socket.remoteAddress), calls: 0 }
    const key = keyOf(socket)
    const gone = socket.remotePort === undefined // before we came to it: it has no name to be counted by
    if (gone || !this.makeRoom(connection.address)) {
      socket.destroy()
      return false
    }
    this.open.set(key, connection)
    this.idle.set(key, connection)
    this.count(connection.address, 1)
    socket.once('close', () => this.remove(key, connection))
    return true
  }

  /** A call on it has come in whole. `socket` may be the TLS socket on top of the one that was added. */
  begin(socket: Socket): void {
    const key = keyOf(socket)
    const connection = this.open.get(key)
    if (!connection) return
    connection.calls++
    this.idle.delete(key)
  }

  /** Its answer is on the way. */
  end(socket: Socket): void {
    const key = keyOf(socket)
    const connection = this.open.get(key)
    if (!connection || connection.calls === 0) return
    if (--connection.calls === 0) this.idle.set(key, connection)
  }

  closeIdle(): void {
    for (const { socket } of [...this.idle.values()]) socket.destroy()
  }

  closeAll(): void {
    for (const { socket } of [...this.open.values()]) socket.destroy()
  }

  private makeRoom(address: string): boolean {
    if ((this.perAddress.get(address) ?? 0) >= this.bounds.addressConnections) return this.closeOldest((c) => c.address === address)
    return this.open.size < this.bounds.connections || this.closeOldest(() => true)
  }

  private closeOldest(which: (connection: Connection) => boolean): boolean {
    for (const [key, connection] of this.idle) {
      if (!which(connection)) continue
      this.remove(key, connection)
      connection.socket.destroy()
      return true
    }
    return false
  }

  private remove(key: string, connection: Connection): void {
    if (this.open.get(key) !== connection) return
    this.open.delete(key)
    this.idle.delete(key)
    this.count(connection.address, -1)
  }

  private count(address: string, by: number): void {
    const now = (this.perAddress.get(address) ?? 0) + by
    if (now > 0) this.perAddress.set(address, now)
    else this.perAddress.delete(address)
  }
}

/** The same for a TLS socket and the TCP socket below it; two open connections never share it. A closed socket forgets its own. */
function keyOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''} ${socket.remotePort ?? ''}`
}

/** Whom an address stands for: of IPv6 the first half, since everybody has all of the second. */
export function addressOf(remote: string | undefined): string {
  const address = (remote ?? '').replace(/^::ffff:(?=\d+\.)/i, '')
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('%', 1)[0]!.split('::')
  const groups = head === '' ? [] : head.split(':')
  const missing = tail === undefined ? 0 : Math.max(0, 8 - groups.length - (tail === '' ? 0 : tail.split(':').length))
  const whole = [...groups, ...Array<string>(missing).fill('0'), ...(tail ? tail.split(':') : [])]
  return `${whole.slice(0, 4).join(':')}::/64`
}
