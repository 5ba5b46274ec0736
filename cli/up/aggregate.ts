// A whole aggregate on this machine: redis, switch, agent, worker and AM, each a process of its own, started in the order
// in which they need each other and stopped in the other. This supervises and does no more.
import { existsSync, readdirSync, rmSync, statfsSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { Redis } from 'ioredis'
import type { Rate } from '../../am-plugin/rate-limit.js'
import { makeFolder, removeDurably, writeDurably } from '../../base/durable.js'
import { explain, Failure, Refusal } from '../../base/errors.js'
import { limits } from '../../base/limits.js'
import { takeLock } from '../../base/lock.js'
import { realRandom } from '../../base/random.js'
import { connectRpc } from '../../base/rpc.js'
import { shownSize } from '../../base/sizes.js'
import { urlHost } from '../../base/url-host.js'
import type { Clock } from '../../base/time.js'
import { createFederation, openFederation, type Federation } from '../../certs/issue.js'
import type { Quotas } from '../../slices/quota.js'
import type { SnapshotMode } from '../../snapshots/needs.js'
import { Child, type ChildSpec } from './child.js'
import { bringUpToDate } from './format.js'
import { layoutOf, makeFolders, makeStateFolder, type Layout } from './layout.js'
import { keepLogsBounded } from './logs.js'

export interface UpOptions {
  state: string
  listen: { host: string; port: number }
  publicUrl?: string
  trust: string[]
  acceptSha1?: boolean
  /** URNs of tools that may speak for users although their URN is not of type tool. */
  tool?: string[]
  snapshotMode: SnapshotMode
  redisUrl?: string
  authority: string
  hypervisor: 'qemu' | 'simulated'
  accelerator: 'auto' | 'kvm' | 'tcg'
  /** Folder of the built program: the main.js of every process is below it. */
  program: string
  imageFolder: string
  quotas: Quotas
  /** How often one caller may call the AM. */
  rate?: Rate | 'none'
  /** URNs of users who may do everything; the aggregate's own certificate may in any case. */
  operators?: string[]
  /** Places that users may have files fetched from. */
  sources?: string[]
  /** What a host keeps of disk images that were fetched. */
  imageCacheBytes?: number
  /** Where the operator puts disk images; a folder in the state folder without it. */
  images?: string
  /** No snapshot begins with less than this free. */
  freeFloorBytes: number
  /** Where the worker serves metrics; nowhere without it. */
  metrics?: { host: string; port: number }
  /** How long VMs run on when we are killed and not started again. */
  outliveMs: number
  /** Where the worker posts every event; nowhere without it. */
  webhook?: string
  software: string
  env: Record<string, string>
}

export interface Aggregate { url: string; layout: Layout; federation: Federation; pids(): Record<string, number>; stop(): Promise<void> }

const killAllMs = 60_000
/** Programs and their packages, and what needs them. */
const needed: { program: string; from: string; by: (options: UpOptions) => boolean }[] = [
  { program: 'qemu-system-x86_64', from: 'qemu-system-x86', by: ({ hypervisor }) => hypervisor === 'qemu' },
  { program: 'qemu-img', from: 'qemu-utils', by: ({ hypervisor }) => hypervisor === 'qemu' },
  { program: 'setpriv', from: 'util-linux', by: () => true },
  { program: 'redis-server', from: 'redis-server', by: ({ redisUrl }) => !redisUrl },
]

/** Starts everything. On failure everything that was started has been stopped again. */
export async function startAggregate(options: UpOptions, clock: Clock, say: (line: string) => void): Promise<Aggregate> {
  const layout = layoutOf(options.state)
  makeStateFolder(layout)
  const unlock = takeLock(layout.lock, `the state folder ${layout.state}`)
  const children: Child[] = []
  let leaveLogs = () => undefined as void
  const stop = async () => {
    await stopAll(layout, children, say)
    leaveLogs()
    unlock()
  }
  try {
    await bringUpToDate(layout, options.software, say)
    makeFolders(layout)
    leaveLogs = await keepLogsBounded(layout.log, say)
    await removeDurably(layout.url) // one that was killed has left its own
    await checkBeforehand(options, layout)
    const port = options.listen.port === 0 ? await freePort(options.listen.host) : options.listen.port
    const federation = await federationOf(options, layout, clock)
    const add = async (child: Child) => {
      children.push(child)
      await child.start()
    }
    const redis = options.redisUrl ? { url: options.redisUrl } : { path: layout.redisSocket }
    if (!options.redisUrl) await add(redisChild(layout, options, clock, say)).catch((cause: unknown) => { throw withoutRedis(layout, cause) })
    await startSwitch(layout, options, clock, say, children)
    const agent = nodeChild('agent', 'hosts/main.js', {
      host: 'local', folder: layout.host, runFolder: layout.run, store: layout.store, socket: layout.agentSocket,
      switchSocket: layout.switchSocket, imageFolder: options.imageFolder, hypervisor: options.hypervisor,
      qemu: 'qemu-system-x86_64', accelerator: options.accelerator, aloneMs: options.outliveMs, sources: options.sources,
      imageCacheBytes: options.imageCacheBytes, diskImageFolder: resolve(options.images ?? layout.images), freeFloorBytes: options.freeFloorBytes,
    }, layout, options, clock, say, { pidFile: layout.agentPid })
    children.push(agent)
    await agent.startAnew()
    await add(nodeChild('worker', 'jobs/main.js', {
      redis, hosts: [{ name: 'local', socket: layout.agentSocket }], store: layout.store, keyFile: federation.am.key,
      certFile: federation.am.certificate, snapshotMode: options.snapshotMode, authority: options.authority, software: options.software,
      quotas: options.quotas, freeFloorBytes: options.freeFloorBytes, metrics: options.metrics, webhook: options.webhook,
    }, layout, options, clock, say))
    const publicUrl = options.publicUrl ?? `https://${urlHost(options.listen.host)}:${port}`
    await add(nodeChild('am', 'am-plugin/main.js', {
      listen: { host: options.listen.host, port }, publicUrl, authority: options.authority, keyFile: federation.am.key,
      certFile: federation.am.certificate, trust: options.trust.length > 0 ? options.trust : [federation.trust, federation.crls], redis,
      snapshotMode: options.snapshotMode, software: options.software, quotas: options.quotas, rate: options.rate, operators: options.operators,
      sources: options.sources, acceptSha1: options.acceptSha1, speakingTools: options.tool, auditFile: join(layout.log, 'audit.log'),
    }, layout, options, clock, say))
    const url = `${publicUrl.replace(/\/$/, '')}/am/3.0`
    await writeDurably(layout.url, `${url}\n`) // for our own commands
    return {
      url, layout, federation, stop,
      pids: () => Object.fromEntries(children.map((c) => [c.spec.name, c.pid ?? 0])),
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function checkBeforehand(options: UpOptions, layout: Layout): Promise<void> {
  if (options.images !== undefined && !statSync(options.images, { throwIfNoEntry: false })?.isDirectory()) {
    throw new Refusal('not-found', `--images: there is no folder ${options.images}`)
  }
  if (options.hypervisor === 'qemu' && !existsSync(join(options.imageFolder, 'image.json'))) {
    throw new Refusal('not-found', `there is no guest image in ${options.imageFolder}: run ./violin image`)
  }
  for (const { program, from } of needed.filter(({ by }) => by(options))) {
    if (!isInstalled(program, options.env)) throw new Refusal('not-found', `${program} is not installed: apt-get install ${from}`)
  }
  const { bavail, bsize } = statfsSync(layout.state)
  const least = Math.min(limits.freeFloorBytes, options.freeFloorBytes)
  if (bavail * bsize < least) {
    throw new Failure('no-space', `only ${shownSize(bavail * bsize)} are free in ${layout.state}: at least ${shownSize(least)} are needed`)
  }
  if (options.listen.port !== 0) await freePort(options.listen.host, options.listen.port)
  if (options.metrics) await freePort(options.metrics.host, options.metrics.port, '--metrics')
}

function isInstalled(program: string, env: Record<string, string>): boolean {
  return (env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, program)))
}

/** The folder of its CRLs is made too, so that what `violin certs crl` writes later is seen. */
async function federationOf(options: UpOptions, layout: Layout, clock: Clock): Promise<Federation> {
  const federation = await openOrMake(options, layout, clock)
  await makeFolder(federation.crls)
  return federation
}

async function openOrMake(options: UpOptions, layout: Layout, clock: Clock): Promise<Federation> {
  try {
    return await openFederation(layout.federation)
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'not-found') throw error
  }
  const names = options.publicUrl ? [new URL(options.publicUrl).hostname] : []
  return createFederation(layout.federation, { clock, random: realRandom, authority: options.authority, hostnames: names })
}

function redisChild(layout: Layout, options: UpOptions, clock: Clock, say: (line: string) => void): Child {
  rmSync(layout.redisSocket, { force: true }) // ours: we hold the lock of the state folder, and redis dies with its parent
  return new Child({
    name: 'redis', env: options.env, logFile: join(layout.log, 'redis.log'),
    command: ['redis-server', '--port', '0', '--unixsocket', layout.redisSocket, '--unixsocketperm', '700', '--dir', layout.redis,
      '--appendonly', 'yes', '--appendfsync', 'always', '--save', '', '--maxmemory-policy', 'noeviction', '--daemonize', 'no'],
    ready: () => pings(layout.redisSocket),
  }, clock, say)
}

/** Its log says why: here is what can be done about the two that are not a matter of this machine. */
function withoutRedis(layout: Layout, cause: unknown): Failure {
  return new Failure('failed', `Redis does not start on ${layout.redis}, which is as it was. If a newer Redis has written it, install that one again; ` +
    'if it is damaged, copy the folder, then mend it with redis-check-aof', { cause })
}

function nodeChild(
  name: string, main: string, config: object, layout: Layout, options: UpOptions, clock: Clock, say: (line: string) => void, outlives?: ChildSpec['outlives'],
): Child {
  return new Child({
    name, ...(outlives ? { outlives } : {}), command: [process.execPath, '--enable-source-maps', join(options.program, main)], ready: 'ipc',
    env: { ...options.env, VIOLIN_CONFIG: JSON.stringify({ ...config, faults: options.env['VIOLIN_FAULTS'] }) }, logFile: join(layout.log, `${name}.log`),
  }, clock, say)
}

/** The switch outlives us, so one may be there from before: it goes on, with the links of VMs that run. */
async function startSwitch(layout: Layout, options: UpOptions, clock: Clock, say: (line: string) => void, children: Child[]): Promise<void> {
  const config = { folder: layout.switch, socket: layout.switchSocket, faults: options.env['VIOLIN_FAULTS'] }
  const child = new Child({
    name: 'switch', command: [process.execPath, '--enable-source-maps', join(options.program, 'hosts/switch/main.js')], ready: 'ipc',
    outlives: { pidFile: layout.switchPid }, env: { ...options.env, VIOLIN_CONFIG: JSON.stringify(config) }, logFile: join(layout.log, 'switch.log'),
  }, clock, say)
  children.push(child)
  const before = await connectRpc(layout.switchSocket, 'the switch').catch(() => undefined)
  if (before) child.takeOver(new Promise((gone) => before.onClose(gone)))
  else await child.start()
}

async function stopAll(layout: Layout, children: Child[], say: (line: string) => void): Promise<void> {
  await removeDurably(layout.url)
  const byName = new Map(children.map((c) => [c.spec.name, c]))
  for (const name of ['am', 'worker']) await byName.get(name)?.stop()
  if (byName.has('agent')) {
    try {
      const agent = await connectRpc(layout.agentSocket, 'the agent')
      await agent.request('killAll', {}, killAllMs)
      agent.close()
    } catch (error) {
      say(`the VMs could not be stopped: ${explain(error)}`)
    }
  }
  await byName.get('agent')?.stop()
  await byName.get('switch')?.stop()
  await byName.get('redis')?.stop()
  // where no agent was started, nobody has ended the VMs of an earlier `up`: the next one finds them by their sockets
  if (byName.has('agent') || !hasVms(layout)) rmSync(layout.run, { recursive: true, force: true })
}

const hasVms = ({ run }: Layout): boolean => existsSync(run) && readdirSync(run).some((name) => name.endsWith('.qmp'))

async function pings(path: string): Promise<boolean> {
  if (!existsSync(path)) return false
  const redis = new Redis({ path, lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 })
  redis.on('error', () => undefined)
  try {
    await redis.connect()
    return (await redis.ping()) === 'PONG'
  } catch {
    return false
  } finally {
    redis.disconnect()
  }
}

/** The port asked for, or any; refuses when somebody has it. */
export function freePort(host: string, port = 0, flag = '--listen'): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    const advice = 'stop what listens there, or choose another address with ' + flag
    server.once('error', (cause) => reject(new Refusal('bad-arguments', `${host}:${port} cannot be listened on: ${advice}`, { cause })))
    server.listen(port, host, () => {
      const address = server.address() as { port: number }
      server.close(() => resolve(address.port))
    })
  })
}
