// As little of a client as can be, on a bare TLS connection: bodies are made beforehand and answers only looked at, so that what is
// measured is the server, whichever it is. (Node's own HTTPS client takes twice the time that our server does.)
import { performance } from 'node:perf_hooks'
import { connect, type TLSSocket } from 'node:tls'
import { distribution, type Distribution } from '../distribution.js'

export interface Server { port: number; path: string }
export interface Identity { key: string; cert: string }
export interface Rate { perSecond: number; ms: Distribution }

const silentMs = 60_000

/** One connection, opened when there is none and kept for as long as the server keeps it, or for one call. */
export class Line {
  private readonly identity: Identity
  private readonly keepAlive: boolean
  private socket: TLSSocket | undefined

  constructor(identity: Identity, keepAlive = true) {
    this.identity = identity
    this.keepAlive = keepAlive
  }

  /** One answer; fails when it is no success, or when nothing comes. */
  async post(server: Server, body: Buffer): Promise<string> {
    const socket = this.socket ?? await this.open(server)
    const head = `POST ${server.path} HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nContent-Type: text/xml\r\nContent-Length: ${body.length}\r\n` +
      `Connection: ${this.keepAlive ? 'keep-alive' : 'close'}\r\n\r\n`
    const answer = answerOf(socket)
    socket.write(Buffer.concat([Buffer.from(head), body]))
    const { kept, status, text } = await answer
    if (!kept || !this.keepAlive) this.destroy()
    if (status === 200 && /<name>geni_code<\/name>\s*<value><(?:int|i4)>0</.test(text)) return text
    throw new Error(`HTTP ${status}: ${text.slice(0, 1_500)}`)
  }

  destroy(): void {
    this.socket?.destroy()
    this.socket = undefined
  }

  /** Certificates of gcf have no host name: nothing is asked of the server here. */
  private open({ port }: Server): Promise<TLSSocket> {
    const socket = connect({ ...this.identity, port, host: '127.0.0.1', rejectUnauthorized: false })
    socket.setNoDelay(true)
    socket.setTimeout(silentMs, () => { socket.destroy(new Error('no answer within a minute')) })
    socket.on('close', () => { if (this.socket === socket) this.socket = undefined })
    return new Promise((resolve, reject) => {
      socket.on('error', reject)
      socket.once('secureConnect', () => {
        this.socket = socket
        resolve(socket)
      })
    })
  }
}

interface Answer { kept: boolean; status: number; text: string }

function answerOf(socket: TLSSocket): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const end = (closed: boolean) => {
      const answer = readAnswer(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), closed)
      if (!answer && !closed) return
      socket.off('data', onData).off('close', onClose)
      if (answer) resolve(answer)
      else reject(new Error('the connection was closed before the answer was whole'))
    }
    const onData = (chunk: Buffer) => {
      chunks.push(chunk)
      end(false)
    }
    const onClose = () => end(true)
    socket.on('data', onData).on('close', onClose)
  })
}

/** Undefined while it is not whole: by its length, or where it has none by the end of the connection. */
function readAnswer(bytes: Buffer, closed: boolean): Answer | undefined {
  const body = bytes.indexOf('\r\n\r\n') + 4
  if (body < 4) return undefined
  const head = bytes.toString('latin1', 0, body)
  const length = /^content-length: *(\d+)/mi.exec(head)?.[1]
  if (length === undefined ? !closed : bytes.length < body + Number(length)) return undefined
  const kept = head.startsWith('HTTP/1.1') && length !== undefined && !/^connection: *close/mi.test(head)
  return { kept, status: Number(head.slice(9, 12)), text: bytes.toString('latin1', body) }
}

/** `clients` do `call` one after the other for so many seconds, each on a line of its own; the first tenth is thrown away. */
export async function load(
  identity: Identity, seconds: number, clients: number, call: (line: Line) => Promise<unknown>, keepAlive = true,
): Promise<Rate> {
  const samples: number[] = []
  const begun = performance.now()
  const from = begun + seconds * 100
  const end = begun + seconds * 1_100
  let last = from
  await Promise.all(Array.from({ length: clients }, async () => {
    const line = new Line(identity, keepAlive)
    try {
      await call(line)
      for (let n = 0; performance.now() < end || n < 3; n++) {
        const at = performance.now()
        await call(line)
        last = performance.now()
        if (at >= from || n >= 2) samples.push(last - at)
      }
    } finally {
      line.destroy()
    }
  }))
  return { perSecond: samples.length / (last - from) * 1000, ms: distribution(samples) }
}
