// Gives the switch a counting base in common with the devices of a VM: without one the next cut cannot tell which frames
// QEMU had taken and not yet handed to the guest. Needed after a boot (frames that came before the guest's driver are
// counted nowhere) and when the switch was restarted. Costs one stop of about a millisecond.
import { explain } from '../base/errors.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import { until, type Clock } from '../base/time.js'
import type { Vm } from './hypervisor/hypervisor.js'
import type { SwitchLink } from './switch-link.js'

const settledMs = 20
const settleMs = 1_000

interface CalibrateParts { switchLink: SwitchLink; clock: Clock; log: Log }

/** After: the VM runs and, unless it takes nothing any more, has a base. One that cannot be given one (it hangs) costs its next cut the witness. */
export async function calibrate(vm: Vm, at: CalibrateParts): Promise<void> {
  await giveBase(vm, at).catch((error: unknown) => at.log.warn({ vm: vm.instance.spec.vm, why: explain(error) }, 'it has no counting base'))
}

/** The same, and fails when it cannot be done. */
export async function giveBase(vm: Vm, { switchLink, clock }: Omit<CalibrateParts, 'log'>): Promise<void> {
  const { spec, run } = vm.instance
  const ref = { slice: spec.slice, run, vm: spec.vm }
  if (await isCounted(ref, switchLink)) return
  const { drained } = await switchLink.ask('quiet', { ...ref, withinMs: limits.drainMs })
  const settled = drained && (await hasTakenAll(vm, clock))
  try {
    const witnesses = settled ? (await vm.stop()).witnesses : []
    await switchLink.ask('rebase', { ...ref, witnesses })
  } finally {
    await vm.letRun()
  }
}

/** It has a base, and a stop would be for nothing: what a guest has not taken is thrown away by it (cut protocol, hole 50). */
async function isCounted({ vm, ...ref }: { slice: string; run: string; vm: string }, switchLink: SwitchLink): Promise<boolean> {
  const { ports } = await switchLink.ask('stats', ref)
  return ports.every((port) => port.vm !== vm || port.counted === true)
}

/** Nothing is on the way to the guest any more: its receive queues have stood still for a while. */
async function hasTakenAll(vm: Vm, clock: Clock): Promise<boolean> {
  let last = ''
  const settled = await until(clock, settleMs, settledMs, async () => {
    const now = (await vm.witnesses()).map((w) => w.usedRx).join()
    if (now === last) return true
    last = now
    return undefined
  })
  return settled === true
}
