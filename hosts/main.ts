// The host agent: wires one host. Order matters: VMs are adopted and open cuts are ended before anybody can ask anything.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { join } from 'node:path'
import { armFaults } from '../base/fault-points.js'
import { raiseSession } from '../base/priority.js'
import { makeFolder, sweepAsides } from '../base/durable.js'
import { limits } from '../base/limits.js'
import { makeLog } from '../base/log.js'
import { serveRpc, type RpcServer } from '../base/rpc.js'
import { realClock as clock } from '../base/time.js'
import { formatDuration } from '../rspec/duration.js'
import { agentHandlers, type AgentParts } from './agent.js'
import { chooseAccelerator, type Accelerator } from './accelerator.js'
import { Ballast } from './ballast.js'
import { freeBytesAt } from './capacity.js'
import { Collapse } from './collapse.js'
import { FetchedImages } from './fetched-images.js'
import { Images } from './images.js'
import { readImage, simulatedImage, type GuestImage } from './guest-image.js'
import type { Hypervisor } from './hypervisor/hypervisor.js'
import { Qemu } from './hypervisor/qemu/qemu.js'
import { Simulated } from './hypervisor/simulated/simulated.js'
import { Layers } from './layers.js'
import { LocalImages } from './local-images.js'
import { Participants } from './participants.js'
import { RestoreHost } from './restore-host.js'
import { SliceMarks } from './slice-marks.js'
import { endStrays } from './strays.js'
import { SwitchLink } from './switch-link.js'
import { greet } from './ready.js'
import { VmRegistry } from './vm-registry.js'
import { Watchdog } from './watchdog.js'

export interface AgentConfig {
  host: string
  /** What this host must remember: records, layers, journals. */
  folder: string
  /** Short path for sockets, 0700. */
  runFolder: string
  /** Where snapshots live. */
  store: string
  socket: string
  switchSocket: string
  imageFolder: string
  /** Places that archives and disk images may be fetched from. */
  sources?: string[]
  /** What is kept of disk images that were fetched. */
  imageCacheBytes?: number
  /** Where the operator puts disk images; none without it. */
  diskImageFolder?: string
  freeFloorBytes?: number
  /** `simulated` needs neither image nor QEMU. */
  hypervisor: 'qemu' | 'simulated'
  qemu: string
  accelerator: Accelerator | 'auto'
  /** How long VMs run on when `up` is gone and no other has come. */
  aloneMs: number
  logLevel?: string
  /** Orders for fault points: tests only. */
  faults?: string
}

const config = JSON.parse(process.env['VIOLIN_CONFIG'] ?? '{}') as AgentConfig
const log = makeLog('agent', config.logLevel)
raiseSession() // its VMs are in it
armFaults(config.faults)
for (const folder of [config.folder, config.runFolder, config.store]) await makeFolder(folder)
await sweepAsides(config.folder)
const ballast: Ballast = new Ballast(join(config.folder, 'ballast'), log, (why) => participants.giveWay(why))

const simulated = config.hypervisor === 'simulated'
const image = simulated ? simulatedImage : await readImage(config.imageFolder)
const hypervisor = simulated ? new Simulated(clock) : await qemu(image)
const { accelerator } = hypervisor
const marks = new SliceMarks(join(config.folder, 'slices'))
const layers = new Layers(join(config.folder, 'layers'), hypervisor)
await marks.open()
await layers.open()

const served: { by?: RpcServer } = {}
const switchLink: SwitchLink = new SwitchLink({
  path: config.switchSocket, clock, log,
  onForwarded: (cut) => participants.forwarded(cut),
  onBack: () => registry.reconnect(),
})
const registry: VmRegistry = new VmRegistry({
  folder: join(config.folder, 'vms'), runFolder: config.runFolder, hypervisor, switchLink, layers, marks,
  images: new Map([[image.name, image]]), sources: config.sources ?? [], clock, log,
  diskImages: {
    lay: (name, layer) => (local.has(name) ? local.lay(name, layer) : images.lay(name, layer)),
    layFetched: (source, layer) => fetched.lay(source, layer), leastDiskMiB: (source) => fetched.leastDiskMiB(source),
  },
  onChange: (report) => served.by?.notify('vmChanged', report),
  mayStand: (vm) => participants.holds(vm),
  cutIsOver: (slice) => participants.settled(slice),
})
const parts = { host: config.host, store: config.store, registry, layers, switchLink, hypervisor, clock, log, watchRoom: () => ballast.watch() }
const participants: Participants = new Participants(join(config.folder, 'cuts'), marks, parts)
const images: Images = new Images({
  folder: join(config.folder, 'images'), layers, registry, participants, hypervisor, clock, log,
  freeBytes: () => freeBytesAt(config.folder), onLayersFree: () => void collapse.collect(),
})
const fetched: FetchedImages = new FetchedImages({
  folder: join(config.folder, 'fetched-images'), layers, hypervisor, places: config.sources ?? [], mostBytes: config.imageCacheBytes ?? limits.imageCacheBytes,
  freeBytes: () => freeBytesAt(config.folder), clock, log,
})
const local: LocalImages = new LocalImages({
  from: config.diskImageFolder ?? join(config.folder, 'no-images'), folder: join(config.folder, 'local-images'), layers, hypervisor, guest: image.name,
  taken: () => [image.name, ...images.list().map(({ name }) => name)],
  freeBytes: () => freeBytesAt(config.folder), floorBytes: config.freeFloorBytes ?? limits.freeFloorBytes, clock, log,
})
const restores = new RestoreHost(join(config.folder, 'restores'), { ...parts, marks })

