// How fast the AM API answers: a whole aggregate with simulated VMs, real Redis, real TLS, and a store of 1 to 10,000 slivers; and,
// where geni-tools and Python 2.7 are at hand, the reference AM beside it in the same run. A table, and JSON with --json.
//   node dist/bench/am-api/main.js [--seconds 2] [--slivers 1,100,1000,10000] [--idle 1000] [--gcf GENI_TOOLS_DIR --python2 PYTHON] [--json]
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { encodeCall } from '../../am-plugin/xmlrpc/encode.js'
import type { Struct, Value } from '../../am-plugin/xmlrpc/value.js'
import { realRandom } from '../../base/random.js'
import { realClock as clock } from '../../base/time.js'
import { issueSlice, issueUser } from '../../certs/issue.js'
import { freePort, startAggregate, type Aggregate } from '../../cli/up/aggregate.js'
import { openRedis } from '../../jobs/queues.js'
import { openSliceStore } from '../../slices/redis-slice-store.js'
import { Line, load, type Identity, type Rate, type Server } from './client.js'
import { fill, requestOf } from './fill.js'
import { startGcf } from './gcf.js'
import { openIdlers } from './idle.js'

const { values } = parseArgs({ options: {
  seconds: { type: 'string', default: '2' }, slivers: { type: 'string', default: '1,100,1000,10000' }, idle: { type: 'string', default: '1000' },
  gcf: { type: 'string' }, python2: { type: 'string', default: 'python2' }, json: { type: 'boolean', default: false },
} })
const seconds = Number(values.seconds)
const sizes = values.slivers.split(',').map(Number)
const program = resolve(import.meta.dirname, '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'vam-'))
const authority = 'bench'
const say = (line: string) => process.stderr.write(`${line}\n`)
const env = Object.fromEntries(Object.entries(process.env).filter((e): e is [string, string] => e[1] !== undefined))
const version: Struct = { geni_rspec_version: { type: 'GENI', version: '3' } }

const rates: Record<string, Rate> = {}
const memoryMiB: Record<string, number> = {}
const ratios: Record<string, number> = {}

type Call = (line: Line) => Promise<unknown>

/** The calls of one user on one slice. */
function callsOf(server: Server, sliceUrn: string, credential: string) {
  const credentials: Value[] = [{ geni_type: 'geni_sfa', geni_version: '3', geni_value: credential }]
  const sender = (method: string, ...params: Value[]): Call => {
    const body = encodeCall(method, params)
    return (line) => line.post(server, body)
  }
  return {
    getVersion: sender('GetVersion'), listResources: sender('ListResources', credentials, version),
    status: sender('Status', [sliceUrn], credentials, {}), describe: sender('Describe', [sliceUrn], credentials, version),
    allocate: sender('Allocate', sliceUrn, credentials, requestOf(['a', 'b']), {}), delete: sender('Delete', [sliceUrn], credentials, {}),
  }
}
type Calls = ReturnType<typeof callsOf>

async function measure(name: string, as: Identity, clients: number, call: Call, keepAlive = true): Promise<void> {
  const rate = rates[name] = await load(as, seconds, clients, call, keepAlive)
  const { n, median, p90, p99, max } = rate.ms
  say(name.padEnd(56) + [rate.perSecond, median, p90, p99, max].map((x) => x.toFixed(x < 100 ? 2 : 0).padStart(9)).join('') + String(n).padStart(8))
}

/** Not for a while: a second Allocate of the same names is refused. */
async function once(as: Identity, call: Call): Promise<void> {
  const line = new Line(as)
  await call(line)
  line.destroy()
}

function noteMemory(aggregate: Aggregate, when: string): void {
  memoryMiB[when] = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${aggregate.pids()['am']!}/status`, 'utf8'))![1]) / 1024
  say(`memory of the AM, ${when}: ${memoryMiB[when].toFixed(0)} MiB`)
}

const many = (clients: number) => `${clients} client${clients > 1 ? 's' : ''}`

/** Before the store is filled: what does not depend on it. The AM has answered some thousand calls by then, as one that serves has. */
async function empty(as: Identity, calls: Calls): Promise<void> {
  for (const call of [calls.getVersion, calls.listResources]) await load(as, Math.max(seconds, 2), 4, call)
  await measure('GetVersion, new TLS connection', as, 1, calls.getVersion, false)
  for (const clients of [1, 8, 32]) await measure(`GetVersion, keep-alive, ${many(clients)}`, as, clients, calls.getVersion)
  for (const clients of [1, 8, 32]) await measure(`ListResources, credential, ${many(clients)}`, as, clients, calls.listResources)
}

async function filled(aggregate: Aggregate, as: Identity, calls: Calls, others: Calls): Promise<void> {
  const redis = openRedis({ path: aggregate.layout.redisSocket })
  const store = openSliceStore(redis)
  const allocateAndDelete = async (line: Line) => {
    await others.allocate(line)
    await others.delete(line)
  }
  let before = 0
  for (const slivers of sizes) {
    await fill(store, authority, before, slivers)
    before = slivers
    for (const clients of [1, 32]) await measure(`Status, ${many(clients)}, ${slivers} slivers`, as, clients, calls.status)
    await measure(`Describe, ${slivers} slivers`, as, 1, calls.describe)
    await measure(`Allocate + Delete, ${slivers} slivers`, as, 1, allocateAndDelete)
    noteMemory(aggregate, `${slivers} slivers`)
  }
  redis.disconnect()
}

async function besideIdlers(aggregate: Aggregate, server: Server, as: Identity, calls: Calls): Promise<void> {
  await measure('Status, alone', as, 1, calls.status)
  const idlers = await openIdlers(server, Number(values.idle), 20)
  await measure(`Status beside ${values.idle} idle TLS connections, 20 slow ones`, as, 1, calls.status)
  say(`of those are open at the end: ${idlers.open()}`)
  noteMemory(aggregate, `${values.idle} idle connections`)
  idlers.close()
}

async function reference(tools: string, aggregate: Aggregate, as: Identity, callsAt: (server: Server) => Calls): Promise<void> {
  const gcf = await startGcf({
    tools, python2: values.python2, folder: join(folder, 'gcf'), port: await freePort('127.0.0.1'), federation: aggregate.federation,
    standIns: resolve(program, '..', 'test', 'interop', 'stand-ins'),
  })
  try {
    const calls = callsAt({ port: gcf.port, path: '/' })
    await measure('gcf: GetVersion, new TLS connection', as, 1, calls.getVersion, false)
    await measure('gcf: GetVersion, keep-alive asked for', as, 1, calls.getVersion)
    await measure('gcf: GetVersion, keep-alive asked for, 8 clients', as, 8, calls.getVersion)
    await measure('gcf: ListResources', as, 1, calls.listResources)
    await once(as, calls.allocate)
    await measure('gcf: Status', as, 1, calls.status)
    await measure('gcf: Describe', as, 1, calls.describe)
  } finally {
    await gcf.stop()
  }
  const last = sizes.at(-1)!
  for (const [ours, theirs] of [
    ['GetVersion, new TLS connection', 'gcf: GetVersion, new TLS connection'], ['GetVersion, keep-alive, 1 client', 'gcf: GetVersion, keep-alive asked for'],
    ['GetVersion, keep-alive, 8 clients', 'gcf: GetVersion, keep-alive asked for, 8 clients'],
    ['ListResources, credential, 1 client', 'gcf: ListResources'], [`Status, 1 client, ${last} slivers`, 'gcf: Status'],
    [`Describe, ${last} slivers`, 'gcf: Describe'],
  ] as const) {
    ratios[ours] = rates[ours]!.perSecond / rates[theirs]!.perSecond
    say(`${ours}: ${ratios[ours].toFixed(1)} times the reference AM`)
  }
}

const aggregate = await startAggregate({
  state: join(folder, 'state'), listen: { host: '127.0.0.1', port: 0 }, trust: [], snapshotMode: 'live', authority, hypervisor: 'simulated',
  accelerator: 'auto', program, imageFolder: '', quotas: {}, freeFloorBytes: 1024, outliveMs: 60_000, software: 'bench', env, rate: 'none',
}, clock, say)
try {
  const { dir } = aggregate.federation
  const issuing = { clock, random: realRandom, lifeMs: 24 * 3600_000 }
  const user = await issueUser(dir, 'bench', issuing)
  const as: Identity = { key: readFileSync(user.key, 'utf8'), cert: readFileSync(user.certificate, 'utf8') }
  const [kept, passing] = [await issueSlice(dir, 'bench', 'kept', issuing), await issueSlice(dir, 'bench', 'passing', issuing)]
  const server = { port: Number(new URL(aggregate.url).port), path: '/am/3.0' }
  const callsAt = (at: Server) => callsOf(at, kept.urn, readFileSync(kept.credential, 'utf8'))
  const calls = callsAt(server)
  say(''.padEnd(56) + ['calls/s', 'p50 ms', 'p90', 'p99', 'max'].map((h) => h.padStart(9)).join('') + 'n'.padStart(8))
  await empty(as, calls)
  await once(as, calls.allocate)
  await filled(aggregate, as, calls, callsOf(server, passing.urn, readFileSync(passing.credential, 'utf8')))
  await besideIdlers(aggregate, server, as, calls)
  if (values.gcf !== undefined) await reference(values.gcf, aggregate, as, callsAt)
  if (values.json) process.stdout.write(`${JSON.stringify({ node: process.version, seconds, rates, memoryMiB, ratios }, undefined, 1)}\n`)
} finally {
  await aggregate.stop()
  rmSync(folder, { recursive: true, force: true })
}
