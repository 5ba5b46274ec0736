// The VMs of this host: a record of each on disk (written before anything is started, so that the next agent finds every
// process), the running ones in memory, and their life: define, start, stop, destroy, adopt, die.
import { join } from 'node:path'
import { removeDurably, writeDurably } from '../base/durable.js'
import { explain, Failure, Refusal } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import type { Log } from '../base/log.js'
import { readableOr } from '../base/records.js'
import type { Clock } from '../base/time.js'
import { Turns } from '../base/turns.js'
import type { VmCondition, VmReport } from '../slices/needs.js'
import type { VmSpec } from '../slices/vm-spec.js'
import { calibrate } from './calibrate.js'
import { closeRunOf } from './close-run.js'
import { changeConfigDisk, configDisk, mendConfigDisks } from './config-disk.js'
import { connectPorts, type Counting } from './connect-ports.js'
import { readConsole } from './console.js'
import { sized, type DiskImages } from './first-layers.js'
import { installFiles } from './installs.js'
import type { Hypervisor, Vm, VmInstance } from './hypervisor/hypervisor.js'
import type { GuestImage } from './guest-image.js'
import type { Layers } from './layers.js'
import { waitForBanner } from './ready.js'
import type { SliceMarks } from './slice-marks.js'
import type { SwitchLink } from './switch-link.js'
import { takeOver } from './take-over.js'
import { VmDisks } from './vm-disks.js'
import { removeSockets, VmFiles } from './vm-files.js'
import { readVmRecords, refuseUnreadable, reportOf, type UnreadableVm, type VmRecord } from './vm-records.js'

export interface RegistryParts {
  folder: string
  /** For sockets: a short path. */
  runFolder: string
  hypervisor: Hypervisor
  switchLink: SwitchLink
  layers: Layers
  marks: SliceMarks
  images: Map<string, GuestImage>
  diskImages: DiskImages
  clock: Clock
  log: Log
  onChange(report: VmReport): void
  /** Places to fetch from. */
  sources?: readonly string[]
  /** Settles once no cut of this slice is under way that could still stop its VMs. */
  cutIsOver(slice: string): Promise<void>
  /** Is it stopped for a suspension that is sealed and not decided? The one exception to "never left paused". */
  mayStand(vm: string): boolean
}

const saveAgainMs = 2_000
const beside = (slice: string): string => `beside the cuts of ${slice}`

export class VmRegistry {
  readonly disks: VmDisks
  private readonly records = new Map<string, VmRecord>()
  /** Nothing is done with these (vm-records.ts). */
  private unreadable = new Map<string, UnreadableVm>()
  private readonly live = new Map<string, Vm>()
  private readonly turns = new Turns()
  private readonly at: RegistryParts
  private readonly files: VmFiles

  constructor(parts: RegistryParts) {
    this.at = parts
    this.files = new VmFiles(parts.folder)
    this.disks = new VmDisks({
      records: () => [...this.records.values()], record: (vm) => this.record(vm), running: (vm) => this.live.get(vm), save: (record) => this.save(record),
      unreadableLayers: () => [...this.unreadable.values()].flatMap(({ layers }) => layers),
    }, parts.layers, parts.diskImages)
  }

  /** Reads the records and takes over the VMs whose processes still run; the others are dead, and say so. */
  async open(): Promise<void> {
    const { records, unreadable } = await readVmRecords(this.at.folder, this.at.layers.folder)
    this.unreadable = unreadable
    for (const [vm, { why }] of unreadable) this.at.log.error({ vm, why }, 'the record of a VM cannot be read: nothing is done with it')
    for (const record of records) this.records.set(record.spec.vm, record)
    await mendConfigDisks(this.at.folder, records.map((r) => r.spec), unreadable, this.at.log)
    await Promise.all([...this.records.values()].map(async (record) => { // side by side: one that does not answer is waited for
      if (record.instance === null) return
      const taken = await takeOver(this.at, record.instance)
      if ('why' in taken) await this.died(record, taken.why)
      else {
        const noted = record.layers.join()
        this.attach(record, taken)
        if (record.layers.join() !== noted) await this.save(record) // what it names on disk must be there
      }
    }))
  }

  async define(asked: VmSpec): Promise<void> {
    if (this.records.has(asked.vm)) return
    refuseUnreadable(this.unreadable, asked.vm)
    const spec = sized(asked, this.at.diskImages)
    if (!this.at.images.has(spec.image)) throw new Refusal('not-found', `this host has no image ${spec.image}: it has ${[...this.at.images.keys()].join(', ')}`)
    await writeDurably(this.files.config(spec.vm), configDisk(spec, await installFiles(spec, this.at.sources))) // first: what it fetches may not be there
    await this.disks.make(spec, (layers) => {
      this.records.set(spec.vm, { format: 1, spec, condition: 'defined', reason: '', layers, instance: null })
    })
    await this.save(this.record(spec.vm))
  }

