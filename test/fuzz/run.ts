// Sends changed calls to the aggregate, in this process or over TLS, and looks at what must hold whatever came: an answer of the
// right form, in bounded time; no error that is ours; nothing shown or changed that the caller has no right to; no memory kept.
import { Agent, request as httpsRequest } from 'node:https'
import { connect, type TLSSocket } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { CallFault, serve, type AmServer } from '../../am-plugin/server.js'
import { decodeCall, decodeResponse } from '../../am-plugin/xmlrpc/decode.js'
import { encodeResponse } from '../../am-plugin/xmlrpc/encode.js'
import { isStruct, type Struct, type Value } from '../../am-plugin/xmlrpc/value.js'
import { Refusal } from '../../base/errors.js'
import { silentLog } from '../../base/log.js'
import { within } from '../../base/time.js'
import { Dice } from './dice.js'
import { encodeLoosely, mutatedBody } from './mutate-call.js'
import { mutateBytes } from './mutate-text.js'
import { secret, type Person, type World } from './world.js'

export interface Input { person: Person; path: string; body: Buffer }
export interface Fault { why: string; index: number; input: Input }
export interface Tally { sent: number; onTheWire: number; granted: number; refused: number; faults: number; slowestMs: number; grownMiB: number }

/** A call may take this much of a processor. */
export const longestCpuMs = 1_000
/** Until then an answer must be there, however busy the machine is. */
const longestMs = 60_000
/** What the heap and buffers outside of it may grow by, after garbage collection, from a tenth of the run to its end. */
export const growthMiB = 32
/** One call in this many goes over TLS; one in this many of them with HTTP that is spoilt itself. */
const wireEvery = 8
const spoiltEvery = 5

export interface Options { count: number; seed: number; /** Where to begin: to see one input again. */ from?: number; progress?: (tally: Tally) => void }

export async function fuzz(world: World, { count, seed, from = 0, progress }: Options): Promise<{ tally: Tally; fault?: Fault }> {
  const tally: Tally = { sent: 0, onTheWire: 0, granted: 0, refused: 0, faults: 0, slowestMs: 0, grownMiB: 0 }
  const wire = await Wire.open(world)
  let base = NaN
  try {
    for (let index = from; index < from + count; index++) {
      const dice = new Dice(Math.imul(seed, 1_000_003) + index)
      const person = dice.pick(world.people)
      const { path, call } = dice.pick(person.calls)
      const body = mutatedBody(dice, call, world.pool(person))
      const input: Input = { person, path: dice.chance(3) ? dice.pick(['/', '/RPC2', '/am', '/am/2.0', '/x', '/am/3.0/']) : path, body }
      const begun = process.cpuUsage()
      const why = await objectionTo(world, wire, dice, index, input, tally)
      const { user, system } = process.cpuUsage(begun)
      const ms = (user + system) / 1000
      tally.slowestMs = Math.max(tally.slowestMs, ms)
      tally.sent++
      if (why !== undefined) return { tally, fault: { why, index, input } }
      if (ms > longestCpuMs) return { tally, fault: { why: `it took ${Math.round(ms)} ms of processor time`, index, input } }
      if (tally.sent === Math.floor(count / 10)) base = memoryMiB()
      if (tally.sent % 5_000 === 0) {
        tally.grownMiB = memoryMiB() - base
        progress?.(tally)
      }
    }
    tally.grownMiB = memoryMiB() - base
    if (count >= 5_000 && tally.grownMiB > growthMiB) {
      return { tally, fault: { why: `memory has grown by ${tally.grownMiB.toFixed(1)} MiB`, index: from + count, input: { person: world.people[0]!, path: '', body: Buffer.alloc(0) } } }
    }
    return { tally }
  } finally {
    await wire.close()
  }
}

async function objectionTo(world: World, wire: Wire, dice: Dice, index: number, input: Input, tally: Tally): Promise<string | undefined> {
  if (index % wireEvery !== 0) return judge(world, input, await inProcess(world, input), tally)
  tally.onTheWire++
  if (index % (wireEvery * spoiltEvery) !== 0) return judge(world, input, await wire.call(input), tally)
  return wire.spoilt(dice, input)
}

/** What came of a call: an answer, or why there is none. */
export type Outcome = { answer: Value } | { fault: string } | { wrong: string }

/** As the server would, without it. */
export async function inProcess(world: World, { person, path, body }: Input): Promise<Outcome> {
  try {
    const call = decodeCall(body)
    const late = () => new Error(`no answer within ${longestMs} ms`)
    const answer = await within(longestMs, world.ask({ ...call, callId: 'f', path, peer: person.chain }), late)
    encodeResponse(answer)
    return { answer }
  } catch (error) {
    if (error instanceof CallFault) return { fault: error.message }
    if (error instanceof Refusal && ['bad-arguments', 'too-big'].includes(error.code)) return { fault: error.message }
    return { wrong: (error as Error).stack ?? String(error) }
  }
}

