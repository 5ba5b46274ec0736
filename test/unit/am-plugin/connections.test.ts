import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { addressOf, Connections } from '../../../am-plugin/connections.js'

let port = 0
/** As much of a socket as is looked at. Like a real one it forgets its address when it is closed. */
class FakeSocket extends EventEmitter {
  remoteAddress: string | undefined
  remotePort: number | undefined = ++port
  destroyed = false

  constructor(address: string) {
    super()
    this.remoteAddress = address
  }

  destroy(): void {
    this.destroyed = true
    this.remoteAddress = this.remotePort = undefined
    this.emit('close')
  }
}

function opened(connections: Connections, address = '192.0.2.1'): { socket: FakeSocket; as: Socket; taken: boolean } {
  const socket = new FakeSocket(address)
  const as = socket as unknown as Socket
  return { socket, as, taken: connections.add(as) }
}

describe('connections', () => {
  it('closes the one that has been idle for longest when there are too many', () => {
    const connections = new Connections({ connections: 3, addressConnections: 3 })
    const [a, b, c] = [1, 2, 3].map(() => opened(connections)) as [ReturnType<typeof opened>, ReturnType<typeof opened>, ReturnType<typeof opened>]
    connections.begin(a.as)
    connections.end(a.as) // idle since now
    connections.begin(b.as) // at work
    opened(connections)
    assert.deepEqual([a, b, c].map((x) => x.socket.destroyed), [false, false, true])
    opened(connections)
    assert.deepEqual([a, b, c].map((x) => x.socket.destroyed), [true, false, true])
    assert.equal(connections.size, 3)
  })

  it('refuses a new one only when all others are at work, and has room when one of them ends', () => {
    const connections = new Connections({ connections: 1, addressConnections: 1 })
    const a = opened(connections)
    connections.begin(a.as)
    connections.begin(a.as)
    connections.end(a.as) // one of two calls
    const b = opened(connections)
    assert.deepEqual([a.socket.destroyed, b.socket.destroyed, b.taken], [false, true, false])
    a.socket.destroy()
    assert.deepEqual([opened(connections).taken, connections.size], [true, 1])
  })

  it('lets one address have no more than its share: there it closes its own', () => {
    const connections = new Connections({ connections: 100, addressConnections: 2 })
    const other = opened(connections, '198.51.100.7')
    const [a, b] = [opened(connections), opened(connections)]
    opened(connections, '::ffff:192.0.2.1')
    assert.deepEqual([other, a, b].map((x) => x.socket.destroyed), [false, true, false])
    assert.equal(connections.size, 3)
  })

  it('counts none that has gone before it was looked at', () => {
    const connections = new Connections({ connections: 2, addressConnections: 2 })
    for (let i = 0; i < 3; i++) {
      const socket = new FakeSocket('192.0.2.1')
      socket.destroy()
      assert.equal(connections.add(socket as unknown as Socket), false)
    }
    assert.deepEqual([connections.size, opened(connections).taken, opened(connections).taken, connections.size], [0, true, true, 2])
  })

  it('takes an IPv6 network for one address', () => {
    assert.equal(addressOf('::ffff:192.0.2.1'), '192.0.2.1')
    assert.equal(addressOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
    assert.equal(addressOf('2001:db8:1:2::9'), '2001:db8:1:2::/64')
    assert.equal(addressOf('2001:db8::9'), '2001:db8:0:0::/64')
    assert.equal(addressOf('fe80::1%eth0'), 'fe80:0:0:0::/64')
    assert.equal(addressOf('::1'), '0:0:0:0::/64')
    assert.equal(addressOf(undefined), '')
  })
})
