// The driver of simulated machines: hosts/hypervisor/hypervisor.ts as the agent needs it, over the machines of its host. What a driver
// does in its agent's process (files, deadlines, waiting) is done in that process here too, and dies with it.
import { call, inodeOf, open, readFile, rm } from './modules/fs-promises.js'
import { setTimeout } from './modules/globals.js'
import { Machine, type MemoryImage, type Slice } from './machine.js'
import { product } from '../product.js'
import { world, type Proc } from './world.js'
import type { CutPlan, Hypervisor, LayerOn, LayersToMerge, Vm, VmInstance } from '../../../hosts/hypervisor/hypervisor.js'

const monitorMs = 4_000
const saveMs = 120_000

type Act<T> = (machine: Machine, done: (value: T) => void, fail: (why: string) => void) => void

export class SimulatedVm implements Vm {
  readonly instance: VmInstance
  private readonly machine: Machine
  private readonly agent: Proc
  private readonly ending = new (product().ending.Ending)()
  private sink: Awaited<ReturnType<typeof open>> | undefined
  private plan: CutPlan | undefined
  private sinceStop: string[] = []

  constructor(instance: VmInstance, machine: Machine) {
    this.instance = instance
    this.machine = machine
    this.agent = world().self()
    machine.onEnd.push((why) => { if (this.agent.alive) world().after(0.1, this.agent, () => this.ending.tell(why)) })
  }

  get ended(): string | undefined { return this.ending.reason }
  onEnd(listener: (reason: string) => void): void { this.ending.onEnd(listener) }

  isRunning(): Promise<boolean> { return this.ask('query-status', (m, done) => done(m.running)) }
  openLogin(): Promise<void> { return this.ask('hostfwd_add', (m, done) => {
    m.openLogin()
    done(undefined)
  }) }
  async setLogins(): Promise<void> { /* its guest looks at the configuration disk */ }
  resume(): Promise<void> { return this.ask('cont', (m, done) => {
    m.resume()
    done(undefined)
  }) }
  witnesses() { return this.ask('query-queues', (m, done: (w: ReturnType<Machine['witnesses']>) => void) => done(m.witnesses())) }

  async prepareCut(plan: CutPlan): Promise<void> {
    if (this.plan) await this.abandonCut()
    await this.earlierSaveEnds()
    await call('open wx', plan.overlay, (disk) => { disk.create(plan.overlay) })
    try {
      const sink = await open(plan.memoryFile, 'wx')
      this.sink = sink
      await call('write', plan.memoryFile, (disk) => disk.reserve(disk.get(plan.memoryFile), 4096))
      await this.ask('getfd', (m, done) => {
        m.save = {
          overlay: plan.overlay, sink: inodeOf(sink.fd)!, path: plan.memoryFile, background: plan.background, stayStopped: plan.stayStopped,
          flipped: false, end: undefined,
        }
        done(undefined)
      })
    } catch (error) {
      await rm(plan.overlay, { force: true })
      await rm(plan.memoryFile, { force: true })
      throw error
    }
    this.plan = plan
  }

  async stop() {
    this.sinceStop = ['STOP']
    return this.ask('stop', (m, done: (v: { stoppedAt: number; witnesses: ReturnType<Machine['stop']> }) => void) => {
      if (m.manners.dieInCut === 'stop') return m.kill('its process ended in stop')
      done({ witnesses: m.stop(), stoppedAt: world().wall(m.proc.host) })
    })
  }

  async save(): Promise<{ resumedAt: number | undefined }> {
    const plan = this.plan!
    this.mustHaveStood('STOP')
    const resumedAt = await this.ask<number>('migrate', (m, done) => {
      if (m.manners.dieInCut === 'save') return m.kill('its process ended in the save')
      m.flipAndSave(() => done(world().wall(m.proc.host)))
      if (!plan.background) done(0)
    })
    this.instance.layers = [...this.machine.layers]
    if (plan.background) {
      this.sinceStop.push('RESUME')
      this.mustHaveStood('STOP RESUME')
      return { resumedAt }
    }
    await this.saved()
    if (plan.stayStopped) return { resumedAt: undefined }
    await this.resume()
    return { resumedAt: world().wall(this.machine.proc.host) }
  }

  async saveAtFullSpeed(): Promise<void> { /* its writing stands in nobody's way */ }

  async finishSave(): Promise<{ bytes: number }> {
    await this.saved()
    const sink = this.sink!
    const bytes = (await sink.readFile()).length
    await sink.truncate(bytes)
    await sink.sync()
    await sink.close()
    this.plan = undefined
    return { bytes }
  }

  async letRun(): Promise<void> {
    try {
      if (await this.isRunning()) return
    } catch (error) {
      if (!this.machine.alive) throw error
      this.machine.rescue()
    }
    await this.resume()
    this.sinceStop.push('RESUME')
  }

  async abandonCut(): Promise<void> {
    if (this.ended !== undefined || !this.machine.alive) {
      this.plan = undefined
      return
    }
    await this.letRun()
    const { plan, machine } = this
    if (!plan) return
    if (machine.save?.end !== undefined && (await this.saveEnds()) !== 'completed') machine.rescue()
    await this.letRun()
    if (machine.save?.flipped === false) await rm(plan.overlay, { force: true })
    this.instance.layers = [...machine.layers]
    await this.sink?.close()
    await rm(plan.memoryFile, { force: true })
    this.plan = undefined
    machine.save = undefined
  }

