// Shares of a two-VM cut whose counters balance, for tests that spoil one of them.
import type { PortLatch } from '../../../overlay/slice-net.js'
import { addTo, emptyTally, type Tally } from '../../../overlay/tally.js'
import type { HostShare, Inventory } from '../../../snapshots/inventory.js'

export function tallyOf(source: number, ...seqs: number[]): Tally {
  const tally = emptyTally()
  for (const seq of seqs) addTo(tally, source, seq)
  return tally
}

function latch(port: number, more: Partial<PortLatch>): PortLatch {
  return {
    port, vm: `vm${port}`, sent: 0, epoch: 1, witness: 'exact', usedRx: 0, usedTx: 0, vring: 'v', framesRead: 0, framesWritten: 0, putBack: 0,
    channels: [], born: [], ...more,
  }
}

/** Port 1 sent frames 1 to 3: two were received, the third was in transit and recorded. Port 2 sent frame 1. */
export function balanced(): { shares: HostShare[]; one: PortLatch; two: PortLatch } {
  const one = latch(1, { sent: 3, channels: [{ from: 2, delivered: tallyOf(2, 1), highest: 1 }], born: [{ to: 2, tally: tallyOf(1, 1, 2, 3) }] })
  const two = latch(2, { sent: 1, channels: [{ from: 1, delivered: tallyOf(1, 1, 2), highest: 2 }], born: [{ to: 1, tally: tallyOf(2, 1) }] })
  const vm = (of: PortLatch, stoppedAt: number): HostShare['vms'][number] => ({
    vm: of.vm, memory: { name: `${of.vm}.memory`, bytes: 10, digest: 'd' }, layers: [{ name: `${of.vm}.0`, bytes: 5, digest: 'e' }],
    hypervisor: { version: '7.2', machine: 'm', specDigest: 'a' },
    spec: {
      vm: of.vm, slice: 's', clientId: 'ab'[of.port - 1]!, memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'i', nics: [], loginPort: 0, logins: [],
      neighbours: [], execute: [],
    },
    cut: {
      vm: of.vm, stoppedAt, resumedAt: stoppedAt + 8, drained: true, latches: [of], phases: { gate: 1, stop: 1, flip: 1, save: 4, thaw: 1 },
    },
  })
  const shares: HostShare[] = [{
    host: 'h1', channels: { name: 'channels-h1.frames', bytes: 3, digest: 'f' }, vms: [vm(one, 1_000), vm(two, 1_002)],
    log: { bootId: 'b', frames: 1, bytes: 60, recorded: [{ to: 2, from: 1, tally: tallyOf(1, 3) }], drops: [], framesHeld: 4, longestHoldMs: 2 },
  }]
  return { shares, one, two }
}

export function anInventory(more: Partial<Inventory> = {}): Inventory {
  const { shares } = balanced()
  return {
    format: 'violin-inventory-1', am: 'urn:publicid:IDN+lab.example+authority+am', id: 'snap-1', name: 'first', parent: '', op: 'op', k: 2,
    slice: { urn: 'urn:publicid:IDN+ch.example+slice+exp', uuid: '5f0c0d5e-0000-4000-8000-000000000001' }, run: '0000000100000000', mode: 'live',
    kind: 'live', origin: 'user', created: '2026-03-01T12:00:00Z', committedMs: 300, topology: {}, hosts: shares, software: '0',
    members: [{ vm: 'vm1', clientId: 'a', host: 'h1', ports: [1] }, { vm: 'vm2', clientId: 'b', host: 'h1', ports: [2] }], ...more,
  }
}
