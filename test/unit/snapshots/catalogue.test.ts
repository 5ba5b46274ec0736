import assert from 'node:assert/strict'
import { disruptionText, entryOf } from '../../../snapshots/catalogue.js'
import { anInventory } from './shares.js'

describe('the entry of a snapshot in the catalogue', () => {
  function disrupted() {
    const inventory = anInventory()
    const [share] = inventory.hosts
    const [a, b] = share!.vms
    a!.spec.nics = [{ port: 1, name: 'a:if0', lan: 'l', mac: 'm', ip: '10.0.0.1', prefixLength: 24 }]
    b!.spec.nics = [{ port: 2, name: 'eth1', lan: 'l', mac: 'n', ip: '10.0.0.2', prefixLength: 24 }]
    a!.savedAt = a!.cut.resumedAt! + 250.5
    share!.log.ports = [{ port: 1, framesHeld: 0, longestHoldMs: 0, heldDropped: 0 }, { port: 2, framesHeld: 4, longestHoldMs: 2.00049, heldDropped: 0 }]
    return inventory
  }

  it('tells what the cut has cost each node and each port that it touched', () => {
    const { pauseMs, savingMs, skewMs, ports, memoryBytes, diskBytes, channelBytes, bytes, digest } = entryOf(disrupted(), 'd1')
    assert.deepEqual({ pauseMs, savingMs, skewMs, ports, memoryBytes, diskBytes, channelBytes, bytes, digest }, {
      pauseMs: { a: 8, b: 8 }, savingMs: { a: 250.5 }, skewMs: 2, ports: [{ port: 'b:eth1', framesHeld: 4, longestHoldMs: 2, framesPutBack: 0 }],
      memoryBytes: 20, diskBytes: 10, channelBytes: 3, bytes: 33, digest: 'd1',
    })
  })

  it('names a port from which only put-back frames came, and has no port where nothing was counted for one', () => {
    const inventory = disrupted()
    inventory.hosts[0]!.vms[0]!.cut.latches[0]!.putBack = 3
    assert.deepEqual(entryOf(inventory).ports!.map((p) => [p.port, p.framesHeld, p.framesPutBack]), [['a:if0', 0, 3], ['b:eth1', 4, 0]])
    const { ports, savingMs, digest } = entryOf(anInventory())
    assert.deepEqual([ports, savingMs, digest], [[], {}, undefined], 'an inventory from before')
  })

  it('has it on one line, without a pause for a suspension', () => {
    const inventory = disrupted()
    assert.equal(disruptionText(entryOf(inventory)),
      'longest pause 8.0 ms, cuts 2.0 ms apart, 4 frames held (longest 2.0 ms), 1 recorded; 33 bytes, committed after 0.3 s')
    for (const vm of inventory.hosts[0]!.vms) vm.cut.resumedAt = undefined
    inventory.hosts[0]!.log.framesHeld = 0
    assert.equal(disruptionText(entryOf(inventory)), 'cuts 2.0 ms apart, no frame held, 1 recorded; 33 bytes, committed after 0.3 s')
  })
})
