// One aggregate in the world: hosts with agent and switch, a worker, Redis, and a supervisor that starts again whatever has died, as
// `violin up` does. The wiring is that of hosts/main.ts, hosts/switch/main.ts and jobs/main.ts; what is wired is the product's.
import type { AgentParts } from '../../../hosts/agent.js'
import type { Collapse } from '../../../hosts/collapse.js'
import type { Images } from '../../../hosts/images.js'
import type { Participants } from '../../../hosts/participants.js'
import type { RestoreHost } from '../../../hosts/restore-host.js'
import type { SwitchLink } from '../../../hosts/switch-link.js'
import type { VmRegistry } from '../../../hosts/vm-registry.js'
import type { PeriodicParts } from '../../../jobs/periodic.js'
import type { SliceRecord } from '../../../slices/slice.js'
import { Disk } from './disk.js'
import { simulatedHypervisor } from './hypervisor.js'
import { simLog } from './log.js'
import type { Machine, Slice } from './machine.js'
import { setInterval, setTimeout } from './modules/globals.js'
import { listening } from './modules/net.js'
import * as rpc from './modules/rpc.js'
import { Network } from './network.js'
import { product } from '../product.js'
import { keyPem, certificatePem } from './keys.js'
import { SimRedis } from './redis.js'
import type { World} from './world.js';
import { type Host, type Proc } from './world.js'

export const storeFolder = '/store'
export const agentSocket = (host: string): string => `/run/${host}/agent`
export const switchSocket = (host: string): string => `/run/${host}/switch`

const amUrn = 'urn:publicid:IDN+lab.example+authority+am'
const dayMs = 24 * 3_600_000

/** What an agent has in memory, for whoever looks on. */
export interface AgentInside { registry: VmRegistry; participants: Participants; restores: RestoreHost }

/** Images that come from a folder or from the network are not part of the simulation: nobody asks for one. */
const never = (): never => { throw new Error('disk images from elsewhere are not simulated') }
const noImages = { layFetched: never, leastDiskMiB: never }
const elsewhere: Pick<AgentParts, 'localImages' | 'fetchedImages'> = { localImages: { list: () => [] }, fetchedImages: { ask: never } }

export class Site implements Slice {
  readonly w: World
  readonly disk = new Disk()
  readonly hosts: Host[]
  readonly redis = new SimRedis()
  readonly lives = [] as Slice['lives']
  readonly machines = new Set<Machine>()
  readonly byPid = new Map<number, Machine>()
  /** The processes that live now, by name. */
  readonly living = new Map<string, Proc>()
  readonly agents = new Map<string, AgentInside>()
  /** Told when what was not synced is gone. */
  onCrash: () => void = () => undefined
  /** The supervisor rests: what dies stays dead. */
  supervised = true
  /** Since when an agent serves on each host; none does where nothing is said. */
  readonly servingSince = new Map<string, number>()

  constructor(w: World, hostCount: number) {
    this.w = w
    w.network = new Network()
    listening.clear() // nobody of a world before this one
    w.killVm = (pid) => this.byPid.get(pid)?.kill('it was ended')
    w.vmProcesses = () => [...this.machines].map((m) => ({ pid: m.proc.pid, started: '', line: `-name\0${m.instance.spec.clientId}.${m.name}\0${m.instance.monitor}` }))
    this.hosts = Array.from({ length: hostCount }, (_, i) => ({ name: `h${i + 1}`, disk: this.disk, skewMs: 0, up: true }))
    w.hosts.push(...this.hosts)
    this.disk.makeFolders(storeFolder)
    this.disk.sync(this.disk.get('/store'))
    this.watchBases()
    const stalled = () => w.after(2_000, undefined, () => {
      this.redis.lookForStalled()
      stalled()
    })
    stalled()
  }

  peers(me: Machine): Machine[] {
    return [...this.machines].filter((m) => m !== me && m.instance.run === me.instance.run && m.proc.host === me.proc.host)
  }

  start(): void {
    for (const host of this.hosts) this.startHost(host)
    this.startWorker()
  }

  startHost(host: Host): void {
    host.up = true
    this.run(`switch ${host.name}`, host, (proc) => this.switchMain(proc))
    this.run(`agent ${host.name}`, host, (proc) => this.agentMain(proc))
  }

  startWorker(): void { this.run('worker', this.hosts[0]!, (proc) => this.workerMain(proc)) }

