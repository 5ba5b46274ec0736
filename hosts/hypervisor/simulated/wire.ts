// The sockets of a simulated VM's devices: as QEMU's `-netdev stream,server=on`, each frame behind a 32-bit length, one
// peer at a time.
import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { maxFrameBytes } from '../../../overlay/frame.js'

export interface WireEvents {
  /** False: deliver no more until `resume`. */
  onFrame(frame: Buffer): boolean
}

export class Wire {
  private readonly server: Server
  private readonly events: WireEvents
  private peer: Socket | undefined
  private partial: Buffer = Buffer.alloc(0)

  constructor(events: WireEvents) {
    this.events = events
    this.server = createServer((socket) => this.accept(socket))
  }

  async listen(path: string): Promise<void> {
    rmSync(path, { force: true })
    await new Promise<void>((resolve, reject) => this.server.once('error', reject).listen(path, () => resolve()))
  }

  /** Without a peer a frame is lost, as on a cable that is not plugged in. */
  send(frame: Buffer): void {
    if (!this.peer) return
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32BE(frame.length)
    this.peer.cork()
    this.peer.write(length)
    this.peer.write(frame)
    this.peer.uncork()
  }

  /** Has the kernel taken everything that was sent? Only then can the peer read it all. */
  get isFlushed(): boolean { return (this.peer?.writableLength ?? 0) === 0 }

  resume(): void {
    const { peer } = this
    if (!peer?.isPaused()) return
    if (this.deliver()) peer.resume()
  }

  private accept(socket: Socket): void {
    this.peer?.destroy()
    this.peer = socket
    this.partial = Buffer.alloc(0)
    socket.on('error', () => undefined) // 'close' follows
    socket.on('close', () => { if (this.peer === socket) this.peer = undefined })
    socket.on('data', (chunk: Buffer) => {
      this.partial = this.partial.length > 0 ? Buffer.concat([this.partial, chunk]) : chunk
      if (!this.deliver()) socket.pause()
    })
  }

  /** Hands over what is whole; false when told to wait. */
  private deliver(): boolean {
    let at = 0
    let more = true
    while (more && this.partial.length - at >= 4) {
      const length = this.partial.readUInt32BE(at)
      if (length > maxFrameBytes) {
        this.peer?.destroy()
        return false
      }
      if (this.partial.length - at - 4 < length) break
      more = this.events.onFrame(Buffer.from(this.partial.subarray(at + 4, at + 4 + length)))
      at += 4 + length
    }
    this.partial = this.partial.subarray(at)
    return more
  }
}
