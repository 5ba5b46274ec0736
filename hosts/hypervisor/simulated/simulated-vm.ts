// One simulated VM, as the agent sees it: the asks of its monitor.
import { Failure } from '../../../base/errors.js'
import { limits } from '../../../base/limits.js'
import type { RpcClient } from '../../../base/rpc.js'
import type { Clock } from '../../../base/time.js'
import type { DeviceWitness } from '../../../overlay/slice-net.js'
import type { VmSpec } from '../../../slices/vm-spec.js'
import type { CutPlan, Vm, VmInstance } from '../hypervisor.js'
import { Ending } from '../ending.js'
import { killProcess, type ProcessRef } from '../process.js'
import type { MonitorAsks } from './monitor.js'

export class SimulatedVm implements Vm {
  readonly instance: VmInstance
  private readonly process: ProcessRef
  private readonly rpc: RpcClient
  private readonly clock: Clock
  private readonly ending = new Ending()
  private released = false

  constructor(instance: VmInstance, process: ProcessRef, rpc: RpcClient, clock: Clock) {
    this.instance = instance
    this.process = process
    this.rpc = rpc
    this.clock = clock
    rpc.onClose(() => { if (!this.released) this.ending.tellSoon('its process ended') })
  }

  get ended(): string | undefined { return this.ending.reason }
  onEnd(listener: (reason: string) => void): void { this.ending.onEnd(listener) }

  end(reason: string): void { this.ending.tell(reason) }

  async isRunning(): Promise<boolean> { return (await this.ask('status', {})).running }
  async openLogin(): Promise<void> { await this.ask('openLogin', {}) }
  async setLogins(logins: VmSpec['logins']): Promise<void> { await this.ask('setLogins', { logins }) }
  async resume(): Promise<void> { await this.ask('resume', {}) }
  async prepareCut(plan: CutPlan): Promise<void> { await this.ask('prepareCut', plan) }
  async witnesses(): Promise<DeviceWitness[]> { return this.ask('witnesses', {}) }
  async stop(): Promise<{ stoppedAt: number; witnesses: DeviceWitness[] }> { return this.ask('stop', {}) }

  async save(): Promise<{ resumedAt: number | undefined }> {
    const { resumedAt } = await this.ask('save', {}, limits.saveMs)
    await this.learnLayers()
    return { resumedAt }
  }

  async saveAtFullSpeed(): Promise<void> { /* its writing stands in nobody's way */ }
  async finishSave(): Promise<{ bytes: number }> { return this.ask('finishSave', {}, limits.saveMs) }
  async letRun(): Promise<void> { await this.resume() }

  async abandonCut(): Promise<void> {
    if (this.ended !== undefined) return
    await this.ask('abandonCut', {}, limits.saveMs)
    await this.learnLayers()
  }

  async freezeDisk(overlay: string): Promise<void> {
    await this.ask('freezeDisk', { overlay })
    await this.learnLayers()
  }

  async replaceLayers(layers: string[], by: string): Promise<void> {
    await this.ask('replaceLayers', { layers, by })
    await this.learnLayers()
  }

  async kill(why?: string): Promise<void> {
    if (why !== undefined) this.ending.foresee(why)
    await killProcess(this.process, this.clock)
    this.end('it was stopped')
    this.rpc.close()
  }

  release(): void {
    this.released = true
    this.rpc.close()
  }

  /** Which layer is written to is what the VM says: our record may be one cut behind. */
  async learnLayers(): Promise<void> {
    const { layers } = await this.ask('status', {})
    this.instance.layers = layers
  }

  private async ask<K extends keyof MonitorAsks>(method: K, detail: MonitorAsks[K][0], timeoutMs: number = limits.qmpMs): Promise<MonitorAsks[K][1]> {
    try {
      return await this.rpc.request(method, detail, timeoutMs)
    } catch (cause) {
      throw new Failure('failed', `${this.instance.spec.clientId}: ${this.ended ?? method}`, { cause })
    }
  }
}
