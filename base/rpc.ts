// JSON-RPC over unix sockets, how worker, agents and switches talk. Both ends of every connection are in this file:
// refusals and failures cross it as themselves, every request has a deadline, a lost peer is an event.
import { createServer, connect, type Socket } from 'node:net'
import { chmodSync, rmSync } from 'node:fs'
import {
  createMessageConnection, ResponseError, SocketMessageReader, SocketMessageWriter, type Message, type MessageConnection,
} from 'vscode-jsonrpc/node.js'
import { explain, Failure, Refusal, type FailureCode, type RefusalCode } from './errors.js'
import type { Log } from './log.js'
import { within } from './time.js'

export type RpcHandlers = Record<string, (params: never) => unknown>
interface WireError { kind: 'refusal' | 'failure' | 'bug'; code: string }

export interface RpcServer {
  notify(method: string, params: unknown): void
  /** How many are connected. */
  peers(): number
  close(): Promise<void>
}

export interface RpcClient {
  request<T>(method: string, params: unknown, timeoutMs: number): Promise<T>
  onNotification(method: string, listener: (params: never) => void): void
  /** The peer is gone; requests under way have failed. */
  onClose(listener: () => void): void
  close(): void
}

/** Serves `handlers` at `path` (mode 0600, an old socket there is replaced: the caller holds the folder's lock). */
export async function serveRpc(path: string, handlers: RpcHandlers, log: Log): Promise<RpcServer> {
  const open = new Set<MessageConnection>()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    const peer = overSocket(socket)
    open.add(peer)
    for (const [method, handle] of Object.entries(handlers)) {
      peer.onRequest(method, async (params: unknown) => {
        try {
          return (await handle(params as never)) ?? null
        } catch (error) {
          if (!(error instanceof Refusal) && !(error instanceof Failure)) log.error({ method, err: error }, 'request failed by a bug')
          throw toWire(error)
        }
      })
    }
    peer.onClose(() => { open.delete(peer) })
    socket.on('close', () => { sockets.delete(socket) })
    peer.listen()
  })
  rmSync(path, { force: true })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, () => resolve()))
  chmodSync(path, 0o600)
  return {
    notify: (method, params) => { for (const peer of open) void peer.sendNotification(method, params).catch(() => undefined) },
    peers: () => sockets.size,
    close: () => new Promise((resolve) => {
      for (const socket of sockets) socket.destroy()
      server.close(() => resolve())
    }),
  }
}

/** Connects to a peer that is there now. Fails with 'host-lost' when it is not. */
export async function connectRpc(path: string, name: string): Promise<RpcClient> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const s = connect(path, () => resolve(s))
    s.once('error', (cause) => reject(new Failure('host-lost', `${name} does not answer at ${path}`, { cause })))
  })
  const peer = overSocket(socket)
  let gone = false
  const closing = new Set<() => void>()
  const lost = new Promise<never>((_, reject) => {
    closing.add(() => reject(new Failure('host-lost', `the connection to ${name} was lost`)))
  })
  lost.catch(() => undefined)
  socket.on('close', () => {
    gone = true
    for (const listener of closing) listener()
    peer.dispose()
  })
  peer.listen()
  return {
    async request<T>(method: string, params: unknown, timeoutMs: number): Promise<T> {
      if (gone) throw new Failure('host-lost', `the connection to ${name} was lost`)
      const late = () => new Failure('timed-out', `${name} did not answer ${method} within ${timeoutMs} ms`)
      try {
        return await within(timeoutMs, Promise.race([peer.sendRequest<T>(method, params), lost]), late)
      } catch (error) {
        throw fromWire(error, name)
      }
    },
    onNotification: (method, listener) => { peer.onNotification(method, (params: unknown) => listener(params as never)) },
    onClose: (listener) => { if (gone) listener(); else closing.add(listener) },
    close: () => { socket.destroy() },
  }
}

/**
 * vscode-jsonrpc throws a failed write away inside a promise that nobody can catch, which ends the process. Here a write that
 * fails ends the connection, and the lost connection fails the request.
 */
class EndingWriter extends SocketMessageWriter {
  private readonly to: Socket
  constructor(to: Socket) {
    super(to)
    this.to = to
  }

  override async write(message: Message): Promise<void> {
    await super.write(message).catch(() => { this.to.destroy() })
  }
}

function overSocket(socket: Socket): MessageConnection {
  socket.on('error', () => undefined) // 'close' follows
  const peer = createMessageConnection(new SocketMessageReader(socket), new EndingWriter(socket))
  peer.onError(() => undefined)
  return peer
}

function toWire(error: unknown): ResponseError<WireError> {
  const kind = error instanceof Refusal ? 'refusal' : error instanceof Failure ? 'failure' : 'bug'
  const code = error instanceof Refusal || error instanceof Failure ? error.code : 'failed'
  return new ResponseError(1, explain(error), { kind, code })
}

function fromWire(error: unknown, name: string): unknown {
  if (!(error instanceof ResponseError)) return error
  const data = error.data as WireError | undefined
  if (data?.kind === 'refusal') return new Refusal(data.code as RefusalCode, error.message)
  return new Failure((data?.code ?? 'failed') as FailureCode, `${name}: ${error.message}`)
}
