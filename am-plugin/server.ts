// XML-RPC over TLS, the door of the aggregate. Everybody may knock: the client certificate is asked for and handed on,
// judged later (rule 30), because a handshake that is cut off tells the user nothing. For the same reason every call is
// answered with HTTP 200, whatever happened, and no error of a handler closes a connection.
import { constants } from 'node:crypto'
import { createServer, type Server } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Failure, Refusal } from '../base/errors.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import { realRandom, token, type Random } from '../base/random.js'
import { realClock, within, type Clock } from '../base/time.js'
import { urlHost } from '../base/url-host.js'
import { Admission, type AdmissionLimits } from './admission.js'
import { readBody } from './body.js'
import { addressOf, Connections, type ConnectionLimits } from './connections.js'
import { failure } from './geni-codes.js'
import { peerChain } from './peer.js'
import { RateLimit, standardRate, type Rate } from './rate-limit.js'
import { decodeCallInTurns } from './xmlrpc/decode.js'
import { encodeFault, encodeResponse } from './xmlrpc/encode.js'
import type { Value } from './xmlrpc/value.js'

export interface ServerCall {
  /** Names the call in the log. */
  callId: string
  /** Path of the URL without query: it decides the API version. */
  path: string
  method: string
  params: Value[]
  /** The client's certificates in DER, leaf first, as sent and not verified; empty when it sent none. */
  peer: Buffer[]
}

/** A GET of a path, by whoever has these certificates (not verified). */
export interface PageAsk { callId: string; path: string; peer: Buffer[] }
/** Plain text. */
export interface Page { status: number; text: string }

export interface ServerLimits extends AdmissionLimits, ConnectionLimits {
  bodyBytes: number
  handshakeMs: number
  /** From the handshake, or the first byte of a later request, to the end of its headers. */
  headersMs: number
  /** From the first byte of a request to its last. */
  requestMs: number
  keepAliveMs: number
  /** A handler that takes longer is answered for: the caller has the sentence, the work goes on. */
  callMs: number
  /** A client that has not taken its answer by then is cut off. */
  answerMs: number
  /** Calls under way at close() may take this long. */
  closeMs: number
}

export interface ServeOptions {
  host: string
  /** 0: any free one. */
  port: number
  /** PEM. */
  key: string
  cert: string
  log: Log
  /** Answers one call. Should map its own errors to result structs; what it throws is answered by a general one. */
  handle: (call: ServerCall) => Promise<Value>
  /** Answers a GET, or (undefined) leaves it to the greeting. */
  page?: (ask: PageAsk) => Promise<Page | undefined>
  /**
   * The name of whoever has these certificates, where they can be believed. Limits are by this name, and by address for all
   * others: else somebody with many certificates of his own making would be many callers. Asked once for each connection.
   */
  callerOf?: (peer: Buffer[]) => string | undefined
  limits?: Partial<ServerLimits>
  /** Undefined: the standard one. */
  rate?: Rate | 'none'
  random?: Random
  clock?: Clock
}

export interface AmServer {
  port: number
  /** https://HOST:PORT, without path. */
  url: string
  /** How many are open. */
  connections(): number
  /** Takes no more calls, lets those under way end, closes every connection. */
  close(): Promise<void>
}