  /** Accounts and keys of a VM, running or not: it has them within seconds, and after a rollback too. */
  async setLogins(name: string, logins: VmSpec['logins']): Promise<void> {
    const record = this.record(name)
    const spec = { ...record.spec, logins }
    await changeConfigDisk(this.files.config(name), spec)
    record.spec = spec
    await this.save(record)
    await this.live.get(name)?.setLogins(logins)
  }

  /** Boots a VM in a run. Before: it has no process. */
  async start(name: string, run: { run: string; epoch: number }): Promise<void> {
    const record = this.record(name)
    if (this.live.has(name)) return
    const boots = (await this.at.marks.countSwitchBoot(record.spec.slice)).switchBoots
    await this.at.marks.raise(record.spec.slice, { run: run.run, k: run.epoch, current: run.run })
    await this.at.switchLink.ask('openRun', { slice: record.spec.slice, run: run.run, epoch: run.epoch })
    const instance = this.instanceOf(record.spec, run.run, record.layers)
    record.instance = instance
    try {
      const vm = await this.at.hypervisor.boot(instance)
      this.attach(record, vm)
      await this.change(record, 'booting', '')
      const fresh = { seq: boots * 2 ** 32 } // no base yet: calibrate() gives it one
      await this.connect(instance, new Map(record.spec.nics.map((nic) => [nic.port, fresh])))
      await vm.openLogin()
      void this.awaitReady(record, vm)
    } catch (error) {
      await this.live.get(name)?.kill()
      this.live.delete(name)
      record.instance = null
      await this.change(record, 'dead', explain(error))
      throw error
    }
  }

  /** Connects every interface of an instance to the switch. `counting`: where a restored port goes on. */
  connect(instance: VmInstance, counting: Counting): Promise<void> {
    return connectPorts(this.at.switchLink, instance, counting)
  }

  /** The switch was restarted: runs and ports again. Counting has no base, so the next cut has no witness and says so. */
  async reconnect(): Promise<void> {
    const slices = new Set([...this.live.values()].map((vm) => vm.instance.spec.slice))
    for (const slice of slices) {
      const lost = (why: string) => this.at.log.error({ slice, why }, 'the VMs of a slice could not be connected to the switch again')
      await readableOr(() => this.reconnectSlice(slice), lost)
    }
  }

  private async reconnectSlice(slice: string): Promise<void> {
    const marks = await this.at.marks.countSwitchBoot(slice)
    for (const vm of this.live.values()) {
      if (vm.instance.spec.slice !== slice) continue
      await this.at.switchLink.ask('openRun', { slice, run: vm.instance.run, epoch: marks.k })
      await this.connectCounted(vm, marks.switchBoots)
    }
    await this.calibrateSlice(slice)
  }

  /** One VM that ran before its switch began. Before: its run is open there. */
  async connectAgain(vm: Vm): Promise<void> {
    await this.connectCounted(vm, (await this.at.marks.countSwitchBoot(vm.instance.spec.slice)).switchBoots)
  }

  /** Numbers of frames that no earlier switch has given. */
  private connectCounted({ instance }: Vm, switchBoots: number): Promise<void> {
    return this.connect(instance, new Map(instance.spec.nics.map((nic) => [nic.port, { seq: switchBoots * 2 ** 32, reconnected: true }])))
  }

  /** What may not happen in a cut (it stops VMs, or changes their disks), and what begins one: one of them at a time. */
  outsideCuts<T>(slice: string, work: () => Promise<T>): Promise<T> {
    return this.turns.run(beside(slice), work)
  }

  /** After: all VMs of the slice have a counting base again. */
  async calibrateSlice(slice: string): Promise<void> {
    await this.outsideCuts(slice, () => this.calibrateAll(slice))
  }

  private async calibrateAll(slice: string): Promise<void> {
    await this.at.cutIsOver(slice)
    for (const vm of this.runningOf(slice)) {
      const name = vm.instance.spec.vm
      if (this.records.get(name)?.condition === 'ready' && !this.at.mayStand(name)) await calibrate(vm, this.at)
    }
  }

