// VMs without processes that keep the contract of hosts/hypervisor/hypervisor.ts as far as the agent's own rules need it.
import type { Hypervisor, Vm, VmInstance } from '../../hosts/hypervisor/hypervisor.js'

export class MemoryVm implements Vm {
  readonly instance: VmInstance
  ended: string | undefined
  running: boolean
  /** What was asked of it, in order. */
  readonly asked: string[] = []
  private readonly listeners: ((reason: string) => void)[] = []

  constructor(instance: VmInstance, running: boolean) {
    this.instance = instance
    this.running = running
  }

  onEnd(listener: (reason: string) => void): void { this.listeners.push(listener) }
  die(reason: string): void {
    this.ended = reason
    this.running = false
    for (const listener of this.listeners) listener(reason)
  }

  async isRunning(): Promise<boolean> { return this.running }
  async openLogin(): Promise<void> { this.asked.push('openLogin') }
  async resume(): Promise<void> { this.running = true }
  async prepareCut(): Promise<void> { this.asked.push('prepareCut') }
  async witnesses() { return [] }
  async stop() {
    this.asked.push('stop')
    this.running = false
    return { stoppedAt: 0, witnesses: [] }
  }
  async save() { return { resumedAt: undefined } }
  async saveAtFullSpeed(): Promise<void> { this.asked.push('saveAtFullSpeed') }
  async finishSave() { return { bytes: 0 } }
  async letRun(): Promise<void> {
    this.asked.push('letRun')
    this.running = true
  }
  async abandonCut(): Promise<void> { this.asked.push('abandonCut') }
  async freezeDisk(overlay: string): Promise<void> {
    this.asked.push('freezeDisk')
    this.instance.layers.push(overlay)
  }
  async replaceLayers(layers: string[], by: string): Promise<void> {
    this.instance.layers.splice(this.instance.layers.indexOf(layers[0]!), layers.length, by)
  }
  async kill(why = 'it was stopped'): Promise<void> { this.die(why) }
  async setLogins(logins: VmInstance['spec']['logins']): Promise<void> { this.asked.push(`setLogins ${logins.map((l) => l.name).join()}`) }
  release(): void { this.asked.push('release') }
}

/** VMs that outlived an earlier agent are put into `alive`, by name. */
export class MemoryHypervisor implements Hypervisor {
  readonly accelerator = 'none'
  readonly version = 'none'
  readonly machine = 'none'
  readonly alive = new Map<string, MemoryVm>()

  async makeLayer(): Promise<void> { /* no VM here reads a disk */ }
  async mergeLayers(): Promise<void> { /* nor what several layers hold */ }
  async importDisk(): Promise<void> { /* nor what comes from elsewhere */ }
  async boot(instance: VmInstance): Promise<Vm> { return this.made(instance, true) }
  async load(instance: VmInstance): Promise<Vm> { return this.made(instance, false) }
  async adopt(instance: VmInstance): Promise<Vm | undefined> { return this.alive.get(instance.spec.vm) }

  private made(instance: VmInstance, running: boolean): Vm {
    const vm = new MemoryVm(instance, running)
    this.alive.set(instance.spec.vm, vm)
    return vm
  }
}
