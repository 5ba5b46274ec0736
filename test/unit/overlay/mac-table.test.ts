import assert from 'node:assert/strict'
import { MacTable } from '../../../overlay/mac-table.js'

const mac = (text: string) => Buffer.from(text.replaceAll(':', ''), 'hex')
const a = mac('52:54:00:00:00:01')

describe('the address table', () => {
  it('leads to the port that an address was last seen at, in its LAN only', () => {
    const table = new MacTable()
    table.learn('lan0', a, 1)
    assert.equal(table.lookup('lan0', a), 1)
    assert.equal(table.lookup('lan1', a), undefined)
    table.learn('lan0', a, 2)
    assert.equal(table.lookup('lan0', a), 2)
  })

  it('floods to groups and strangers, and learns no group address', () => {
    const table = new MacTable()
    const broadcast = mac('ff:ff:ff:ff:ff:ff')
    table.learn('lan0', broadcast, 1)
    table.learn('lan0', mac('01:00:5e:00:00:01'), 1)
    assert.equal(table.lookup('lan0', broadcast), undefined)
    assert.equal(table.lookup('lan0', mac('01:00:5e:00:00:01')), undefined)
    assert.equal(table.lookup('lan0', a), undefined)
  })

  it('forgets a port that is gone', () => {
    const table = new MacTable()
    table.learn('lan0', a, 1)
    table.learn('lan0', mac('52:54:00:00:00:02'), 2)
    table.forget(1)
    assert.equal(table.lookup('lan0', a), undefined)
    assert.equal(table.lookup('lan0', mac('52:54:00:00:00:02')), 2)
  })

  it('stays bounded under a guest that invents addresses', () => {
    const table = new MacTable()
    const invented = Buffer.alloc(6)
    for (let i = 0; i < 65_537; i++) {
      invented.writeUInt32BE(i, 2)
      table.learn('lan0', invented, 1)
    }
    assert.equal(table.lookup('lan0', Buffer.alloc(6)), undefined, 'the first was forgotten')
    assert.equal(table.lookup('lan0', invented), 1)
  })
})
