// As little of a client as can be: bodies are made beforehand and answers only looked at, so that what is measured is the
// server. Of Node's own client a call costs some 0.15 ms of processor, which is in all figures, for every server alike.
import { Agent, request } from 'node:https'
import { performance } from 'node:perf_hooks'
import { distribution, type Distribution } from '../distribution.js'

export interface Server { port: number; path: string }
export interface Identity { key: string; cert: string }
export interface Rate { perSecond: number; ms: Distribution }

/** One answer; fails when it is no success, or when nothing comes. */
export function post(server: Server, agent: Agent, body: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const sending = request({
      host: '127.0.0.1', port: server.port, path: server.path, method: 'POST', agent, headers: { 'Content-Type': 'text/xml', 'Content-Length': body.length },
    }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('latin1')
        if (response.statusCode === 200 && /<name>geni_code<\/name>\s*<value><(?:int|i4)>0</.test(text)) resolve(text)
        else reject(new Error(`HTTP ${response.statusCode ?? 0}: ${text.slice(0, 1_500)}`))
      })
    })
    sending.setTimeout(60_000, () => { sending.destroy(new Error('no answer within a minute')) })
    sending.on('error', reject)
    sending.end(body)
  })
}

// Certificates of gcf have no host name: nothing is asked of the server here.
export const agentOf = (identity: Identity, keepAlive = true): Agent =>
  new Agent({ ...identity, keepAlive, maxSockets: 1, rejectUnauthorized: false, ...(keepAlive ? {} : { maxCachedSessions: 0 }) })

/** `clients` do `call` one after the other for so many seconds, each by an agent of its own; the first tenth is thrown away. */
export async function load(
  identity: Identity, seconds: number, clients: number, call: (agent: Agent) => Promise<unknown>, keepAlive = true,
): Promise<Rate> {
  const samples: number[] = []
  const begun = performance.now()
  const from = begun + seconds * 100
  const end = begun + seconds * 1_100
  let last = from
  await Promise.all(Array.from({ length: clients }, async () => {
    const agent = agentOf(identity, keepAlive)
    try {
      await call(agent)
      for (let n = 0; performance.now() < end || n < 3; n++) {
        const at = performance.now()
        await call(agent)
        last = performance.now()
        if (at >= from || n >= 2) samples.push(last - at)
      }
    } finally {
      agent.destroy()
    }
  }))
  return { perSecond: samples.length / (last - from) * 1000, ms: distribution(samples) }
}
