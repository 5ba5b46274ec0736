// Where a host keeps what belongs to a VM beside its disk: its record, its configuration disk, its console and what its hypervisor says.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../base/log.js'
import { boundConsoles, removeConsole } from './console.js'
import type { VmInstance } from './hypervisor/hypervisor.js'

export class VmFiles {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
  }

  record(vm: string): string { return join(this.folder, `${vm}.json`) }
  config(vm: string): string { return join(this.folder, `${vm}.config`) }
  console(vm: string): string { return join(this.folder, `${vm}.console`) }
  hypervisorLog(vm: string): string { return `${this.console(vm)}.qemu` }

  /** Consoles are written by VMs, which know no bound. */
  async boundConsoles(vms: Iterable<string>, log: Log): Promise<void> {
    await boundConsoles([...vms].flatMap((vm) => [this.console(vm), this.hypervisorLog(vm)]), log)
  }

  /** All but the record, which goes first. */
  async removeAllBesideRecord(vm: string): Promise<void> {
    await rm(this.config(vm), { force: true })
    await removeConsole(this.console(vm))
    await removeConsole(this.hypervisorLog(vm))
  }
}

/** A process that has ended leaves them. */
export async function removeSockets({ monitor, nicSockets }: Pick<VmInstance, 'monitor' | 'nicSockets'>): Promise<void> {
  for (const path of [monitor, ...nicSockets]) await rm(path, { force: true })
}
