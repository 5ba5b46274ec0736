// An XML-RPC client over TLS with a client certificate, as any GENI tool is one. It knows nothing of the aggregate but
// its URL, so that what works through it works through Omni and jFed too.
import { Agent, request } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { decodeResponse } from '../am-plugin/xmlrpc/decode.js'
import { encodeCall } from '../am-plugin/xmlrpc/encode.js'
import { isStruct, type Value } from '../am-plugin/xmlrpc/value.js'
import { Failure } from '../base/errors.js'
import { limits } from '../base/limits.js'
import { within } from '../base/time.js'

export interface AmClientOptions {
  /** https://host:port/am/3.0 */
  url: string
  /** PEM: the user's key and certificate chain. */
  key: string
  cert: string
  /** PEM: who may have signed the aggregate's certificate. */
  ca: string
  /** The longest that one call may take. */
  timeoutMs?: number
}

export interface AmClient {
  /** The answer as it came. Fails on faults, on HTTP errors and when no answer comes in time. */
  call(method: string, params: Value[]): Promise<Value>
  /** The `value` of a result struct. Throws an AmError when its code is not 0. */
  geni(method: string, params: Value[]): Promise<Value>
  close(): void
}

/** The aggregate's own "no": `output` is its sentence. */
export class AmError extends Error {
  override name = 'AmError'
  readonly geniCode: number
  readonly output: string
  constructor(method: string, geniCode: number, output: string) {
    super(`${method} was refused with code ${geniCode}: ${output}`)
    this.geniCode = geniCode
    this.output = output
  }
}

/** Calls that change nothing: sent again when a kept connection turns out to be closed. */
const repeatable = new Set(['GetVersion', 'ListResources', 'Describe', 'Status'])

/** Makes a client. No connection is opened before the first call. */
export function makeAmClient(options: AmClientOptions): AmClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 8, noDelay: true })
  const timeoutMs = options.timeoutMs ?? 120_000

  async function call(method: string, params: Value[]): Promise<Value> {
    const body = encodeCall(method, params)
    let sent = send(options, agent, method, body, timeoutMs)
    if (repeatable.has(method)) {
      sent = sent.catch((error: unknown) => {
        if (!(error instanceof StaleConnection)) throw error
        return send(options, agent, method, body, timeoutMs)
      })
    }
    const answer = decodeResponse(await sent)
    if (answer.kind === 'fault') throw new Failure('failed', `${method}: the aggregate answered with fault ${answer.code}: ${answer.message}`)
    return answer.value
  }

  return {
    call,
    geni: async (method, params) => unwrap(method, await call(method, params)),
    close: () => agent.destroy(),
  }
}

/** The `value` of a GENI result struct; an AmError when the code in it is not 0. */
export function unwrap(method: string, answer: Value): Value {
  const code = isStruct(answer) && isStruct(answer['code']) ? answer['code']['geni_code'] : undefined
  if (!isStruct(answer) || typeof code !== 'number') throw new Failure('failed', `${method}: the answer is no GENI result struct`)
  if (code !== 0) throw new AmError(method, code, typeof answer['output'] === 'string' ? answer['output'] : '')
  return answer['value'] ?? ''
}

class StaleConnection extends Failure {}

async function send(options: AmClientOptions, agent: Agent, method: string, body: Buffer, timeoutMs: number): Promise<Buffer> {
  const { url, key, cert, ca } = options
  const sending = request(url, {
    method: 'POST', agent, key, cert, ca, minVersion: 'TLSv1.2',
    headers: { 'Content-Type': 'text/xml', 'Content-Length': body.length },
  })
  const answered = new Promise<Buffer>((resolve, reject) => {
    sending.on('response', (response) => { readAnswer(response).then(resolve, reject) })
    sending.on('error', (cause) => {
      const stale = sending.reusedSocket && (cause as NodeJS.ErrnoException).code === 'ECONNRESET'
      reject(new (stale ? StaleConnection : Failure)('failed', `${method}: no connection to ${url}`, { cause }))
    })
  })
  sending.end(body)
  try {
    return await within(timeoutMs, answered, () => new Failure('timed-out', `${method}: ${url} did not answer within ${timeoutMs} ms`))
  } catch (error) {
    sending.destroy()
    throw error
  }
}

async function readAnswer(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limits.bodyBytes) throw new Failure('failed', `the answer is larger than ${limits.bodyBytes} bytes`)
    chunks.push(chunk)
  }
  if (response.statusCode !== 200) {
    throw new Failure('failed', `the aggregate answered with HTTP status ${response.statusCode ?? 0}, not with XML-RPC`)
  }
  return Buffer.concat(chunks)
}