/** Thrown by a handler to answer with an XML-RPC fault: only for a method that does not exist (rule 8a). */
export class CallFault extends Error {
  override name = 'CallFault'
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const standard: ServerLimits = {
  bodyBytes: limits.bodyBytes, concurrent: 16, waiting: 256, bufferedBytes: 8 * limits.bodyBytes,
  callerConcurrent: 8, callerWaiting: 64, callerBytes: 2 * limits.bodyBytes, connections: 3_072, addressConnections: 2_048,
  handshakeMs: 10_000, headersMs: 10_000, requestMs: 60_000, keepAliveMs: 30_000, callMs: 240_000, answerMs: 60_000, closeMs: 5_000,
}
const greeting = 'geni-violin: a GENI aggregate manager. Calls come here as XML-RPC by POST, from a GENI client.\n'
const notWellFormed = -32700

/** Listens; resolves once calls are answered. Fails with one sentence when the port cannot be had. */
export async function serve(options: ServeOptions): Promise<AmServer> {
  const bounds = { ...standard, ...options.limits }
  const server = createServer({
    key: options.key, cert: options.cert, minVersion: 'TLSv1.2',
    requestCert: true, rejectUnauthorized: false,
    // No tickets: a resumed session has lost the client's chain. No renegotiation: a connection has one client.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    handshakeTimeout: bounds.handshakeMs, headersTimeout: bounds.headersMs, requestTimeout: bounds.requestMs,
    keepAliveTimeout: bounds.keepAliveMs, connectionsCheckingInterval: Math.min(1_000, bounds.headersMs),
    noDelay: true, // 40 ms per new connection otherwise
  })
  const connections = new Connections(bounds)
  const door = new Door(options, bounds, connections)
  server.on('request', (request, response) => { void door.answer(request, response) })
  server.on('tlsClientError', (error) => { options.log.debug({ err: error }, 'TLS handshake failed') })
  server.on('connection', (socket: Socket) => { connections.add(socket) })
  await listen(server, options)
  const { port } = server.address() as AddressInfo
  const url = `https://${urlHost(options.host)}:${port}`
  return { port, url, connections: () => connections.size, close: () => close(server, door, connections, bounds.closeMs) }
}

class Door {
  /** Answers on their way out say that the connection ends. */
  closing = false
  private readonly options: ServeOptions
  private readonly bounds: ServerLimits
  private readonly connections: Connections
  private readonly admission: Admission
  private readonly rate: RateLimit
  private readonly random: Random
  private readonly callers = new WeakMap<Socket, string>()

  constructor(options: ServeOptions, bounds: ServerLimits, connections: Connections) {
    this.options = options
    this.bounds = bounds
    this.connections = connections
    this.admission = new Admission(bounds)
    this.rate = new RateLimit(options.rate === 'none' ? undefined : options.rate ?? standardRate, options.clock ?? realClock)
    this.random = options.random ?? realRandom
  }

  /** One HTTP request. Never rejects. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined) // the client has gone: nobody is left to tell
    try {
      if (request.method === 'POST') await this.answerCall(request, response)
      else if (request.method === 'GET' || request.method === 'HEAD') await this.answerPage(request, response)
      else this.send(response, 405, 'text/plain', 'Only POST (XML-RPC) and GET are answered here.\n')
    } catch (error) {
      this.options.log.error({ err: error }, 'a request could not be answered')
      request.destroy()
    }
  }

  /** From now until its answer has left, its connection is not idle. */
  private atWork(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    this.connections.begin(socket)
    response.once('close', () => { this.connections.end(socket) })
  }

  private async answerPage(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.atWork(request, response)
    const ask = { callId: token(this.random, 6), path: pathOf(request), peer: peerChain(request.socket) }
    const caller = this.callerOf(request.socket)
    let page: Page = { status: 200, text: greeting }
    try {
      this.refuseTooMany(caller)
      const late = () => new Failure('timed-out', 'the page did not come in time')
      page = (await this.admission.run(caller, () => within(this.bounds.callMs, this.options.page?.(ask) ?? Promise.resolve(undefined), late))) ?? page
    } catch (error) {
      const busy = error instanceof Refusal
      if (!busy) this.options.log.error({ call: ask.callId, path: ask.path.slice(0, 80), err: error }, 'a page failed')
      page = { status: 503, text: `${busy ? error.message : `internal error; the log of the aggregate has it under call ${ask.callId}`}\n` }
    }
    this.send(response, page.status, 'text/plain; charset=utf-8', page.text)
  }

  private async answerCall(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const callId = token(this.random, 6)
    const caller = this.callerOf(request.socket)
    let body: Buffer
    try {
      if (request.headers['content-encoding']) throw new Refusal('bad-arguments', 'compressed requests are not accepted')
      body = await readBody(request, this.bounds.bodyBytes, this.admission, caller)
    } catch (error) {
      if (request.destroyed && !request.complete) return
      if (!request.complete) response.shouldKeepAlive = false // what is left of the body is not read
      this.send(response, 200, 'text/xml', this.excuse(error, callId, ''))
      return
    }
    this.atWork(request, response)
    try {
      this.send(response, 200, 'text/xml', await this.call(request, body, callId, caller))
    } finally {
      this.admission.release(caller, body.length)
    }
  }