  /** After an agent's death: a VM that stands without reason runs on. Before: open cuts and restores have been ended. */
  async resumeStopped(): Promise<void> {
    for (const vm of this.live.values()) {
      if (this.at.mayStand(vm.instance.spec.vm) || await vm.isRunning().catch(() => false)) continue
      this.at.log.warn({ vm: vm.instance.spec.vm }, 'it stood without reason: resuming it')
      await vm.letRun().catch((error: unknown) => vm.kill(`it stood and could not be resumed: ${explain(error)}`))
    }
  }

  async stop(name: string, reason = ''): Promise<void> {
    const record = this.record(name)
    await this.end(record)
    await this.change(record, 'stopped', reason)
  }

  async destroy(name: string): Promise<void> {
    refuseUnreadable(this.unreadable, name)
    const record = this.records.get(name)
    if (!record) return
    await this.end(record)
    this.records.delete(name)
    await this.turns.run(name, () => removeDurably(this.files.record(name)))
    await this.files.removeAllBesideRecord(name)
    if (![...this.records.values()].some((r) => r.spec.slice === record.spec.slice)) await closeRunOf(this.at, record.spec.slice)
  }

  /** A restored VM takes the place of the one before, which has no process any more. */
  async replace(name: string, spec: VmSpec, vm: Vm): Promise<void> {
    const record: VmRecord = this.records.get(name) ?? { format: 1, spec, condition: 'ready', reason: '', layers: [], instance: null }
    record.spec = spec
    record.instance = vm.instance
    this.records.set(name, record)
    this.attach(record, vm)
    await this.change(record, 'ready', '')
  }

  /** The same for one that has died before it could take its place: it is a VM that is dead. */
  async mourn(instance: VmInstance, why: string): Promise<void> {
    const { spec, layers } = instance
    await removeSockets(instance)
    const record: VmRecord = this.records.get(spec.vm) ?? { format: 1, spec, condition: 'dead', reason: '', layers: [], instance: null }
    Object.assign(record, { spec, instance: null, layers: [...layers] })
    this.records.set(spec.vm, record)
    await this.change(record, 'dead', why)
  }

  /** A new life for a VM: fresh sockets, so that it can be made beside the present one. */
  instanceOf(spec: VmSpec, run: string, layers: string[]): VmInstance {
    const image = this.at.images.get(spec.image)
    if (!image) throw new Failure('failed', `this host has no image ${spec.image}`)
    const socket = join(this.at.runFolder, `${spec.vm}.${run.slice(-8)}`)
    return {
      spec: { ...spec, logins: this.records.get(spec.vm)?.spec.logins ?? spec.logins }, run, layers: [...layers],
      monitor: `${socket}.qmp`, nicSockets: spec.nics.map((_, i) => `${socket}.n${i}`),
      console: this.files.console(spec.vm), config: this.files.config(spec.vm), kernel: image.kernel, initrd: image.initrd, append: image.append,
    }
  }

  vm(name: string): Vm {
    const vm = this.live.get(name)
    if (!vm) throw new Failure('failed', `${this.records.get(name)?.spec.clientId ?? name} is not running`)
    return vm
  }

  runningOf(slice: string): Vm[] {
    return [...this.live.values()].filter((vm) => vm.instance.spec.slice === slice)
  }

  /** Of all VMs that run. */
  pids(): number[] { return [...this.live.values()].flatMap(({ instance: { pid } }) => pid ?? []) }

  /** Undefined: this host does not know it. */
  sliceOf(name: string): string | undefined { return this.records.get(name)?.spec.slice }

  /** The VMs whose login must answer, since somebody asked for a watchdog. */
  watched(): Vm[] {
    return [...this.live.values()].filter(({ ended, instance: { spec } }) =>
      ended === undefined && spec.watchdogMs !== undefined && this.records.get(spec.vm)?.condition === 'ready')
  }

  reports(): VmReport[] {
    const unknown = [...this.unreadable].map(([vm, { why }]): VmReport => ({ vm, slice: '', condition: 'dead', reason: why }))
    return [...[...this.records.values()].map((r) => reportOf(r)), ...unknown]
  }

  /** Memory promised to the VMs of this host, with `overheadMiB` for each. */
  memoryMiB(overheadMiB: number): number {
    return [...this.records.values()].reduce((sum, r) => sum + r.spec.memoryMiB + overheadMiB, 0)
  }

  /** The end of its console; '' for a VM that this host does not know yet. */
  async console(name: string, bytes: number): Promise<string> {
    return this.records.has(name) ? readConsole(this.files.console(name), bytes) : ''
  }

