import assert from 'node:assert/strict'
import type { Node } from '../../../rspec/topology.js'
import { placeVms } from '../../../slices/placement.js'
import type { HostRecord } from '../../../slices/slice-store.js'
import { aSliver } from '../../a-slice.js'

const host = (name: string, memoryFreeMiB: number, alive = true): HostRecord =>
  ({ host: name, accelerator: 'tcg', memoryMiB: 8192, memoryFreeMiB, storeFreeBytes: 1e10, images: ['bank'], at: '', alive })
const node = (clientId: string, memoryMiB: number, on?: string): Node =>
  ({ ...aSliver(clientId).node, memoryMiB, ...(on ? { componentId: `urn:publicid:IDN+lab.example+node+${on}` } : {}) })
const placed = (nodes: Node[], hosts: HostRecord[]) => {
  const placement = placeVms({ nodes, hosts })
  return placement.placed ? Object.fromEntries(placement.hostOf) : placement.why
}

describe('the order of placement', () => {
  const hosts = [host('h1', 1000), host('h2', 900)]

  it('keeps the place of a node that names its host from one that could go elsewhere, wherever it stands in the request', () => {
    const nodes = [node('free', 800), node('bound', 800, 'h1')]
    assert.deepEqual(placed(nodes, hosts), { bound: 'h1', free: 'h2' })
    assert.deepEqual(placed([...nodes].reverse(), hosts), { bound: 'h1', free: 'h2' })
  })

  it('does not let small nodes take the only place of a large one', () => {
    assert.deepEqual(placed([node('a', 200), node('b', 200), node('large', 850)], hosts), { large: 'h1', a: 'h2', b: 'h2' })
  })

  it('leaves the nodes of the request as they are', () => {
    const nodes = [node('a', 200), node('large', 850)]
    placed(nodes, hosts)
    assert.deepEqual(nodes.map((n) => n.clientId), ['a', 'large'])
  })

  it('says of a host that is named whether it is away or unknown', () => {
    const away = [host('h1', 9000, false), host('h2', 400)]
    assert.match(placed([node('a', 128, 'h1')], away) as string, /\+h1, which is not up at present: try again later$/)
    assert.match(placed([node('a', 128, 'h9')], away) as string, /\+h9, which is not a host of this aggregate$/)
  })
})