  kill(name: string): void {
    const proc = this.living.get(name)
    if (proc) this.w.kill(proc, 'it was killed')
  }

  /** Power is gone and comes again: processes, VMs, and what was not synced. */
  crash(host: Host, downMs: number): void {
    host.up = false
    for (const proc of this.w.procs.filter((p) => p.host === host && p.name !== 'am')) this.w.kill(proc, 'its host has crashed')
    if (this.hosts.every((h) => !h.up || this.hosts.length === 1)) {
      this.disk.crash(this.w.dice)
      this.disk.makeFolders(storeFolder)
      this.onCrash()
    }
    this.w.after(downMs, undefined, () => {
      this.startHost(host)
      if (host === this.hosts[0]) this.startWorker()
    })
  }

  /** Begins a process and starts it again when it dies, a moment later. */
  private run(name: string, host: Host, main: (proc: Proc) => Promise<void>): void {
    const { w } = this
    if (this.living.get(name)?.alive) return
    const proc = w.begin(name, host)
    this.living.set(name, proc)
    proc.onDeath.push(() => {
      if (this.living.get(name) !== proc) return
      w.after(w.dice.between(200, 1500), undefined, () => {
        if (host.up && this.supervised && !this.living.get(name)?.alive) this.run(name, host, main)
      })
    })
    w.after(0.1, proc, () => void main(proc).catch((error: unknown) => {
      w.line(`${name} cannot start: ${error instanceof Error ? product().errors.explain(error) : String(error)}`)
      if (!isExpected(error)) w.violate(`no bug: ${name} cannot start: ${error instanceof Error ? error.stack ?? '' : String(error)}`)
      w.kill(proc, 'it could not start')
    }))
  }

  private clock(proc: Proc) {
    const { w } = this
    return {
      now: () => w.wall(proc.host), monotonic: () => w.now + proc.offsetMs,
      sleep: (ms: number) => new Promise<void>((resolve) => { setTimeout(resolve, ms) }),
    }
  }

  private async switchMain(proc: Proc): Promise<void> {
    const { theSwitch, durable } = product()
    const folder = `/state/${proc.host.name}/switch`
    await durable.makeFolder(folder)
    const log = simLog(proc)
    const served: { by?: Awaited<ReturnType<typeof rpc.serveRpc>> } = {}
    const one = new theSwitch.Switch({
      folder, bootId: this.w.tokens.bytes(8).toString('hex'), clock: this.clock(proc), log, tell: (what, detail) => served.by?.notify(what, detail),
      isLed: () => (served.by?.peers() ?? 0) > 0,
    })
    proc.onDeath.push(() => {
      for (const machine of this.machines) {
        if (machine.proc.host !== proc.host) continue
        machine.based = false
        if (!machine.life.hasRun) continue
        const peers = this.peers(machine)
        machine.life.destroyUnderWay((from) => peers.find((p) => p.name === from)?.memory.sent[machine.name] ?? 0, peers.map((p) => p.name), this.w.now)
      }
    })
    served.by = await rpc.serveRpc(switchSocket(proc.host.name), { ...one.handlers, end: () => undefined }, log)
    setInterval(() => one.tick(), 100)
    this.w.line(`${proc.name} is up`)
  }

