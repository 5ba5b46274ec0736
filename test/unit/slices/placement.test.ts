import assert from 'node:assert/strict'
import { placeVms } from '../../../slices/placement.js'
import type { HostRecord } from '../../../slices/slice-store.js'
import type { Node } from '../../../rspec/topology.js'
import { aSliver } from '../../a-slice.js'

const node = (clientId: string, more: Partial<Node> = {}): Node => ({ ...aSliver(clientId).node, ...more })
const host = (name: string, memoryFreeMiB: number, alive = true): HostRecord => ({
  host: name, accelerator: 'tcg', memoryMiB: 8192, memoryFreeMiB, storeFreeBytes: 1e10, images: ['bank'], at: '', alive,
})
const placed = (nodes: Node[], hosts: HostRecord[]) => {
  const placement = placeVms({ nodes, hosts })
  return placement.placed ? [...placement.hostOf] : placement.why
}

describe('placement', () => {
  it('takes the host with most free memory for each node, what the ones before take counted', () => {
    assert.deepEqual(placed([node('a'), node('b'), node('c')], [host('h1', 900), host('h2', 1000)]), [['a', 'h2'], ['b', 'h1'], ['c', 'h2']])
  })

  it('counts what QEMU needs beside the guest: a node that fits only without it does not fit', () => {
    assert.deepEqual(placed([node('a')], [host('h1', 224)]), [['a', 'h1']])
    assert.equal(placed([node('a')], [host('h1', 223)]), 'node a needs 224 MiB of memory, h1 has 223 MiB left: ask for fewer or smaller nodes')
  })

  it('obeys a component_id, and refuses one that is no host of ours or has no room', () => {
    const componentId = 'urn:publicid:IDN+lab.example+node+h1'
    assert.deepEqual(placed([node('a', { componentId })], [host('h1', 300), host('h2', 9000)]), [['a', 'h1']])
    assert.match(placed([node('a', { componentId })], [host('h1', 100), host('h2', 9000)]) as string, /h1 has 100 MiB left/)
    assert.match(placed([node('a', { componentId })], [host('h2', 9000)]) as string, /which is not a host of this aggregate/)
  })

  it('places nothing on a host that is away', () => {
    assert.match(placed([node('a')], [host('h1', 9000, false)]) as string, /no host is up/)
  })
})
