// The switch's end of one VM interface: QEMU's `-netdev stream,server=on` unix socket, each frame behind a 32-bit
// length. Always reads promptly (a blocked QEMU loses a frame at `stop`) and connects again when QEMU is there again.
import { connect, type Socket } from 'node:net'
import { maxFrameBytes } from './frame.js'
import { descriptor, isReadByPeer, unreadBytes } from './socket-queues.js'

export interface VmLinkEvents {
  onFrame(bytes: Buffer): void
  /** Everything handed over was taken by the kernel; more may be sent. Also after connecting. */
  onReady(): void
}

const reconnectMs = 50
const batchBytes = 65_536

/** What a port needs of the VM behind it; tests supply their own. */
export interface PortLink {
  readonly connected: boolean
  readonly ready: boolean
  send(bytes: Buffer): void
  /** Has the VM's side read everything that was sent? */
  drained(): boolean
  /** Has everything that the VM sent been turned into frames? */
  emptied(): boolean
  close(): void
}

export class VmLink implements PortLink {
  private socket: Socket | undefined
  connected = false
  private closed = false
  private partial: Buffer = Buffer.alloc(0)
  private out: Buffer[] = []
  private outBytes = 0
  private timer: NodeJS.Timeout | undefined
  private readonly path: string
  private readonly events: VmLinkEvents

  constructor(path: string, events: VmLinkEvents) {
    this.path = path
    this.events = events
    this.open()
  }

  get ready(): boolean {
    return this.connected && this.outBytes < batchBytes && this.socket!.writableLength === 0
  }

  send(bytes: Buffer): void {
    if (this.out.length === 0) queueMicrotask(() => this.flush())
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32BE(bytes.length)
    this.out.push(length, bytes)
    this.outBytes += bytes.length + 4
    if (this.outBytes >= batchBytes) this.flush()
  }

  drained(): boolean {
    if (!this.connected) return true // nobody is there to have it half read
    this.flush()
    return this.socket!.writableLength === 0 && isReadByPeer(descriptor(this.socket!))
  }

  emptied(): boolean {
    if (!this.connected) return true
    return this.partial.length === 0 && unreadBytes(descriptor(this.socket!)) === 0
  }

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
    this.socket?.destroy()
  }

  private flush(): void {
    if (this.out.length === 0) return
    const batch = Buffer.concat(this.out)
    this.out = []
    this.outBytes = 0
    if (this.connected) this.socket!.write(batch)
  }

  private open(): void {
    const socket = connect({
      path: this.path,
      onread: { buffer: Buffer.allocUnsafe(batchBytes), callback: (count, buffer) => this.read(buffer, count) },
    })
    this.socket = socket
    socket.on('connect', () => {
      this.connected = true
      this.partial = Buffer.alloc(0)
      this.events.onReady()
    })
    socket.on('drain', () => this.events.onReady())
    socket.on('error', () => undefined) // 'close' follows and does the work
    socket.on('close', () => {
      this.connected = false
      this.out = []
      this.outBytes = 0
      if (!this.closed) this.timer = setTimeout(() => this.open(), reconnectMs)
    })
  }

  private read(buffer: Uint8Array, count: number): boolean {
    const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, count)
    const data = this.partial.length > 0 ? Buffer.concat([this.partial, chunk]) : chunk
    let at = 0
    while (data.length - at >= 4) {
      const length = data.readUInt32BE(at)
      if (length > maxFrameBytes) { // not QEMU's framing: what follows cannot be trusted
        this.socket!.destroy()
        return false
      }
      if (data.length - at - 4 < length) break
      this.events.onFrame(Buffer.from(data.subarray(at + 4, at + 4 + length)))
      at += 4 + length
    }
    this.partial = Buffer.from(data.subarray(at))
    return true
  }
}