  /** Call it now and then: consoles are written by VMs, which know no bound. */
  async boundConsoles(): Promise<void> {
    await this.files.boundConsoles(this.records.keys(), this.at.log)
  }

  releaseAll(): void {
    for (const vm of this.live.values()) vm.release()
  }

  /** They are as dead as VMs that have ended by themselves: whoever supervises us next brings their slices back. */
  async endAll(why: string): Promise<void> {
    await Promise.allSettled([...this.live.values()].map((vm) => vm.kill(why))) // one that does not die must not let the others live
  }

  async killAll(): Promise<void> {
    for (const vm of [...this.live.values()]) await this.stop(vm.instance.spec.vm, 'the aggregate was stopped')
  }

  private async end(record: VmRecord): Promise<void> {
    const vm = this.live.get(record.spec.vm)
    if (!vm) return
    this.live.delete(record.spec.vm)
    await vm.kill()
    await this.at.switchLink.ask('removeVm', { slice: record.spec.slice, run: vm.instance.run, vm: record.spec.vm })
      .catch((error: unknown) => this.at.log.warn({ err: error, vm: record.spec.vm }, 'its ports could not be removed'))
    await removeSockets(vm.instance)
    record.layers = [...vm.instance.layers]
    record.instance = null
    await this.save(record)
  }

  private attach(record: VmRecord, vm: Vm): void {
    this.live.set(record.spec.vm, vm)
    record.layers = [...vm.instance.layers]
    vm.onEnd((reason) => {
      if (this.live.get(record.spec.vm) !== vm) return // ended by us
      this.live.delete(record.spec.vm)
      void this.died(record, reason)
    })
    if (record.condition === 'booting') void this.awaitReady(record, vm)
  }

  private async died(record: VmRecord, reason: string): Promise<void> {
    const instance = record.instance
    record.instance = null
    if (instance) {
      record.layers = [...instance.layers]
      await this.at.switchLink.ask('removeVm', { slice: record.spec.slice, run: instance.run, vm: record.spec.vm }).catch(() => undefined)
      await removeSockets(instance).catch((error: unknown) => this.at.log.warn({ vm: record.spec.vm, why: explain(error) }, 'its sockets stay'))
    }
    await this.happened(record, 'dead', reason)
  }

  private async awaitReady(record: VmRecord, vm: Vm): Promise<void> {
    const answered = await waitForBanner(record.spec.loginPort, this.at.clock, () => vm.ended !== undefined || this.live.get(record.spec.vm) !== vm)
    if (this.live.get(record.spec.vm) !== vm || vm.ended !== undefined) return
    if (!answered) return this.happened(record, 'booting', 'it does not answer on its login port: look at its console')
    await calibrate(vm, this.at)
    await this.happened(record, 'ready', '')
  }

  /** By itself, so nobody waits for it: it is told though it cannot be written down (a full disk), and the next agent finds it out again. */
  private async happened(record: VmRecord, condition: VmCondition, reason: string): Promise<void> {
    await this.change(record, condition, reason).catch((error: unknown) => {
      this.at.log.error({ vm: record.spec.vm, why: explain(error) }, 'what has become of a VM cannot be written down: tried again until it can')
      this.tell(record)
      this.saveSoon(record)
    })
  }

  private saveSoon(record: VmRecord): void {
    setTimeout(() => void this.save(record).catch(() => this.saveSoon(record)), saveAgainMs).unref()
  }

  private async change(record: VmRecord, condition: VmCondition, reason: string): Promise<void> {
    record.condition = condition
    record.reason = reason
    await this.save(record)
    this.tell(record)
  }

  private tell(record: VmRecord): void {
    const report = reportOf(record)
    this.at.log.info(report, 'VM changed')
    this.at.onChange(report)
  }

  isUnreadable(name: string): boolean { return this.unreadable.has(name) }

  /** Refuses a VM whose record could not be read. */
  refuseUnreadable(name: string): void {
    refuseUnreadable(this.unreadable, name)
  }

  private record(name: string): VmRecord {
    refuseUnreadable(this.unreadable, name)
    const record = this.records.get(name)
    if (!record) throw new Refusal('not-found', `this host has no VM ${name}`)
    return record
  }

  /** The record as it is when its turn comes. One that was destroyed meanwhile is not written again. */
  private save(record: VmRecord): Promise<void> {
    const { vm } = record.spec
    return this.turns.run(vm, async () => {
      if (this.records.get(vm) !== record) return
      faultPoint('agent.before-record')
      await writeDurably(this.files.record(vm), JSON.stringify(record))
      faultPoint('agent.record')
    })
  }
}