  private async agentMain(proc: Proc): Promise<void> {
    const p = product()
    const host = proc.host.name
    const folder = `/state/${host}`
    const log = simLog(proc)
    const clock = this.clock(proc)
    for (const path of [folder, storeFolder]) await p.durable.makeFolder(path)
    const hypervisor = simulatedHypervisor(this)
    const ballast = new p.ballast.Ballast(`${folder}/ballast`, log, (why) => participants.giveWay(why))
    const marks = new p.marks.SliceMarks(`${folder}/slices`)
    const layers = new p.layers.Layers(`${folder}/layers`, hypervisor)
    await marks.open()
    await layers.open()
    const served: { by?: Awaited<ReturnType<typeof rpc.serveRpc>> } = {}
    const switchLink: SwitchLink = new p.switchLink.SwitchLink({
      path: switchSocket(host), clock, log, onForwarded: (cut) => participants.forwarded(cut), onBack: () => registry.reconnect(),
    })
    const { simulatedImage: image } = p.image
    const registry: VmRegistry = new p.registry.VmRegistry({
      folder: `${folder}/vms`, runFolder: `/run/${host}`, hypervisor, switchLink, layers, marks, images: new Map([[image.name, image]]),
      diskImages: { lay: (name, layer) => images.lay(name, layer), ...noImages }, clock, log,
      onChange: (report) => served.by?.notify('vmChanged', report), mayStand: (vm) => participants.holds(vm), cutIsOver: (slice) => participants.settled(slice),
    })
    const parts = { host, store: storeFolder, registry, layers, switchLink, hypervisor, clock, log, watchRoom: () => ballast.watch() }
    const participants: Participants = new p.participants.Participants(`${folder}/cuts`, marks, parts)
    const images: Images = new p.images.Images({
      folder: `${folder}/images`, layers, registry, participants, hypervisor, clock, log, freeBytes: () => Promise.resolve(proc.host.disk.free),
      onLayersFree: () => void collapse.collect(),
    })
    const restores = new p.restores.RestoreHost(`${folder}/restores`, { ...parts, marks })
    await ballast.open()
    await switchLink.open()
    await registry.open()
    await images.open()
    await participants.recover()
    await restores.recover()
    await p.strays.endStrays({
      runFolder: `/run/${host}`, known: () => [...registry.pids(), ...restores.pids()],
      isUnreadable: (vm) => registry.isUnreadable(vm) || restores.isUnreadable(vm), clock, log,
    })
    await registry.resumeStopped()
    await registry.reconnect()
    const collapse: Collapse = new p.collapse.Collapse({ store: storeFolder, registry, participants, restores, images, layers, log })
    await collapse.collect()
    served.by = await rpc.serveRpc(agentSocket(host), p.agent.agentHandlers({
      host, accelerator: 'none', images: [image.name], store: storeFolder, registry, participants, restores, collapse, diskImages: images, marks, ...elsewhere,
    }), log)
    this.agents.set(host, { registry, participants, restores })
    this.servingSince.set(host, this.w.now)
    proc.onDeath.push(() => this.servingSince.delete(host))
    const complain = (error: unknown) => log.error({ err: error }, 'an outcome could not be read')
    setInterval(() => void Promise.all([participants.checkOutcomes(), restores.checkOutcomes()]).catch(complain), 2_000)
    setInterval(() => void ballast.watch().catch((error: unknown) => log.error({ err: error }, 'the free space cannot be seen')), 1_000)
    setInterval(() => collapse.soon(), 30_000)
    collapse.soon()
    log.info('agent is up')
  }

  private async workerMain(proc: Proc): Promise<void> {
    const p = product()
    const log = simLog(proc)
    const clock = this.clock(proc)
    const random = { bytes: (count: number) => this.w.tokens.bytes(count) }
    const store = p.redisStore.openSliceStore(this.redis.client)
    const hosts = await p.links.connectHosts({ hosts: this.hosts.map((h) => ({ name: h.name, socket: agentSocket(h.name) })), log, clock })
    const snapshots = await p.open.openSnapshots({
      links: hosts, journal: store.journal, store: storeFolder, keyPem, certificatePem, am: amUrn, software: 'simulated', clock, random, log, freeFloorBytes: 1024,
    })
    const parts: PeriodicParts = {
      store, hosts, snapshots, mode: 'live', graceMs: 7 * dayMs, clock, random, log, queue: this.redis.queue, schedulers: this.redis.schedulers,
      room: new p.room.SnapshotRoom({ quotas: {}, floorBytes: 1024 }),
    }
    const complain = (what: string) => (error: unknown) => log.error({ why: p.errors.explain(error) }, what)
    hosts.onVmChanged((report) => {
      const noted = p.watch.noteReport(parts, report).then(() => (report.condition === 'dead' ? p.recovery.recoverSlices(parts) : undefined))
      void noted.catch(complain('a report could not be noted'))
    })
    hosts.onHostLost((host) => void p.watch.noteHostChange(parts, host, 'host-lost').catch(complain('the loss of a host could not be noted')))
    hosts.onHostBack((host) => {
      void p.watch.noteHostChange(parts, host, 'host-back').catch(complain('the return of a host could not be noted'))
      void p.watch.reconcile(parts).catch(complain('the records could not be reconciled'))
    })
    await snapshots.recover()
    await p.watch.reconcile(parts)
    await p.watch.noteHosts(parts)
    for (const slice of await store.slices()) {
      await p.snapshotJobs.noteCatalogue(parts, slice.uuid)
      const open = slice.operation ? await store.operation(slice.operation.id) : undefined
      if (open?.ended === '') await parts.queue.add(open)
    }
    const runner = p.jobs.operationRunner(parts)
    const run = async (id: string) => { await runner(id) } // none is ever postponed: nothing is fetched here
    this.redis.serve({ proc, run, tick: (tick) => p.periodic.snapshotTick(parts, tick) })
    this.clockWork(parts, complain)
    log.info('worker is up')
  }

