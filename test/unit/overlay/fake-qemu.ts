// What QEMU's `-netdev stream,server=on` does, without a VM: serves a socket, takes and gives frames behind their length.
import assert from 'node:assert/strict'
import { createServer, type Server, type Socket } from 'node:net'
import { realClock, until } from '../../../base/time.js'

export function framed(...frames: Buffer[]): Buffer {
  return Buffer.concat(frames.flatMap((frame) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(frame.length)
    return [length, frame]
  }))
}

export class FakeQemu {
  readonly got: Buffer[] = []
  readonly path: string
  socket: Socket | undefined
  connections = 0
  private server: Server | undefined
  private rest = Buffer.alloc(0)

  constructor(path: string) { this.path = path }

  listen(): Promise<void> {
    this.server = createServer((socket) => {
      this.socket = socket
      this.connections++
      this.rest = Buffer.alloc(0)
      socket.on('error', () => undefined)
      socket.on('data', (data: Buffer) => this.read(data))
    })
    return new Promise((done) => this.server!.listen(this.path, done))
  }

  write(bytes: Buffer): Promise<void> {
    return new Promise((done) => this.socket!.write(bytes, () => done()))
  }

  /** Ends as a killed QEMU does: connection and socket are gone. */
  async die(): Promise<void> {
    this.socket?.destroy()
    this.socket = undefined
    await new Promise<void>((done) => this.server ? this.server.close(() => done()) : done())
    this.server = undefined
  }

  get texts(): string[] { return this.got.map((b) => b.toString('latin1', 14)) }

  private read(data: Buffer): void {
    this.rest = Buffer.concat([this.rest, data])
    while (this.rest.length >= 4 && this.rest.length >= 4 + this.rest.readUInt32BE()) {
      const end = 4 + this.rest.readUInt32BE()
      this.got.push(Buffer.from(this.rest.subarray(4, end)))
      this.rest = this.rest.subarray(end)
    }
  }
}

/** Waits until it is so; fails with the rule that was not kept. */
export async function soon(rule: string, is: () => boolean | Promise<boolean>): Promise<void> {
  assert.ok(await until(realClock, 30_000, 1, async () => (await is() ? true : undefined)), rule)
}
