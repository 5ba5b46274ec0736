// How fast the AM API answers: a whole aggregate with simulated VMs, real Redis, real TLS, and a store of 1 to 10,000 slivers; and,
// where geni-tools and Python 2.7 are at hand, the reference AM beside it in the same run. A table, and JSON with --json.
//   node dist/bench/am-api/main.js [--seconds 2] [--slivers 1,100,1000,10000] [--idle 1000] [--gcf GENI_TOOLS_DIR --python2 PYTHON] [--json]
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Agent } from 'node:https'
import { encodeCall } from '../../am-plugin/xmlrpc/encode.js'
import type { Struct, Value } from '../../am-plugin/xmlrpc/value.js'
import { realRandom } from '../../base/random.js'
import { realClock as clock } from '../../base/time.js'
import { issueSlice, issueUser } from '../../certs/issue.js'
import { freePort, startAggregate } from '../../cli/up/aggregate.js'
import { openRedis } from '../../jobs/queues.js'
import { openSliceStore } from '../../slices/redis-slice-store.js'
import { agentOf, load, post, type Identity, type Rate, type Server } from './client.js'
import { fill, requestOf } from './fill.js'
import { startGcf } from './gcf.js'
import { openIdlers } from './idle.js'

const { values } = parseArgs({ options: {
  seconds: { type: 'string', default: '2' }, slivers: { type: 'string', default: '1,100,1000,10000' }, idle: { type: 'string', default: '1000' },
  gcf: { type: 'string' }, python2: { type: 'string', default: 'python2' }, json: { type: 'boolean', default: false },
} })
const seconds = Number(values.seconds)
const program = resolve(import.meta.dirname, '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'vam-'))
const say = (line: string) => process.stderr.write(`${line}\n`)
const env = Object.fromEntries(Object.entries(process.env).filter((e): e is [string, string] => e[1] !== undefined))
const rates: Record<string, Rate> = {}
const version: Struct = { geni_rspec_version: { type: 'GENI', version: '3' } }
const getVersion = encodeCall('GetVersion', [])

const memoryMiB = (pid: number) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024

async function measure(name: string, rate: Promise<Rate>): Promise<Rate> {
  const found = rates[name] = await rate
  const { n, median, p90, p99, max } = found.ms
  say(name.padEnd(56) + [found.perSecond, median, p90, p99, max].map((x) => x.toFixed(x < 100 ? 2 : 0).padStart(9)).join('') + String(n).padStart(8))
  return found
}

/** The calls of one user on one slice. */
function callsOf(server: Server, sliceUrn: string, credential: string) {
  const credentials: Value[] = [{ geni_type: 'geni_sfa', geni_version: '3', geni_value: credential }]
  const sender = (body: Buffer) => (agent: Agent) => post(server, agent, body)
  return {
    getVersion: sender(getVersion), listResources: sender(encodeCall('ListResources', [credentials, version])),
    status: sender(encodeCall('Status', [[sliceUrn], credentials, {}])), describe: sender(encodeCall('Describe', [[sliceUrn], credentials, version])),
    allocate: sender(encodeCall('Allocate', [sliceUrn, credentials, requestOf(['a', 'b']), {}])), delete: sender(encodeCall('Delete', [[sliceUrn], credentials, {}])),
  }
}

const aggregate = await startAggregate({
  state: join(folder, 'state'), listen: { host: '127.0.0.1', port: 0 }, trust: [], snapshotMode: 'live', authority: 'bench', hypervisor: 'simulated', accelerator: 'auto',
  program, imageFolder: '', quotas: {}, freeFloorBytes: 1024, software: 'bench', env, rate: 'none',
}, clock, say)
const redis = openRedis({ path: aggregate.layout.redisSocket })
try {
  const { federation } = aggregate
  const tools = { clock, random: realRandom, lifeMs: 24 * 3600_000 }
  const user = await issueUser(federation.dir, 'bench', tools)
  const alice: Identity = { key: readFileSync(user.key, 'utf8'), cert: readFileSync(user.certificate, 'utf8') }
  const kept = await issueSlice(federation.dir, 'bench', 'kept', tools)
  const passing = await issueSlice(federation.dir, 'bench', 'passing', tools)
  const server = { port: Number(new URL(aggregate.url).port), path: '/am/3.0' }
  const calls = callsOf(server, kept.urn, readFileSync(kept.credential, 'utf8'))
  const others = callsOf(server, passing.urn, readFileSync(passing.credential, 'utf8'))
  const allocateAndDelete = async (agent: Agent) => {
    await others.allocate(agent)
    await others.delete(agent)
  }
  say(''.padEnd(56) + ['calls/s', 'p50 ms', 'p90', 'p99', 'max'].map((h) => h.padStart(9)).join('') + 'n'.padStart(8))
  await measure('GetVersion, new TLS connection', load(alice, seconds, 1, calls.getVersion, false))
  for (const clients of [1, 8, 32]) await measure(`GetVersion, keep-alive, ${clients} client${clients > 1 ? 's' : ''}`, load(alice, seconds, clients, calls.getVersion))
  for (const clients of [1, 8, 32]) await measure(`ListResources, credential, ${clients} client${clients > 1 ? 's' : ''}`, load(alice, seconds, clients, calls.listResources))
  await createOnce(calls.allocate)
  const store = openSliceStore(redis)
  const memory: Record<string, number> = {}
  let filled = 0
  for (const slivers of values.slivers.split(',').map(Number)) {
    await fill(store, 'bench', filled, slivers)
    filled = slivers
    for (const clients of [1, 32]) await measure(`Status, ${clients} client${clients > 1 ? 's' : ''}, ${slivers} slivers`, load(alice, seconds, clients, calls.status))
    await measure(`Describe, ${slivers} slivers`, load(alice, seconds, 1, calls.describe))
    await measure(`Allocate + Delete, ${slivers} slivers`, load(alice, seconds, 1, allocateAndDelete))
    memory[`${slivers} slivers`] = memoryMiB(aggregate.pids()['am']!)
    say(`memory of the AM: ${memory[`${slivers} slivers`]!.toFixed(0)} MiB`)
  }
  await measure('Status, alone', load(alice, seconds, 1, calls.status))
  const idlers = await openIdlers(server, Number(values.idle), 20)
  const beside = `Status beside ${values.idle} idle TLS connections and 20 slow ones`
  await measure(beside, load(alice, seconds, 1, calls.status))
  memory[`${values.idle} idle connections`] = memoryMiB(aggregate.pids()['am']!)
  say(`open at the end: ${idlers.open()}; memory of the AM: ${memory[`${values.idle} idle connections`]!.toFixed(0)} MiB`)
  idlers.close()

  const ratios: Record<string, number> = {}
  if (values.gcf !== undefined) {
    const gcf = await startGcf({
      tools: values.gcf, python2: values.python2, folder: join(folder, 'gcf'), port: await freePort('127.0.0.1'), federation,
      standIns: resolve(program, '..', 'test', 'interop', 'stand-ins'),
    }).catch((error: unknown) => {
      say(String(error))
      say(readFileSync(join(folder, 'gcf', 'gcf.log'), 'utf8').slice(-2_000))
      throw error
    })
    try {
      const theirs = callsOf({ port: gcf.port, path: '/' }, kept.urn, readFileSync(kept.credential, 'utf8'))
      await measure('gcf: GetVersion, new TLS connection', load(alice, seconds, 1, theirs.getVersion, false))
      await measure('gcf: GetVersion, keep-alive asked for', load(alice, seconds, 1, theirs.getVersion))
      await measure('gcf: ListResources, credential', load(alice, seconds, 1, theirs.listResources))
      await createOnce(theirs.allocate)
      await measure('gcf: Status', load(alice, seconds, 1, theirs.status))
      await measure('gcf: Describe', load(alice, seconds, 1, theirs.describe))
      const last = values.slivers.split(',').at(-1)!
      for (const [name, ours, gcfs] of [
        ['GetVersion, new TLS', 'GetVersion, new TLS connection', 'gcf: GetVersion, new TLS connection'], ['GetVersion, keep-alive', 'GetVersion, keep-alive, 1 client', 'gcf: GetVersion, keep-alive asked for'],
        ['ListResources', 'ListResources, credential, 1 client', 'gcf: ListResources, credential'], ['Status', `Status, 1 client, ${last} slivers`, 'gcf: Status'],
        ['Describe', `Describe, ${last} slivers`, 'gcf: Describe'],
      ] as const) {
        ratios[name] = rates[ours]!.perSecond / rates[gcfs]!.perSecond
        say(`${name}: ${ratios[name].toFixed(1)} times the reference AM`)
      }
    } finally {
      await gcf.stop()
    }
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ node: process.version, seconds, rates, memoryMiB: memory, ratios }, undefined, 1)}\n`)

  /** Once, not for a while: a second Allocate of the same names is refused. */
  async function createOnce(allocate: (agent: Agent) => Promise<unknown>): Promise<void> {
    const agent = agentOf(alice)
    await allocate(agent)
    agent.destroy()
  }
} finally {
  redis.disconnect()
  await aggregate.stop()
  rmSync(folder, { recursive: true, force: true })
}
