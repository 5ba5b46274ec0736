// The QEMU hypervisor: starts VMs, loads saved ones, and finds again those that an earlier agent started.
import { open, readFile, rm } from 'node:fs/promises'
import { Failure } from '../../../base/errors.js'
import { limits } from '../../../base/limits.js'
import type { Log } from '../../../base/log.js'
import { setUrgency, threadsOf } from '../../../base/priority.js'
import { until, within, type Clock } from '../../../base/time.js'
import type { DiskFile } from '../../disk-file.js'
import type { Hypervisor, LayerOn, LayersToMerge, Vm, VmInstance } from '../hypervisor.js'
import { machine, qemuArgv, type QemuOptions } from './argv.js'
import { isAlive, killProcess, startToStay } from '../process.js'
import { monitorOf } from '../monitor-of.js'
import { importDisk } from './import.js'
import { mergeQcow2 } from './merge.js'
import { Pacer } from './pacer.js'
import { makeQcow2 } from './qcow2.js'
import { QemuVm } from './qemu-vm.js'
import { Qmp } from './qmp.js'

export class Qemu implements Hypervisor {
  readonly machine = machine
  private readonly options: QemuOptions
  private readonly clock: Clock
  private readonly log: Log
  private readonly pacer: Pacer

  constructor(options: QemuOptions, clock: Clock, log: Log) {
    this.options = options
    this.clock = clock
    this.log = log
    this.pacer = new Pacer(log)
  }

  private get parts() { return { clock: this.clock, log: this.log, pacer: this.pacer, makeRoom: () => this.options.makeRoom() } }

  get accelerator(): string { return this.options.accelerator }
  get version(): string { return this.options.version }

  makeLayer(path: string, on: LayerOn): Promise<void> { return makeQcow2(path, on) }
  mergeLayers(path: string, what: LayersToMerge, signal: AbortSignal): Promise<void> { return mergeQcow2(path, what, this.clock, signal) }

  importDisk(path: string, from: DiskFile, mostBytes: number, signal: AbortSignal): Promise<void> { return importDisk(path, from, mostBytes, signal) }

  async boot(instance: VmInstance): Promise<Vm> {
    const { vm } = await this.start(instance, false)
    return vm
  }

  async load(instance: VmInstance, memoryFile: string): Promise<Vm> {
    const { vm, qmp } = await this.start(instance, true)
    const file = await open(memoryFile, 'r')
    try {
      const loaded = new Promise<string>((resolve, reject) => {
        qmp.onEvent((e) => {
          const status = e.event === 'MIGRATION' ? String(e.data?.['status']) : ''
          if (status === 'completed' || status === 'failed') resolve(status)
        })
        vm.onEnd((reason) => reject(new Failure('failed', `${reason} while its memory was loaded`)))
      })
      loaded.catch(() => undefined)
      await qmp.call('migrate-set-parameters', { 'announce-rounds': 0 }) // no RARP: addresses are where they were
      await qmp.passDescriptor('image', file.fd)
      await qmp.call('migrate-incoming', { uri: 'fd:image' })
      const end = await within(limits.restoreMs, loaded, () => new Failure('timed-out', 'its memory was not loaded in time'))
      if (end !== 'completed') throw new Failure('damaged', `QEMU cannot load ${memoryFile}`)
      const paused = await until(this.clock, limits.qmpMs, 2, async () =>
        (await qmp.call<{ status: string }>('query-status')).status === 'inmigrate' ? undefined : true)
      if (!paused) throw new Failure('timed-out', 'the loaded VM does not become ready')
      return vm
    } catch (error) {
      await vm.kill()
      throw new Failure('failed', `cannot load ${instance.spec.clientId}`, { cause: error })
    } finally {
      await file.close()
    }
  }

  async adopt(instance: VmInstance): Promise<Vm | undefined> {
    const { pid, started } = instance
    if (pid === undefined || started === undefined || !(await isAlive({ pid, started }))) return undefined
    setUrgency(threadsOf(pid), 'ordinary') // the agent before us may have died in a cut
    const qmp = await monitorOf({ pid, started }, this.clock, () => Qmp.connect(instance.monitor))
    const vm = new QemuVm(instance, { pid, started }, qmp, this.parts)
    await vm.learnLayers()
    return vm
  }

  private async start(instance: VmInstance, incoming: boolean): Promise<{ vm: QemuVm; qmp: Qmp }> {
    const logFile = `${instance.console}.qemu`
    for (const path of [instance.monitor, ...instance.nicSockets]) await rm(path, { force: true })
    let vm: QemuVm | undefined
    let exit: string | undefined
    const ref = await startToStay('QEMU', this.options.binary, qemuArgv(instance, this.options, incoming), logFile, (reason) => {
      exit = reason
      vm?.end(reason)
    })
    instance.pid = ref.pid
    instance.started = ref.started
    try {
      const qmp = await monitorOf(ref, this.clock, () => Qmp.connect(instance.monitor))
      vm = new QemuVm(instance, ref, qmp, this.parts)
      await qmp.call('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] })
      await qmp.call('migrate-set-parameters', { 'max-bandwidth': 20 * 1024 ** 3 }) // a limit would let the guest's page faults wait
      await vm.learnLayers()
      return { vm, qmp }
    } catch (error) {
      await killProcess(ref, this.clock)
      const said = (await readFile(logFile, 'utf8').catch(() => '')).trim().split('\n').at(-1) ?? ''
      throw new Failure('failed', `QEMU for ${instance.spec.clientId} did not start (${exit ?? 'no answer'}): ${said}`, { cause: error })
    }
  }
}