/** What is wrong with the outcome, if anything. */
export function judge(world: World, { person, body }: Input, outcome: Outcome, tally: Tally): string | undefined {
  if ('wrong' in outcome) return outcome.wrong
  if ('fault' in outcome) {
    tally.faults++
    return /^[\x20-\x7e\n\t]{5,500}$/.test(outcome.fault) ? undefined : `a fault without a sentence: ${outcome.fault.slice(0, 600)}`
  }
  const { code, value, output } = outcome.answer as Struct
  const geniCode = isStruct(code) ? code['geni_code'] : undefined
  if (typeof geniCode !== 'number' || typeof output !== 'string' || value === undefined) return `no result struct: ${JSON.stringify(outcome.answer).slice(0, 500)}`
  if (![...Array(18).keys(), 24].includes(geniCode)) return `geni_code ${geniCode} breaks clients`
  if (geniCode === 5) return `an internal error: ${world.objections().join('; ')}`
  const [objection] = world.objections()
  if (objection !== undefined) return objection
  if (JSON.stringify(outcome.answer).includes(secret) && !body.includes(secret)) return `it was shown the slice of somebody else: ${JSON.stringify(outcome.answer).slice(0, 500)}`
  if (geniCode !== 0) {
    tally.refused++
    return /\S{2}/.test(output) ? undefined : `refused with ${geniCode} and no reason`
  }
  tally.granted++
  return person.refused && !isGetVersion(body) ? `granted to ${person.name}: ${JSON.stringify(outcome.answer).slice(0, 500)}` : undefined
}

function isGetVersion(body: Buffer): boolean {
  try {
    return decodeCall(body).method === 'GetVersion'
  } catch {
    return false
  }
}

/** The calls as they are, to know that the judge can tell. */
export async function unchanged(world: World): Promise<{ person: Person; path: string; method: string; code: number | string; why: string | undefined }[]> {
  const tally = { granted: 0, refused: 0, faults: 0 } as Tally
  const all = []
  for (const person of world.people) {
    for (const { path, call } of person.calls) {
      const input = { person, path, body: Buffer.from(encodeLoosely(call)) }
      const outcome = await inProcess(world, input)
      const code = 'answer' in outcome ? ((outcome.answer as Struct)['code'] as Struct)['geni_code'] as number : JSON.stringify(outcome)
      all.push({ person, path, method: call.method, code, why: judge(world, input, outcome, tally) })
    }
  }
  return all
}

/** The real server on a port of this machine, and one connection for each person. */
class Wire {
  private readonly world: World
  private readonly server: AmServer
  private readonly agents: Map<Person, Agent>

  private constructor(world: World, server: AmServer) {
    this.world = world
    this.server = server
    this.agents = new Map(world.people.map((p) => [p, new Agent({ keepAlive: true, maxSockets: 1, ca: world.server.ca, ...p.tls })]))
  }

  static async open(world: World): Promise<Wire> {
    const { key, cert } = world.server
    return new Wire(world, await serve({ host: '127.0.0.1', port: 0, key, cert, log: silentLog, rate: 'none', handle: (call) => world.ask(call) }))
  }

  async call(input: Input, again = true): Promise<Outcome> {
    try {
      const { status, body } = await within(longestMs, this.post(input), () => new Error(`no answer within ${longestMs} ms`))
      if (status !== 200) return { wrong: `HTTP status ${status}` }
      const answer = decodeResponse(body)
      return answer.kind === 'fault' ? { fault: answer.message } : { answer: answer.value }
    } catch (error) {
      if (again && (error as NodeJS.ErrnoException).code === 'ECONNRESET') return this.call(input, false) // kept connections end after a while
      return { wrong: (error as Error).stack ?? String(error) }
    }
  }

  /** HTTP that is itself spoilt: whatever is answered, the next call on another connection is answered too. */
  async spoilt(dice: Dice, { person, path, body }: Input): Promise<string | undefined> {
    const head = Buffer.from(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: ${body.length}\r\n\r\n`)
    const cut = dice.below(3)
    const bytes = cut === 0 ? Buffer.concat([mutateBytes(dice, head), body]) : cut === 1 ? mutateBytes(dice, Buffer.concat([head, body])) : Buffer.concat([head, body]).subarray(0, dice.below(head.length + body.length))
    const socket = connect({ port: this.server.port, host: '127.0.0.1', ca: this.world.server.ca, checkServerIdentity: () => undefined, ...person.tls })
    const text = await within(longestMs, exchange(socket, bytes), () => new Error('no end')).catch((error: unknown) => String(error))
    socket.destroy()
    if (/^HTTP\/1\.1 5/m.test(text)) return `answered ${text.slice(0, 100)}`
    if (text === 'Error: no end') return `the connection stayed open for ${longestMs} ms after its end was sent`
    const alive = await this.call({ person: this.world.people.at(-1)!, path: '/am/3.0', body: Buffer.from(encodeLoosely({ method: 'GetVersion', params: [] })) })
    return 'answer' in alive ? undefined : `GetVersion afterwards: ${JSON.stringify(alive)}`
  }

  async close(): Promise<void> {
    for (const agent of this.agents.values()) agent.destroy()
    await this.server.close()
  }

  private post({ person, path, body }: Input): Promise<{ status: number; body: Buffer }> {
    return new Promise((resolve, reject) => {
      const sending = httpsRequest({
        host: '127.0.0.1', port: this.server.port, path, method: 'POST', agent: this.agents.get(person)!, headers: { 'Content-Type': 'text/xml', 'Content-Length': body.length },
      }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => resolve({ status: response.statusCode!, body: Buffer.concat(chunks) }))
        response.on('error', reject)
      })
      sending.on('error', reject)
      sending.end(body)
    })
  }
}

function exchange(socket: TLSSocket, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    socket.on('data', (chunk: Buffer) => { text += chunk.toString('latin1') })
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(text))
    socket.end(bytes)
  })
}

let collect: (() => void) | undefined

function memoryMiB(): number {
  if (!collect) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  collect()
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 2 ** 20
}