await ballast.open()
await switchLink.open()
await registry.open()
await images.open()
await fetched.open()
await local.open()
await participants.recover()
await restores.recover()
await endStrays({
  runFolder: config.runFolder, known: () => [...registry.pids(), ...restores.pids()],
  isUnreadable: (vm) => registry.isUnreadable(vm) || restores.isUnreadable(vm), clock, log,
})
await registry.resumeStopped()
await registry.reconnect()

const collapse: Collapse = new Collapse({ store: config.store, registry, participants, restores, images, layers, log })
const agent: AgentParts = {
  host: config.host, accelerator, images: [image.name], store: config.store, registry, participants, restores, collapse, diskImages: images, marks,
  fetchedImages: fetched, localImages: local,
}
await collapse.collect()
images.resume()
const server = await serveRpc(config.socket, agentHandlers(agent), log)
served.by = server
log.info({ host: config.host, accelerator, socket: config.socket }, 'agent is up')
if (process.connected) process.send?.({ ready: true, accelerator })

async function qemu(guest: GuestImage): Promise<Hypervisor> {
  const chosen = await chooseAccelerator({ wanted: config.accelerator, binary: config.qemu, image: guest, folder: config.folder, clock, log })
  const version = (await promisify(execFile)(config.qemu, ['--version'])).stdout.split('\n')[0]!
  return new Qemu({ binary: config.qemu, accelerator: chosen, version, makeRoom: () => ballast.release() }, clock, log)
}

let ending = false
let alone: NodeJS.Timeout | undefined
const outcomesMs = 2_000
const collapseMs = 30_000
const roomMs = 500
const watching = setInterval(() => {
  void Promise.all([participants.checkOutcomes(), restores.checkOutcomes()])
    .catch((error: unknown) => log.error({ err: error }, 'an outcome could not be read'))
}, outcomesMs)

const room = setInterval(() => {
  void ballast.watch().catch((error: unknown) => log.error({ err: error }, 'the free space cannot be seen'))
}, roomMs)
const merging = setInterval(() => collapse.soon(), collapseMs)
collapse.soon()
const watchdog = new Watchdog({
  clock, log,
  watched: () => registry.watched(),
  isExcused: ({ instance: { spec: { slice, vm } } }) => participants.excuses(slice) || participants.holds(vm) || restores.isRestoring(slice),
  greet: ({ instance: { spec } }, withinMs, signal) => greet(spec.loginPort, withinMs, signal),
  end: (vm, why) => vm.kill(why),
})
const lookMs = 500
const looking = setInterval(() => watchdog.turn(), lookMs)
const localMs = 2_000
const locals = setInterval(() => { if (config.diskImageFolder !== undefined) void local.look() }, localMs)
const consolesMs = 5_000
let bounding = false
const consoles = setInterval(() => {
  if (bounding) return
  bounding = true
  void registry.boundConsoles().finally(() => { bounding = false })
}, consolesMs)

// When `up` is killed we stay: what was being cut or restored is ended as ever, so that no VM is left standing, and the next `up` puts
// an agent of its own in our place. When none comes for long, nothing is left behind.
process.once('disconnect', beAlone)
if (!process.connected) beAlone() // it went while we were starting
process.on('SIGTERM', () => void end())

function beAlone(): void {
  if (ending) return
  log.warn({ forMs: config.aloneMs }, 'up is gone: VMs run on until another one comes, or this time is over')
  alone = setTimeout(() => void endAlone(), config.aloneMs)
}

async function endAlone(): Promise<void> {
  log.warn('no other up has come: ending the VMs and the switch')
  await registry.endAll(`no \`violin up\` had run on its host for ${formatDuration(config.aloneMs)}: it was ended`)
  await end(() => switchLink.end())
}

async function end(last: () => Promise<void> = () => Promise.resolve()): Promise<void> {
  ending = true
  clearTimeout(alone)
  for (const timer of [watching, merging, room, looking, consoles, locals]) clearInterval(timer)
  watchdog.close()
  await Promise.all([collapse.stop(), images.stop(), fetched.stop(), local.stop()])
  await server.close()
  registry.releaseAll()
  await last().catch((error: unknown) => log.error({ err: error }, 'the switch could not be ended'))
  switchLink.close()
  if (process.connected) process.disconnect()
}
