// The simulated hypervisor: each VM is a small process with a guest in its memory, on the same switch, cut by the same agent
// and judged by the same check as a VM of QEMU. For laptops without a hypervisor, for tests, and for trying clients.
import { rm } from 'node:fs/promises'
import { Failure } from '../../../base/errors.js'
import { connectRpc } from '../../../base/rpc.js'
import type { Clock } from '../../../base/time.js'
import type { DiskFile } from '../../disk-file.js'
import type { Hypervisor, LayersToMerge, Vm, VmInstance } from '../hypervisor.js'
import { isAlive, killProcess, startToStay } from '../process.js'
import { monitorOf } from '../monitor-of.js'
import { importLayerFile, makeLayerFile, mergeLayerFiles } from './layer-file.js'
import type { SimulatedConfig } from './monitor.js'
import { SimulatedVm } from './simulated-vm.js'

const called = 'the simulated VM'
/** The program beside this file; where the source is run as it is, through tsx. */
const program = import.meta.filename.endsWith('.ts')
  ? ['--import', 'tsx', `${import.meta.dirname}/main.ts`]
  : ['--enable-source-maps', `${import.meta.dirname}/main.js`]

export class Simulated implements Hypervisor {
  readonly accelerator = 'simulated'
  readonly version = 'simulated 1'
  readonly machine = 'simulated-1'
  private readonly clock: Clock

  constructor(clock: Clock) {
    this.clock = clock
  }

  makeLayer(path: string): Promise<void> { return makeLayerFile(path) }
  mergeLayers(path: string, { layers }: LayersToMerge): Promise<void> { return mergeLayerFiles(path, layers) }
  importDisk(path: string, from: DiskFile): Promise<void> { return importLayerFile(path, from) }

  boot(instance: VmInstance): Promise<Vm> { return this.start(instance) }
  load(instance: VmInstance, memoryFile: string): Promise<Vm> { return this.start(instance, memoryFile) }

  async adopt(instance: VmInstance): Promise<Vm | undefined> {
    const { pid, started } = instance
    if (pid === undefined || started === undefined || !(await isAlive({ pid, started }))) return undefined
    const ref = { pid, started }
    const vm = new SimulatedVm(instance, ref, await monitorOf(ref, this.clock, () => connectRpc(instance.monitor, called)), this.clock)
    await vm.learnLayers()
    return vm
  }

  private async start(instance: VmInstance, incoming?: string): Promise<Vm> {
    const { spec, monitor, nicSockets, layers } = instance
    for (const path of [monitor, ...nicSockets]) await rm(path, { force: true })
    const config: SimulatedConfig = { spec, monitor, nicSockets, console: instance.console, layers, ...(incoming !== undefined ? { incoming } : {}) }
    let vm: SimulatedVm | undefined
    let exit: string | undefined
    const name = `${spec.clientId}.${spec.vm}`
    const ref = await startToStay('simulated', process.execPath, [...program, '-name', name, JSON.stringify(config)], instance.console, (reason) => {
      exit = reason
      vm?.end(reason)
    })
    instance.pid = ref.pid
    instance.started = ref.started
    try {
      vm = new SimulatedVm(instance, ref, await monitorOf(ref, this.clock, () => connectRpc(instance.monitor, called)), this.clock)
      await vm.learnLayers()
      return vm
    } catch (cause) {
      await killProcess(ref, this.clock)
      const what = incoming === undefined ? 'did not start' : `cannot load ${incoming}`
      throw new Failure(incoming === undefined ? 'failed' : 'damaged', `the simulated ${spec.clientId} ${what} (${exit ?? 'no answer'})`, { cause })
    }
  }
}