  private async call(request: IncomingMessage, body: Buffer, callId: string, caller: string): Promise<Buffer> {
    const path = pathOf(request)
    let method = ''
    try {
      this.refuseTooMany(caller)
      return await this.admission.run(caller, async () => {
        if (request.socket.destroyed) throw new Refusal('busy', 'the caller has gone before its turn')
        const call = await read(body)
        method = call.method
        this.options.log.debug({ call: callId, method, path }, 'call')
        const peer = peerChain(request.socket)
        const late = () => new Failure('timed-out', `${method} did not end within ${this.bounds.callMs} ms; ask again for its result`)
        return encodeResponse(await within(this.bounds.callMs, this.options.handle({ ...call, callId, path, peer }), late))
      })
    } catch (error) {
      return this.excuse(error, callId, method || methodAsSent(body))
    }
  }

  private refuseTooMany(caller: string): void {
    if (this.closing) throw new Refusal('busy', 'the aggregate is being stopped; try again later')
    const waitMs = this.rate.take(caller)
    if (waitMs > 0) throw new Refusal('busy', `you call too often; try again in ${Math.ceil(waitMs / 1000)} s`)
  }

  private callerOf(socket: Socket): string {
    let caller = this.callers.get(socket)
    if (caller === undefined) {
      const peer = peerChain(socket)
      const name = peer.length > 0 ? this.options.callerOf?.(peer) : undefined
      caller = name ?? `address ${addressOf(socket.remoteAddress)}`
      this.callers.set(socket, caller)
    }
    return caller
  }

  /** The answer for an error: a result struct wherever it was a call at all. */
  private excuse(error: unknown, callId: string, method: string): Buffer {
    if (error instanceof CallFault) return encodeFault(error.code, error.message)
    if (error instanceof Refusal) return encodeResponse(failure(error, method))
    this.options.log.error({ call: callId, method, err: error }, 'the call failed')
    if (error instanceof Failure) return encodeResponse(failure(error, method))
    return encodeResponse({ ...failure(error, method), output: `internal error; the log of the aggregate has it under call ${callId}` })
  }

  private send(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
    if (this.closing) response.shouldKeepAlive = false
    // what a guest wrote must not be taken for a page of ours, nor kept by a browser
    const careful = { 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-store' }
    response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body), ...careful })
    const late = setTimeout(() => { response.destroy() }, this.bounds.answerMs).unref()
    response.once('close', () => { clearTimeout(late) })
    response.end(body)
  }
}

const pathOf = (request: IncomingMessage): string => request.url?.split('?', 1)[0] ?? '/'

/** Not a call at all is answered with a fault; a call with more in it than we read, with a struct. */
async function read(body: Buffer): Promise<{ method: string; params: Value[] }> {
  try {
    return await decodeCallInTurns(body)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    if (error.code === 'too-big') throw new Refusal('bad-arguments', error.message)
    throw new CallFault(notWellFormed, `this is no XML-RPC call: ${error.message}`)
  }
}

/** The method of a call that is refused before it is read: what the value of a refusal is depends on it. */
function methodAsSent(body: Buffer): string {
  return /<methodName>\s*([A-Za-z]{1,40})\s*</.exec(body.toString('latin1', 0, 1000))?.[1] ?? ''
}

function listen(server: Server, { host, port }: ServeOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(new Failure('failed', `cannot listen on ${host}:${port}`, { cause })))
    server.listen(port, host, () => resolve())
  })
}

async function close(server: Server, door: Door, connections: Connections, graceMs: number): Promise<void> {
  door.closing = true
  const ended = new Promise<void>((resolve) => { server.close(() => resolve()) })
  connections.closeIdle() // server.close() leaves those on which nothing was ever asked
  const grace = setTimeout(() => connections.closeAll(), graceMs)
  await ended
  clearTimeout(grace)
}