  /** As in jobs/main.ts. */
  private clockWork(parts: PeriodicParts, complain: (what: string) => (error: unknown) => void): void {
    const p = product()
    let busy = false
    setInterval(() => {
      if (busy) return
      busy = true
      const work = async () => {
        await p.periodic.expireSlivers(parts)
        await p.periodic.finishEndings(parts)
        await p.recovery.recoverSlices(parts)
        await p.periodic.keepSchedules(parts)
        await p.periodic.retireOld(parts)
      }
      void work().catch(complain('the clock work failed')).finally(() => { busy = false })
    }, 1_000)
    const lookForStrays = p.straySnapshots.strayLook(parts)
    setInterval(() => {
      const work = async () => {
        await p.watch.noteHosts(parts)
        await p.watch.reconcileUnanswered(parts)
        await p.periodic.mendLocks(parts)
        await p.kept.sweepKept(parts)
        await lookForStrays()
      }
      void work().catch(complain('the hosts could not be noted'))
    }, 5_000)
  }

  /** Which switch counts together with which devices, as they say it to each other. */
  private watchBases(): void {
    const of = (vm: string, run: string) => [...this.machines].find((m) => m.name === vm && m.instance.run === run)
    this.w.network.onAnswer = (_server, method, params) => {
      const ask = params as { vm: string; run: string; witnesses?: unknown[]; base?: unknown }
      if ((method === 'rebase' || method === 'cut') && ask.vm !== undefined) {
        const machine = of(ask.vm, ask.run)
        if (machine) machine.based = (ask.witnesses?.length ?? 0) > 0
      }
      if (method === 'addPort' && ask.base !== undefined) {
        const machine = of(ask.vm, ask.run)
        if (machine) machine.based = true
      }
    }
  }
}

const isExpected = (error: unknown): boolean => {
  const { Failure, Refusal } = product().errors
  return error instanceof Failure || error instanceof Refusal || (error as { code?: string }).code !== undefined
}

/** A slice with `count` nodes, spread over the hosts, one LAN on each host. */
export function newSlice(w: World, hosts: Host[], count: number, more: Partial<SliceRecord>): SliceRecord {
  const at = new Date(w.wall(hosts[0]!)).toISOString()
  const later = new Date(w.wall(hosts[0]!) + 20 * dayMs).toISOString()
  const slivers = Array.from({ length: count }, (_, i) => {
    const letter = 'abcdef'[i]!
    const host = hosts[Math.floor((i * hosts.length) / count)]!.name
    const latency = w.dice.chance(0.3) ? w.dice.between(1, 25) : 0
    const shapes = latency > 0 ? Array.from({ length: count }, (_x, j) => ({ from: j + 1, latencyMs: latency })).filter((s) => s.from !== i + 1) : undefined
    return {
      id: `v-${letter}`, urn: `urn:publicid:IDN+lab.example+sliver+v-${letter}`, clientId: letter, allocationIndex: 0, allocation: 'geni_provisioned' as const,
      operational: 'geni_notready' as const, error: '', resourceStatus: '', expires: later, host, loginPort: 22_000 + i, logins: [],
      node: { clientId: letter, sliverType: 'violin-vm', image: 'violin-linux', memoryMiB: 1, cpus: 1, diskMiB: 1, execute: [], interfaces: [] },
      nics: [{
        port: i + 1, clientId: `${letter}:0`, lan: `lan-${host}`, mac: `52:54:00:00:00:${letter.charCodeAt(0).toString(16)}`, ip: `10.0.0.${i + 1}`, prefixLength: 24,
        ...(shapes ? { shapes } : {}),
      }],
    }
  })
  return {
    format: 1, rev: 1, urn: 'urn:publicid:IDN+ch.example:lab+slice+exp1', uuid: '00000000-0000-4000-8000-000000000001', creator: 'urn:publicid:IDN+ch.example+user+alice',
    credentialExpires: later, run: '', epoch: 0, token: 0, head: '', operation: null, lastSnapshot: '', shutdown: false,
    allocations: [{ requestXml: '<rspec/>', at }], policy: null, slivers: slivers, nextPort: count + 1, ...more,
  }
}
