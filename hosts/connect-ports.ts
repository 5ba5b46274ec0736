// The interfaces of a VM at the switch.
import type { Base } from '../overlay/slice-net.js'
import type { VmInstance } from './hypervisor/hypervisor.js'
import type { SwitchLink } from './switch-link.js'

/** Where a port's counting goes on. `reconnected`: the run was here before the switch began. `gated`: recorded frames are to come first. */
export type Counting = Map<number, { seq: number; base?: Base; reconnected?: boolean; gated?: boolean }>

/** Connects every interface of an instance to the switch. `counting`: where a restored port goes on. */
export async function connectPorts(switchLink: SwitchLink, { spec, run, nicSockets }: VmInstance, counting: Counting): Promise<void> {
  for (const [i, nic] of spec.nics.entries()) {
    const { seq, base, reconnected, gated } = counting.get(nic.port)!
    await switchLink.ask('addPort', {
      slice: spec.slice, run, vm: spec.vm, port: nic.port, lan: nic.lan, mac: nic.mac, socket: nicSockets[i]!, seq, ...(base ? { base } : {}),
      ...(nic.shapes ? { shapes: nic.shapes } : {}), ...(reconnected ? { reconnected } : {}),
      ...(gated ? { gated } : {}),
    })
  }
}
