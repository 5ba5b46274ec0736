// The process of one simulated VM: it outlives its agent as a QEMU does, and dies of kill -9 as one does. Its one argument
// says what it is (SimulatedConfig).
import { appendFileSync, readFileSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { performance } from 'node:perf_hooks'
import { explain, Failure } from '../../../base/errors.js'
import { silentLog } from '../../../base/log.js'
import { serveRpc } from '../../../base/rpc.js'
import { newSshKeys } from '../../../base/ssh-key.js'
import { realClock as clock, until } from '../../../base/time.js'
import type { CutPlan } from '../hypervisor.js'
import { LayeredDisk, makeLayerFile } from './layer-file.js'
import { makeLoginServer } from './login.js'
import { Machine, type MachineImage } from './machine.js'
import type { MonitorAsks, SimulatedConfig } from './monitor.js'
import { Wire } from './wire.js'

type Handlers = { [K in keyof MonitorAsks]: (ask: MonitorAsks[K][0]) => Promise<MonitorAsks[K][1]> }
interface Prepared { plan: CutPlan; flipped: boolean; saved?: Promise<number> }

const turnMs = 2
const flushMs = 2_000
/** Writing memory takes a moment, so that there is a time in which it is being written. */
const writingMs = 50

const config = JSON.parse(process.argv.at(-1)!) as SimulatedConfig
const disk = new LayeredDisk(config.layers, config.spec.vm)
const wires: Wire[] = config.spec.nics.map((_, i) => new Wire({ onFrame: (frame) => machine.wire(i, frame) }))
const image = config.incoming === undefined ? undefined : JSON.parse(readFileSync(config.incoming, 'utf8')) as MachineImage
const machine: Machine = new Machine({
  spec: config.spec, disk, hostKey: image ? '' : newSshKeys().private,
  now: () => clock.monotonic(), send: (nic, frame) => wires[nic]!.send(frame),
}, image)
const logins = makeLoginServer({ hostKey: machine.hostKey, logins: config.spec.logins, hostName: config.spec.clientId, run: (line) => machine.command(line) })
let prepared: Prepared | undefined
/** The life that the last stop ended: a cut is saved in no other (cut protocol, hole 5). */
let stoppedLife = 0

/** As QEMU stamps its events: wall clock, ms, with fractions. */
const stamp = () => performance.timeOrigin + performance.now()

async function stop(): Promise<{ stoppedAt: number }> {
  machine.stop()
  stoppedLife = machine.lives
  const stoppedAt = stamp()
  const flushed = await until(clock, flushMs, 0, () => (wires.every((wire) => wire.isFlushed) ? true : undefined))
  if (!flushed) throw new Failure('timed-out', 'the switch does not read what was sent to it')
  return { stoppedAt }
}

/** What is sealed is what the guest was at its cut, however long writing it takes. */
async function writeMemory(path: string, text: string): Promise<number> {
  const file = await open(path, 'r+')
  try {
    await clock.sleep(writingMs)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  return Buffer.byteLength(text)
}

async function abandon(): Promise<null> {
  const gone = prepared
  prepared = undefined
  machine.resume()
  if (!gone) return null
  await gone.saved?.catch(() => undefined)
  if (!gone.flipped) await rm(gone.plan.overlay, { force: true })
  await rm(gone.plan.memoryFile, { force: true })
  return null
}

const handlers: Handlers = {
  status: async () => ({ running: machine.running, layers: disk.layers }),
  resume: async () => {
    machine.resume()
    return null
  },
  openLogin: async () => {
    await logins.listen(config.spec.loginPort)
    return null
  },
  setLogins: async ({ logins: changed }) => {
    logins.allow(changed)
    return null
  },
  witnesses: async () => machine.witnesses(),
  prepareCut: async (plan) => {
    if (prepared) await abandon()
    await (await open(plan.memoryFile, 'wx', 0o600)).close()
    try {
      await makeLayerFile(plan.overlay)
    } catch (error) {
      await rm(plan.memoryFile, { force: true })
      throw error
    }
    prepared = { plan, flipped: false }
    return null
  },
  stop: async () => ({ ...await stop(), witnesses: machine.witnesses() }),
  save: async () => {
    const cut = prepared
    if (!cut || machine.running || machine.lives !== stoppedLife) throw new Failure('aborted', 'it did not stand through its cut')
    disk.change(cut.plan.overlay)
    cut.flipped = true
    cut.saved = writeMemory(cut.plan.memoryFile, JSON.stringify(machine.image()))
    cut.saved.catch(() => undefined)
    if (!cut.plan.background) await cut.saved
    if (cut.plan.stayStopped) return {}
    machine.resume()
    return { resumedAt: stamp() }
  },
  finishSave: async () => {
    if (!prepared?.saved) throw new Failure('failed', 'there is no cut to finish')
    const bytes = await prepared.saved
    prepared = undefined
    return { bytes }
  },
  abandonCut: async () => abandon(),
  freezeDisk: async ({ overlay }) => {
    if (prepared) throw new Failure('failed', 'a cut is under way')
    await makeLayerFile(overlay)
    disk.change(overlay)
    return null
  },
  replaceLayers: async ({ layers, by }) => {
    if (prepared) throw new Failure('failed', 'a cut is under way')
    disk.replace(layers, by)
    return null
  },
}

const say = (text: string) => appendFileSync(config.console, `${text}\n`)
try {
  for (const [i, wire] of wires.entries()) await wire.listen(config.nicSockets[i]!)
  await serveRpc(config.monitor, handlers, silentLog)
  say(image ? 'simulated: loaded' : 'simulated: booted')
} catch (error) {
  say(`simulated: ${explain(error)}`)
  throw error
}
setInterval(() => {
  machine.turn()
  if (machine.running) for (const [i, wire] of wires.entries()) if (machine.hasRoom(i)) wire.resume()
}, turnMs)
