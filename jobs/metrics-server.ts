// GET /metrics over plain HTTP, for the operator's Prometheus. It tells figures and no names of users or slices, and takes nothing.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { explain, Failure } from '../base/errors.js'
import type { Log } from '../base/log.js'
import type { Metrics } from './metrics.js'

const connections = 32
const requestMs = 10_000

/** Listens; fails with one sentence when the port cannot be had. */
export async function serveMetrics(
  listen: { host: string; port: number }, metrics: Pick<Metrics, 'text' | 'contentType'>, log: Log,
): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer({ requestTimeout: requestMs, headersTimeout: requestMs, keepAliveTimeout: requestMs }, (request, response) => {
    void answer(request, response, metrics, log)
  })
  server.maxConnections = connections
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(new Failure('failed', `metrics cannot be served on ${listen.host}:${listen.port}`, { cause })))
    server.listen(listen.port, listen.host, () => resolve())
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    }),
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, metrics: Pick<Metrics, 'text' | 'contentType'>, log: Log): Promise<void> {
  const send = (status: number, type: string, text: string) => response.writeHead(status, { 'Content-Type': type }).end(text)
  response.on('error', () => undefined)
  request.resume()
  if (request.url?.split('?', 1)[0] !== '/metrics') return void send(404, 'text/plain', 'metrics are at /metrics\n')
  if (request.method !== 'GET' && request.method !== 'HEAD') return void send(405, 'text/plain', 'only GET is answered here\n')
  try {
    send(200, metrics.contentType, await metrics.text())
  } catch (error) {
    log.warn({ why: explain(error) }, 'metrics could not be read')
    send(503, 'text/plain', `metrics cannot be read: ${explain(error)}\n`)
  }
}
