// What a host does in a cut: the effects of the participant (snapshots/participant.ts) on real VMs, files and the switch.
import { createHash } from 'node:crypto'
import { rename, rm, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { digestOf } from '../base/digest.js'
import { makeFolder, syncFolder } from '../base/durable.js'
import { explain, Failure, unreachable } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import type { Log } from '../base/log.js'
import { lead, stopLeading } from '../base/priority.js'
import { within, type Clock } from '../base/time.js'
import type { ClosedLog } from '../overlay/control.js'
import type { CutOrder, CutReport, CutVm, HostReport, Part, SealedVm } from '../snapshots/messages.js'
import type { Outcome } from '../snapshots/messages.js'
import type { Work } from '../snapshots/participant.js'
import { cutVm } from './cut-vm.js'
import type { Hypervisor, Vm } from './hypervisor/hypervisor.js'
import type { Layers } from './layers.js'
import type { SwitchLink } from './switch-link.js'
import type { VmRegistry } from './vm-registry.js'

export interface CutHostParts {
  host: string
  store: string
  registry: VmRegistry
  layers: Layers
  switchLink: SwitchLink
  hypervisor: Hypervisor
  clock: Clock
  log: Log
  /** Looks for a full disk now; where it is, cuts that are not sealed are void (Participants.giveWay). */
  watchRoom(): Promise<void>
}

/** In `drop` mode the cuts are spread over this, to show what a snapshot without holding and recording loses. */
const dropSpreadMs = 100
const retryMs = 500
const stayMs = 500
/** The longest wait for the turn of one VM, and for those of all. */
const turnMs = 50
const allTurnsMs = 1_000
/** Rescue and `cont` need some seconds. A VM that cannot be let run for so long never will be, and its slice would wait for it for ever. */
const letRunMs = 60_000
/** A monitor that is silent for so long is left to the rescue; a switch that is, puts back when it does not stand any more (hole 45). */
const askMs = 1_000

export class CutHost {
  private readonly at: CutHostParts
  private readonly order: CutOrder
  private closed: ClosedLog | undefined
  private voidingSince: number | undefined
  /** What was begun before the cut is void may still be under way then: it goes on beside the voiding, and must not undo it (hole 32). */
  private underWay: Promise<unknown> = Promise.resolve()
  private isVoid = false
  private readonly standing = new Set<Promise<unknown>>()

  constructor(parts: CutHostParts, order: CutOrder) {
    this.at = parts
    this.order = order
  }

  async work(work: Work, outcome: Outcome | undefined): Promise<HostReport | undefined> {
    switch (work) {
      case 'prepare': return this.noted(this.prepare())
      case 'cut': return this.noted(this.cut())
      case 'seal': return this.seal()
      case 'end': return this.end()
      case 'void': return this.void(outcome)
      default: return unreachable(work)
    }
  }

  private noted(work: Promise<HostReport>): Promise<HostReport> {
    this.underWay = work.catch(() => undefined)
    return work
  }

  private get folder(): string { return join(this.at.store, this.order.slice, this.order.snapshot) }
  private get ref() { return { slice: this.order.slice, run: this.order.run, k: this.order.k, op: this.order.op } }
  private get channelsName(): string { return `channels-${this.at.host}.frames` }

  private async prepare(): Promise<HostReport> {
    const { order } = this
    const live = this.at.registry.runningOf(order.slice).map((vm) => vm.instance)
    for (const name of order.vms) {
      const instance = live.find((i) => i.spec.vm === name)
      if (!instance) throw new Failure('failed', `${name} is not running on ${this.at.host}`)
      if (instance.run !== order.run) throw new Failure('failed', `${name} lives in run ${instance.run}, not in ${order.run}`)
    }
    await makeFolder(this.folder)
    await allOrFirstError(order.vms.map((name) => this.at.registry.vm(name).prepareCut({
      overlay: this.at.layers.path(`${name}.${order.op}.qcow2`),
      memoryFile: join(this.folder, `${name}.memory.part`),
      background: order.kind === 'live' && order.mode !== 'stop',
      stayStopped: order.kind === 'suspend',
    })))
    faultPoint('agent.prepare.made')
    const rule = order.mode === 'drop' ? 'drop' : order.mode === 'uncoordinated' ? 'none' : 'colour'
    const { bootId } = await this.at.switchLink.ask('prepare', { ...this.ref, rule })
    return { progress: 'prepared', switchBootId: bootId }
  }

  private async cut(): Promise<CutReport> {
    const { order } = this
    lead()
    const cuts = await this.whileWeSeeToIt(this.cutAll()).finally(stopLeading)
    // Every port here is past the cut and one host has no tunnels: what waits is copied and the log closes.
    this.closed = await this.at.switchLink.ask('closeLog', { ...this.ref, file: join(this.folder, `${this.channelsName}.part`) })
    faultPoint('agent.cut.log-closed')
    for (const name of order.vms) await this.at.registry.disks.note(name)
    const vms = cuts.map(({ switchBootId: _, ...cut }) => cut)
    return { progress: 'cut', switchBootId: this.closed.bootId, vms }
  }

  /** A monitor may be silent for seconds between gate and flip: while we are at it the switch goes forward for no such reason (hole 34). */
  private async whileWeSeeToIt<T>(work: Promise<T>): Promise<T> {
    const saying = setInterval(() => void this.at.switchLink.ask('stay', this.ref).catch(() => undefined), stayMs)
    saying.unref()
    return work.finally(() => clearInterval(saying))
  }

  private async cutAll(): Promise<(CutVm & { switchBootId: string })[]> {
    const { order } = this
    const one = (name: string) => cutVm({
      vm: this.at.registry.vm(name), order, switchLink: this.at.switchLink, clock: this.at.clock, isVoid: () => this.isVoid,
      standing: (flip) => this.standing.add(flip.catch(() => undefined)),
    })
    const cuts: (CutVm & { switchBootId: string })[] = []
    if (order.mode === 'uncoordinated') for (const name of order.vms) cuts.push(await one(name))
    else {
      const spread = order.mode === 'drop' ? dropSpreadMs / Math.max(1, order.vms.length - 1) : 0
      const turns = this.turns()
      cuts.push(...await allOrFirstError(order.vms.map((name, i) => {
        const mine = (spread > 0 ? this.at.clock.sleep(i * spread) : turns.before(i)).then(() => one(name))
        turns.taken(i, mine)
        return mine
      })))
    }
    if (order.kind === 'live') await Promise.all(order.vms.map((name) => this.at.registry.vm(name).saveAtFullSpeed()))
    return cuts
  }

  /**
   * Half as many VMs at a time as there are processors: what a stopped VM waits for takes some 10 ms of one, and those side by side would stand
   * for each other. Nobody is gated before its turn. One that does not drain does not keep the others from theirs for long: the whole must be
   * over before frames are held for too long. Those that stand until they are written go at once: their memory is what takes the time.
   */
  private turns(): { before: (i: number) => Promise<unknown>; taken: (i: number, by: Promise<unknown>) => void } {
    const { kind, mode, vms } = this.order
    const many = kind === 'live' && mode !== 'stop' ? Math.max(1, Math.floor(availableParallelism() / 2)) : vms.length
    const lanes: Promise<unknown>[] = Array.from({ length: many }, () => Promise.resolve())
    return {
      before: (i) => {
        const turn = Math.floor(i / many)
        return turn === 0 ? lanes[i % many]! : Promise.race([lanes[i % many]!, this.at.clock.sleep(Math.min(turn * turnMs, allTurnsMs))])
      },
      taken: (i, by) => {
        by.catch(() => undefined)
        lanes[i % many] = by // where it fails the next does not begin: the cut is void
      },
    }
  }

  private async seal(): Promise<HostReport> {
    await this.at.watchRoom() // before what was reserved too much comes back and hides it
    const vms = await Promise.all(this.order.vms.map((name) => this.sealVm(name)))
    const channels = await this.sealPart(`${this.channelsName}.part`, this.channelsName)
    faultPoint('agent.seal.channels')
    await syncFolder(this.folder)
    return { progress: 'sealed', vms, channels, log: this.closed! }
  }

  private async sealVm(name: string): Promise<SealedVm> {
    const vm = this.at.registry.vm(name)
    const { spec, layers } = vm.instance
    faultPoint('agent.seal.saving')
    const { savedAt } = await vm.finishSave()
    faultPoint('agent.seal.saved')
    const memory = await this.sealPart(`${name}.memory.part`, `${name}.memory`)
    faultPoint('agent.seal.memory')
    const frozen = await this.at.layers.seal(layers.slice(0, -1)) // the last one is being written to: it came with the cut
    faultPoint('agent.seal.layers')
    const specDigest = createHash('sha256').update(JSON.stringify(spec)).digest('hex')
    const { version, machine } = this.at.hypervisor
    return { vm: name, spec, memory, layers: frozen, hypervisor: { version, machine, specDigest }, ...(savedAt !== undefined ? { savedAt } : {}) }
  }

  private async sealPart(from: string, name: string): Promise<Part> {
    const path = join(this.folder, from)
    const [digest, { size }] = await Promise.all([digestOf(path), stat(path)])
    await rename(path, join(this.folder, name))
    return { name, bytes: size, digest }
  }

  private async end(): Promise<HostReport> {
    if (this.order.kind === 'suspend') {
      for (const name of this.order.vms) {
        await this.at.registry.stop(name, 'the slice is suspended')
        faultPoint('agent.end.stopped')
      }
      await this.at.switchLink.ask('closeRun', { slice: this.order.slice, run: this.order.run })
    }
    return { progress: 'told' }
  }

  /** Every VM runs or is dead, every port goes forward, no part is left. Repeated until it succeeds. */
  private async void(outcome: Outcome | undefined): Promise<HostReport> {
    this.voidingSince ??= this.at.clock.monotonic()
    this.isVoid = true
    try {
      await this.whileWeSeeToIt(Promise.all(this.standing)) // some ms; each call in it has a deadline
      const vms = this.at.registry.runningOf(this.order.slice).filter((vm) => this.order.vms.includes(vm.instance.spec.vm))
      faultPoint('agent.void.before-put-back')
      await this.whileWeSeeToIt(Promise.all(vms.map((vm) => this.putBackFor(vm))))
      faultPoint('agent.void.put-back')
      await allOrFirstError(vms.map((vm) => this.letRunOrEnd(vm)))
      faultPoint('agent.void.running')
      await this.at.switchLink.ask('forward', this.ref)
      faultPoint('agent.void.forwarded')
      await this.underWay // it ends: each call in it has a deadline, and the switch refuses what belongs to this cut
      await Promise.all(vms.map((vm) => vm.abandonCut()))
      faultPoint('agent.void.abandoned')
      for (const name of this.order.vms) {
        await rm(join(this.folder, `${name}.memory.part`), { force: true })
        await rm(join(this.folder, `${name}.memory`), { force: true })
      }
      await rm(join(this.folder, `${this.channelsName}.part`), { force: true })
      await rm(join(this.folder, this.channelsName), { force: true })
      for (const vm of vms) await this.at.registry.disks.note(vm.instance.spec.vm) // writes, so after room was made: the disk may be full
      this.at.log.info({ ...this.ref, outcome }, 'cut is void: every VM runs')
      return { progress: 'told' }
    } catch (error) {
      this.at.log.error({ ...this.ref, why: explain(error) }, 'voiding a cut failed: trying again')
      await this.at.clock.sleep(retryMs)
      throw error
    }
  }

  /**
   * A VM that was stopped and whose ports have not turned: its device has thrown away what the guest had not taken, and the switch still
   * counts it as delivered. It is put back now, as at a flip; else it is lost, and the next cut takes frames that the guest has for it (hole 41).
   * One whose ports have turned is refused, and so is one of a cut that the switch does not know any more, or has given up (then it puts back all
   * the same, hole 53). Costs no more than a moment.
   */
  private async putBackFor(vm: Vm): Promise<void> {
    const { order } = this
    if (order.mode === 'uncoordinated' || order.force) return // what was not drained is not known exactly
    const silent = () => new Failure('timed-out', 'its monitor is silent')
    try {
      if (await within(askMs, vm.isRunning(), silent)) return
      const witnesses = await within(askMs, vm.witnesses(), silent)
      await this.at.switchLink.ask('cut', { ...this.ref, vm: vm.instance.spec.vm, witnesses, putBack: true }, askMs)
    } catch (error) {
      this.at.log.info({ ...this.ref, vm: vm.instance.spec.vm, why: explain(error) }, 'its ports have not turned')
    }
  }

  /** After: it runs, or has ended. */
  private async letRunOrEnd(vm: Vm): Promise<void> {
    try {
      await vm.letRun()
    } catch (error) {
      if (vm.ended !== undefined) return
      if (this.at.clock.monotonic() - this.voidingSince! < letRunMs) throw error
      await vm.kill(`it could not be let run within ${letRunMs / 1000} s when a cut was given up: ${explain(error)}`)
    }
  }
}

/** Waits for all, so that nothing of a failed cut is still under way when it is voided; then the first error counts. */
async function allOrFirstError<T>(work: Promise<T>[]): Promise<T[]> {
  const ends = await Promise.allSettled(work)
  for (const end of ends) if (end.status === 'rejected') throw end.reason
  return ends.map((end) => (end as PromiseFulfilledResult<T>).value)
}
