// Takes over a VM that an earlier agent started. One that lives and does not answer its monitor would block every agent that
// comes after: it is ended, and is as dead as one whose process is gone.
import type { Log } from '../base/log.js'
import { explain } from '../base/errors.js'
import type { Clock } from '../base/time.js'
import type { Hypervisor, Vm, VmInstance } from './hypervisor/hypervisor.js'
import { killProcess } from './hypervisor/process.js'

export interface TakeOverParts { hypervisor: Hypervisor; clock: Clock; log: Log }

/** The VM, or why there is none; then it has no process. */
export async function takeOver(at: TakeOverParts, instance: VmInstance): Promise<Vm | { why: string }> {
  try {
    return (await at.hypervisor.adopt(instance)) ?? { why: 'its process was gone when the host agent was started' }
  } catch (error) {
    at.log.error({ vm: instance.spec.vm, why: explain(error) }, 'a VM cannot be taken over: ending it')
    const { pid, started } = instance
    if (pid !== undefined && started !== undefined) await killProcess({ pid, started }, at.clock)
    return { why: `it did not answer when the host agent was started, and was ended: ${explain(error)}` }
  }
}
