// The cut of one VM: the sequence whose order is the protocol (docs/cut-protocol.md, phase 2). Anything that goes wrong
// in here leaves the window open, which makes the whole cut void; the caller sees to that.
import { Failure } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { limits } from '../base/limits.js'
import type { CutOrder, CutVm } from '../snapshots/messages.js'
import type { Clock } from '../base/time.js'
import type { Vm } from './hypervisor/hypervisor.js'
import type { SwitchLink } from './switch-link.js'

/** From the gate's answer to `stop` are some microseconds: more, and this process has stood, and the switch may have gone forward unheard of. */
const stoodMs = 1_000

export interface CutVmParts {
  vm: Vm
  order: CutOrder
  switchLink: SwitchLink
  clock: Clock
  /** Has the cut been given up meanwhile? Then its VMs have been let run, and nobody would let this one run again. */
  isVoid: () => boolean
  /** From its stop to its flip nobody may let the VM run: what `stop` has destroyed comes back with the flip, and only with it (hole 34). */
  standing: (flip: Promise<unknown>) => void
}

/** Before: prepared here and at the switch. After: cut, running again (but for a suspension) and thawed. */
export async function cutVm({ vm, order, switchLink, clock, isVoid, standing }: CutVmParts): Promise<CutVm & { switchBootId: string }> {
  const { slice, run, k, op } = order
  const name = vm.instance.spec.vm
  const ref = { slice, run, k, op, vm: name }
  const coordinated = order.mode !== 'uncoordinated'

  const stamps = [clock.monotonic()]
  const stamp = () => stamps.push(clock.monotonic())
  let drained = true
  if (coordinated) {
    faultPoint('agent.cut.before-gate')
    const gate = await switchLink.ask('gate', { ...ref, withinMs: limits.drainMs })
    drained = gate.drained
    if (!drained && !order.force) {
      throw new Failure('aborted', `${vm.instance.spec.clientId} did not take the frames sent to it within ${limits.drainMs} ms`)
    }
  }
  stamp()
  faultPoint('agent.cut.gated')
  if (isVoid()) throw new Failure('aborted', 'the cut was given up before this VM was stopped') // nothing comes between this look and `stop`
  if (clock.monotonic() - stamps.at(-1)! > stoodMs) throw new Failure('aborted', 'the agent stood still after the gate: its port may be open again')
  const stopAndFlip = async () => {
    const { stoppedAt, witnesses } = await vm.stop()
    stamp()
    faultPoint('agent.cut.stopped')
    const { latches, bootId } = await switchLink.ask('cut', { ...ref, witnesses, putBack: coordinated && drained })
    stamp()
    faultPoint('agent.cut.flipped')
    return { stoppedAt, latches, bootId }
  }
  const window = stopAndFlip()
  standing(window)
  const { stoppedAt, latches, bootId } = await window
  const { resumedAt } = await vm.save()
  stamp()
  faultPoint('agent.cut.resumed')
  if (order.kind === 'live') await switchLink.ask('thaw', ref)
  faultPoint('agent.cut.thawed')
  stamp()
  const [gate, stop, flip, save, thaw] = stamps.slice(1).map((at, i) => at - stamps[i]!) as [number, number, number, number, number]
  return { vm: name, stoppedAt, resumedAt, drained, phases: { gate, stop, flip, save, thaw }, latches, switchBootId: bootId }
}