  async freezeDisk(overlay: string): Promise<void> {
    if (this.plan) throw new (product().errors.Failure)('failed', `a cut of ${this.machine.name} is under way`)
    await call('open wx', overlay, (disk) => { disk.create(overlay) })
    await this.ask('blockdev-snapshot', (m, done) => {
      m.layers.push(overlay)
      done(undefined)
    })
    this.instance.layers = [...this.machine.layers]
  }

  async replaceLayers(layers: string[], by: string): Promise<void> {
    if (this.plan) throw new (product().errors.Failure)('failed', `a cut of ${this.machine.name} is under way`)
    await this.ask('blockdev-reopen', (m, done) => {
      m.layers.splice(m.layers.indexOf(layers[0]!), layers.length, by)
      done(undefined)
    })
    this.instance.layers = [...this.machine.layers]
  }

  async kill(why?: string): Promise<void> {
    if (why !== undefined) this.ending.foresee(why)
    await call('kill', this.machine.name, () => this.machine.kill('it was ended'))
    this.ending.tell('it was stopped')
  }

  release(): void { /* the machine lives on */ }

  learnLayers(): Promise<void> {
    return this.ask('query-block', (m, done) => done(undefined)).then(() => { this.instance.layers = [...this.machine.layers] })
  }

  private mustHaveStood(seen: string): void {
    if (this.sinceStop.join(' ') !== seen) throw new (product().errors.Failure)('aborted', `${this.machine.name} did not stand through its cut`)
  }

  private async saved(): Promise<void> {
    const end = await this.saveEnds()
    if (end !== 'completed') throw new (product().errors.Failure)('failed', `writing its memory ${end}`)
  }

  /** Looks until the save has ended, one way or the other. */
  private async saveEnds(): Promise<string> {
    for (const end = world().now + saveMs; world().now < end;) {
      const now = await this.ask<string>('query-migrate', (m, done) => done(m.save?.end ?? 'none'))
      if (now !== 'running') return now
      await new Promise<void>((resolve) => { setTimeout(resolve, 5) })
    }
    return 'unfinished'
  }

  /** An agent that died in a cut leaves a VM that is still being saved; a failed one is rescued. */
  private async earlierSaveEnds(): Promise<void> {
    if (!this.machine.save?.end) return
    if ((await this.saveEnds()) === 'failed') this.machine.rescue()
  }

  private ask<T = void>(what: string, act: Act<T>): Promise<T> {
    const w = world()
    const { machine } = this
    const agent = w.self()
    const { Failure } = product().errors
    return new Promise<T>((resolve, reject) => {
      if (!w.step(agent)) return
      let over = false
      const settle = (then: () => void) => {
        if (over) return
        over = true
        late.off = true
        w.after(w.dice.between(0.02, 0.2), agent, then)
      }
      const lost = (why: string) => settle(() => reject(new Failure('failed', `${machine.instance.spec.clientId}: ${why}`)))
      const late = w.timer(() => {
        over = true
        reject(new Failure('failed', `${machine.instance.spec.clientId}: ${what}: its monitor did not answer within ${monitorMs} ms`))
      }, monitorMs, false)
      if (!machine.alive) return lost(this.ended ?? `${what}: its monitor was closed`)
      machine.onEnd.push(() => lost(`${what}: its monitor was closed`))
      const silent = machine.manners.monitorSilentMs
      machine.manners.monitorSilentMs = 0
      machine.monitorAt = Math.max(machine.monitorAt, w.now) + (w.dice.chance(0.2) ? w.dice.between(1, 15) : w.dice.between(0.02, 0.3)) + silent // one after another, as a monitor does them
      w.after(machine.monitorAt - w.now, machine.proc, () => act(machine, (value) => settle(() => resolve(value)), lost))
    })
  }
}

/** The hypervisor of one host, as one life of its agent has it. */
export function simulatedHypervisor(slice: Slice): Hypervisor {
  const self = world().self()
  const begin = async (instance: VmInstance, from?: MemoryImage): Promise<SimulatedVm> => {
    const machine = await call('spawn', instance.spec.vm, () => new Machine(self.host, instance, slice, from))
    Object.assign(instance, { pid: machine.proc.pid, started: String(machine.proc.pid) })
    return new SimulatedVm(instance, machine)
  }
  return {
    accelerator: 'none', version: 'simulated', machine: 'simulated',
    makeLayer: (path: string, _on: LayerOn) => call('open w', path, (disk) => { disk.create(path) }),
    importDisk: () => Promise.reject(new Error('disk images from elsewhere are not simulated')),
    async mergeLayers(path: string, what: LayersToMerge) {
      const file = await open(path, 'wx')
      await call('write', path, (disk) => {
        const text = what.layers.map((layer) => disk.get(layer).data).filter((data) => data.length > 0).at(-1)
        if (text) disk.write(disk.get(path), text)
      })
      await file.sync()
      await file.close()
    },
    async boot(instance) {
      const vm = await begin(instance)
      await call('kill', instance.spec.vm, () => slice.byPid.get(instance.pid!)!.boot())
      return vm
    },
    async load(instance, memoryFile) {
      const image = JSON.parse(await readFile(memoryFile, 'utf8') as string) as MemoryImage
      if (image.format !== 'simulated-1') throw new Error('this is no memory file')
      return begin(instance, image)
    },
    async adopt(instance) {
      const machine = slice.byPid.get(instance.pid ?? -1)
      if (!machine?.alive) return undefined
      const vm = new SimulatedVm(instance, machine)
      await vm.learnLayers()
      return vm
    },
  }
}
