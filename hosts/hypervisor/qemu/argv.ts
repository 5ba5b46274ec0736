// A VM instance as QEMU's command line. Pure. What is chosen here is part of every snapshot: a restore needs the same
// devices in the same order.
import type { VmInstance } from '../hypervisor.js'
import { chainNode, nodesNamed } from './block-graph.js'

export interface QemuOptions {
  binary: string
  accelerator: 'tcg' | 'kvm'
  version: string
  /** Called when a VM stands because its disk cannot be written for want of room; what can be spared goes. */
  makeRoom: () => Promise<void>
}

/** Pinned, so that a snapshot can be restored by a later QEMU. */
export const machine = 'pc-q35-7.2'

export function qemuArgv(instance: VmInstance, options: QemuOptions, incoming: boolean): string[] {
  const { spec } = instance
  return [
    '-name', `${spec.clientId}.${spec.vm}`,
    '-M', `${machine},usb=off,vmport=off`,
    '-accel', options.accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi,tb-size=32',
    '-m', String(spec.memoryMiB), '-smp', String(spec.cpus),
    '-nodefaults', '-no-user-config', '-display', 'none',
    '-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    '-rtc', 'base=utc,clock=vm', // the guest sees no gap over a pause or a restore
    '-qmp', `unix:${escaped(instance.monitor)},server=on,wait=off`,
    '-chardev', `file,id=console,path=${escaped(instance.console)},append=on`, '-serial', 'chardev:console',
    '-kernel', instance.kernel, '-initrd', instance.initrd, '-append', instance.append,
    '-device', 'virtio-rng-pci',
    ...disk(instance),
    ...spec.nics.flatMap((nic, i) => [
      '-netdev', `stream,id=nic${i},server=on,addr.type=unix,addr.path=${escaped(instance.nicSockets[i]!)}`,
      // ctrl_rx, mrg_rxbuf off: one frame is one used entry, which the put-back counts on (cut protocol, hole 1)
      '-device', `virtio-net-pci,id=${nicDevice(i)},netdev=nic${i},mac=${nic.mac},ctrl_rx=off,ctrl_vlan=off,mrg_rxbuf=off,romfile=`,
    ]),
    '-netdev', 'user,id=management,restrict=on',
    '-device', `virtio-net-pci,netdev=management,mac=${managementMac},romfile=`,
    // Tells us of a panic. Last, and an ISA device without migrated state: so every device before it is where it was in
    // snapshots of before it came, and they still load.
    '-device', 'pvpanic',
    '-action', 'panic=shutdown', // QEMU ends, as at any other death of a VM; a panicked guest that stays has nothing to save
    ...(incoming ? ['-incoming', 'defer'] : []),
  ]
}

export const nicDevice = (index: number): string => `lan${index}`
/** Every VM has a management network of its own, so the address may be the same everywhere. */
export const managementMac = '52:54:00:00:02:0f'

function disk(instance: VmInstance): string[] {
  return [
    '-blockdev', JSON.stringify(chainNode(instance.layers, true)),
    '-device', `virtio-blk-pci,drive=${nodesNamed(String(instance.layers.length - 1)).layer}`,
    '-blockdev', JSON.stringify({ driver: 'raw', 'node-name': 'config', 'read-only': true, file: { driver: 'file', filename: instance.config } }),
    '-device', 'virtio-blk-pci,drive=config',
  ]
}

/** In QEMU's key=value lists a comma in a value is written twice. */
const escaped = (path: string): string => path.replaceAll(',', ',,')
