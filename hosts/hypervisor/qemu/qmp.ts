// QEMU's monitor protocol: one JSON object a line. Every call has a deadline, since a frozen QEMU never answers.
import { connect, type Socket } from 'node:net'
import { Failure } from '../../../base/errors.js'
import { limits } from '../../../base/limits.js'
import { within } from '../../../base/time.js'
import { descriptor } from '../../../overlay/socket-queues.js'
import { sendWithDescriptor } from './descriptors.js'

export interface QmpEvent {
  event: string
  data?: Record<string, unknown>
  /** ms of the host's wall clock, by QEMU itself, with fractions */
  at: number
}

interface Pending { resolve: (value: unknown) => void; reject: (error: Error) => void }

const greetingMs = 5_000

export class Qmp {
  private readonly socket: Socket
  private readonly pending = new Map<number, Pending>()
  private readonly listeners = new Set<(event: QmpEvent) => void>()
  private readonly closing = new Set<() => void>()
  private nextId = 1
  private rest = ''
  private closed = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('utf8')
    socket.on('error', () => undefined) // 'close' follows
    socket.on('close', () => this.end())
  }

  /** Connects and leaves the negotiation behind. Fails when nobody listens at `path`. */
  static async connect(path: string): Promise<Qmp> {
    const socket = await new Promise<Socket>((resolve, reject) => {
      const s = connect(path, () => resolve(s))
      s.once('error', (cause) => reject(new Failure('failed', `no monitor at ${path}`, { cause })))
    })
    const qmp = new Qmp(socket)
    const greeted = new Promise<void>((resolve) => qmp.socket.once('data', () => resolve()))
    qmp.socket.on('data', (text: string) => qmp.read(text))
    await within(greetingMs, greeted, () => new Failure('timed-out', `the monitor at ${path} does not greet`))
    await qmp.call('qmp_capabilities')
    return qmp
  }

  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  onClose(listener: () => void): () => void {
    if (this.closed) listener()
    else this.closing.add(listener)
    return () => this.closing.delete(listener)
  }

  call<T>(execute: string, args?: object, timeoutMs: number = limits.qmpMs): Promise<T> {
    return this.batch([{ execute, ...(args ? { arguments: args } : {}) }], timeoutMs).then(([answer]) => answer as T)
  }

  /** Several commands in one write: QEMU runs them one after another without waiting for us in between. */
  batch(commands: { execute: string; arguments?: object }[], timeoutMs: number = limits.qmpMs): Promise<unknown[]> {
    const answers = commands.map((command) => this.await(command.execute, timeoutMs))
    const lines = commands.map((command, i) => `${JSON.stringify({ ...command, id: answers[i]!.id })}\n`)
    if (!this.closed) this.socket.write(lines.join(''))
    return Promise.all(answers.map((a) => a.answer))
  }

  /** Hands over a descriptor under a name, for `migrate fd:NAME`. */
  async passDescriptor(name: string, fd: number): Promise<void> {
    if (this.socket.writableLength > 0) await new Promise((resolve) => this.socket.once('drain', resolve))
    const { id, answer } = this.await('getfd', limits.qmpMs)
    answer.catch(() => undefined)
    const line = `${JSON.stringify({ execute: 'getfd', arguments: { fdname: name }, id })}\n`
    sendWithDescriptor(descriptor(this.socket), Buffer.from(line), fd)
    await answer
  }

  close(): void {
    this.socket.destroy()
  }

  private await(execute: string, timeoutMs: number): { id: number; answer: Promise<unknown> } {
    const id = this.nextId++
    const answer = new Promise<unknown>((resolve, reject) => {
      if (this.closed) reject(new Failure('failed', `${execute}: the monitor is closed`))
      else this.pending.set(id, { resolve, reject: (cause) => reject(new Failure('failed', `QMP ${execute}`, { cause })) })
    })
    const late = () => new Failure('timed-out', `QMP ${execute} was not answered within ${timeoutMs} ms`)
    return { id, answer: within(timeoutMs, answer, late).finally(() => this.pending.delete(id)) }
  }

  private read(text: string): void {
    this.rest += text
    for (let end = this.rest.indexOf('\n'); end >= 0; end = this.rest.indexOf('\n')) {
      const line = this.rest.slice(0, end).trim()
      this.rest = this.rest.slice(end + 1)
      if (line !== '') this.take(JSON.parse(line) as Record<string, unknown>)
    }
  }

  private take(message: Record<string, unknown>): void {
    if (typeof message['event'] === 'string') {
      const stamp = message['timestamp'] as { seconds: number; microseconds: number }
      const event = {
        event: message['event'], data: message['data'] as Record<string, unknown>, at: stamp.seconds * 1000 + stamp.microseconds / 1000,
      }
      for (const listener of [...this.listeners]) listener(event)
      return
    }
    const pending = this.pending.get(message['id'] as number)
    if (!pending) return // late, or the greeting
    if ('return' in message) pending.resolve(message['return'])
    else pending.reject(new Error((message['error'] as { desc: string }).desc))
  }

  private end(): void {
    if (this.closed) return
    this.closed = true
    for (const { reject } of this.pending.values()) reject(new Error('the monitor was closed'))
    for (const listener of this.closing) listener()
  }
}
