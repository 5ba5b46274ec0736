import assert from 'node:assert/strict'
import { realRandom, type Random } from '../../../base/random.js'
import { managementMac } from '../../../hosts/hypervisor/qemu/argv.js'
import type { Node, Topology } from '../../../rspec/topology.js'
import { makeSlivers } from '../../../slices/make-slivers.js'
import { aSliver, noon } from '../../a-slice.js'

const zeros: Random = { bytes: (count) => Buffer.alloc(count) }

function topologyOf(count: number): Topology {
  const nodes: Node[] = Array.from({ length: count }, (_, i) => ({
    ...aSliver(`n${i}`).node, interfaces: [{ clientId: `n${i}:0`, ip: `10.1.1.${i + 1}`, prefixLength: 24 }],
  }))
  return { nodes, links: [{ clientId: 'lan0', interfaces: nodes.map((n) => n.interfaces[0]!.clientId) }] }
}

function macsFrom(nextPort: number, count: number, random: Random) {
  const topology = topologyOf(count)
  const made = makeSlivers({
    topology, hostOf: new Map(topology.nodes.map((n) => [n.clientId, 'h1'])), authority: 'lab.example', allocationIndex: 0,
    nextPort, takenPorts: new Set(), random, expires: noon,
  })
  return { macs: made.slivers.flatMap((s) => s.nics.map((n) => n.mac)), nextPort: made.nextPort }
}

describe('MAC addresses of a slice', () => {
  it('are never given twice, not by a later Allocate and not when chance repeats itself', () => {
    const first = macsFrom(1, 64, zeros)
    const second = macsFrom(first.nextPort, 64, zeros)
    assert.equal(new Set([...first.macs, ...second.macs]).size, 128)
  })

  it('are local addresses of one receiver each', () => {
    for (const mac of macsFrom(1, 64, realRandom).macs) {
      assert.match(mac, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/)
      assert.equal(Number.parseInt(mac.slice(0, 2), 16) & 0b11, 0b10)
    }
  })

  it('are never that of the management NIC, whichever port number comes', () => {
    const port = Number.parseInt(managementMac.slice(-5).replace(':', ''), 16)
    assert.notEqual(macsFrom(port, 1, zeros).macs[0], managementMac)
  })
})
