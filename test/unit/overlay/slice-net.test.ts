import assert from 'node:assert/strict'
import { Refusal } from '../../../base/errors.js'
import { SliceNet, type Base, type DeviceWitness } from '../../../overlay/slice-net.js'
import { everybody, ethernet, macOf, Wire } from './wire.js'

/** VMs 1..n with one interface each on one LAN; each is known to the address table, and its counting begins at `base`. */
function aNet(count = 2, base: Base | null = { usedRx: 0, usedTx: 0 }) {
  const held: number[] = []
  const net = new SliceNet({ slice: 's', run: '0000000100000000', epoch: 1 }, () => 1, { onHeld: (t) => held.push(t), onFlight: () => undefined })
  const wires = Array.from({ length: count }, (_, i) => {
    const id = i + 1
    const port = net.addPort({ id, vm: `vm${id}`, lan: 'lan0', mac: '', seq: 0, ...(base ? { base } : {}) })
    const wire = new Wire()
    port.link = wire
    return { port, wire }
  })
  const port = (id: number) => wires[id - 1]!.port
  const send = (from: number, to: number, text: string) => net.ingress(port(from), ethernet(macOf(to), macOf(from), text))
  for (let id = 1; id <= count; id++) net.ingress(port(id), ethernet(everybody, macOf(id), 'hello'))
  const device = (id: number, more: Partial<DeviceWitness> = {}): DeviceWitness =>
    ({ port: id, usedRx: port(id).framesWritten, usedTx: port(id).framesRead, vring: 'v', ...more })
  const cut = (id: number, k: number, more: Partial<DeviceWitness> = {}, putBack = true) => {
    net.gate(`vm${id}`)
    return net.cut(`vm${id}`, k, 'op', [device(id, more)], putBack)[0]!
  }
  for (const { wire } of wires) wire.got.length = 0
  return { net, held, port, send, device, cut, texts: (id: number) => wires[id - 1]!.wire.texts, wire: (id: number) => wires[id - 1]!.wire }
}

describe('the switching of a LAN', () => {
  it('sends a frame to the port of its address, and a frame for everybody or a stranger to all others of that LAN', () => {
    const { net, send, texts } = aNet(3)
    net.addPort({ id: 4, vm: 'vm4', lan: 'lan1', mac: '', seq: 0 })
    send(1, 2, 'to b')
    send(1, 77, 'to a stranger')
    net.ingress(net.ports('vm1')[0]!, ethernet(everybody, macOf(1), 'to all'))
    assert.deepEqual([texts(1), texts(2), texts(3)], [[], ['to b', 'to a stranger', 'to all'], ['to a stranger', 'to all']])
    assert.equal(net.ports('vm4')[0]!.channels.size, 0)
  })

  it('sends nothing back to where it came from, and takes no frame that is too short to have addresses', () => {
    const { net, port, send, cut, texts } = aNet()
    send(1, 1, 'to myself')
    const before = { read: port(1).framesRead, seq: port(1).seq }
    net.ingress(port(1), Buffer.alloc(13))
    assert.deepEqual([texts(1), texts(2), port(1).seq - before.seq], [[], [], 0])
    net.prepare(2, 'colour')
    const { witness, nowhere, framesRead } = cut(1, 2)
    assert.deepEqual([witness, nowhere, framesRead - before.read], ['exact', 2, 1], 'the device counts it as well')
  })

  it('refuses a port number that is taken', () => {
    assert.throws(() => aNet().net.addPort({ id: 1, vm: 'x', lan: 'l', mac: '', seq: 0 }), (e: unknown) => e instanceof Refusal && e.code === 'exists')
  })
})

describe('the witnesses of a cut', () => {
  it('are exact when the device sent what was read, and what it has not received is put back and not in the image', () => {
    const { net, port, send, cut, texts, wire } = aNet()
    net.prepare(2, 'colour')
    for (const n of [1, 2, 3]) send(1, 2, `f${n}`)
    const latch = cut(2, 2, { usedRx: port(2).framesWritten - 2 })
    assert.deepEqual({ witness: latch.witness, putBack: latch.putBack, delivered: latch.channels[0]!.delivered.n }, { witness: 'exact', putBack: 2, delivered: 2 })
    wire(2).got.length = 0
    net.thaw('vm2')
    assert.deepEqual(texts(2), ['f2', 'f3'])
    cut(1, 2)
    assert.deepEqual(net.closeLog(2).map((f) => f.frame.bytes.toString('latin1', 14)), ['f2', 'f3'])
  })

  it('are exact over the wrap of the 16-bit indexes', () => {
    const { net, port, send, cut } = aNet(2, { usedRx: 65_535, usedTx: 65_535 })
    net.prepare(2, 'colour')
    for (const n of [1, 2, 3]) send(1, 2, `f${n}`)
    const usedTx = (65_535 + port(2).framesRead) % 65_536
    const usedRx = (65_535 + port(2).framesWritten - 1) % 65_536
    const latch = cut(2, 2, { usedRx, usedTx })
    assert.deepEqual([latch.witness, latch.putBack], ['exact', 1])
  })

  it('say "none" without a base, without a device, and when the guest has reset its NIC since', () => {
    for (const [base, more] of [[null, {}], [{ usedRx: 0, usedTx: 0, vring: 'before' }, {}]] as const) {
      const { net, send, cut } = aNet(2, base)
      net.prepare(2, 'colour')
      send(1, 2, 'f')
      const latch = cut(2, 2, { usedRx: 0, ...more })
      assert.deepEqual([latch.witness, latch.putBack], ['none', 0])
    }
    const { net } = aNet()
    net.prepare(2, 'colour')
    assert.equal(net.cut('vm1', 2, 'op', [], true)[0]!.witness, 'none')
  })

  it('say "none" when more seems to wait than was ever written', () => {
    const { net, cut } = aNet()
    net.prepare(2, 'colour')
    assert.equal(cut(2, 2, { usedRx: 60_000 }).witness, 'none')
  })

  it('say "tx-differs" when the device sent another number of frames than were read, and then put nothing back', () => {
    const { net, port, send, cut } = aNet()
    net.prepare(2, 'colour')
    send(1, 2, 'f')
    const latch = cut(2, 2, { usedTx: port(2).framesRead + 1, usedRx: 0 })
    assert.deepEqual([latch.witness, latch.putBack], ['tx-differs', 0])
  })

  it('are exact for a flip that comes so late that the VM has run on since it was asked, and the next cut finds counters that add up', () => {
    const { net, port, send, device, cut } = aNet()
    net.prepare(2, 'colour')
    send(1, 2, 'f')
    net.gate('vm2')
    const asked = device(2, { usedRx: port(2).framesWritten - 1 }) // `stop` has thrown one away
    send(2, 1, 'g')
    send(2, 1, 'h')
    const [latch] = net.cut('vm2', 2, 'op', [asked], true, true)
    assert.deepEqual([latch!.witness, latch!.putBack], ['exact', 1])
    net.forward(2)
    net.prepare(3, 'colour')
    assert.deepEqual([cut(2, 3, { usedRx: asked.usedRx + 1 }).witness, cut(1, 3).witness], ['exact', 'exact'])
  })

  it('begin again at every cut and every rebase', () => {
    const { net, port, send, device, cut } = aNet(2, undefined)
    net.rebase('vm2', [device(2, { usedRx: 500, usedTx: 900 })])
    net.prepare(2, 'colour')
    send(1, 2, 'f')
    send(2, 1, 'g')
    assert.equal(cut(2, 2, { usedRx: 501, usedTx: 901 }).witness, 'exact')
    net.forward(2)
    net.prepare(3, 'colour')
    send(1, 2, 'h')
    assert.deepEqual([cut(2, 3, { usedRx: 501, usedTx: 901 }).putBack, port(2).waitingFrames], [1, 1])
  })

  it('are latched with what they were weighed against, and with what a restart of the switch means', () => {
    const { net, port, send, device } = aNet()
    net.rebase('vm1', [device(1, { usedRx: 65_535, usedTx: 7 })])
    const before = { framesRead: port(1).framesRead, framesWritten: port(1).framesWritten }
    send(1, 2, 'one more')
    net.prepare(2, 'colour')
    const [latch] = net.cut('vm1', 2, 'op', [device(1, { usedRx: 65_535, usedTx: 8 })], true)
    assert.deepEqual([latch!.witness, latch!.base, latch!.reconnected], ['exact', { usedRx: 65_535, usedTx: 7, vring: 'v', ...before }, undefined])
    const again = net.addPort({ id: 3, vm: 'vm3', lan: 'lan0', mac: '', seq: 0, reconnected: true })
    const [third] = net.cut('vm3', 2, 'op', [{ port: again.id, usedRx: 0, usedTx: 0, vring: 'v' }], true)
    assert.deepEqual([third!.witness, third!.base, third!.reconnected], ['none', undefined, true])
  })

  it('put nothing back when that is switched off', () => {
    const { net, port, send, cut } = aNet()
    net.prepare(2, 'colour')
    send(1, 2, 'f')
    assert.equal(cut(2, 2, { usedRx: port(2).framesWritten - 1 }, false).putBack, 0)
  })
})

describe('a cut of the net', () => {
  it('holds what a VM sends after its cut until the receiver is cut, and tells that it holds', () => {
    const { net, held, send, cut, texts } = aNet()
    net.prepare(2, 'colour')
    send(1, 2, 'before')
    cut(1, 2)
    net.thaw('vm1')
    send(1, 2, 'after')
    assert.deepEqual([texts(2), held], [['before'], [2]])
    cut(2, 2)
    net.thaw('vm2')
    assert.deepEqual(texts(2), ['before', 'after'])
    assert.deepEqual(net.closeLog(2), [])
  })

  it('happens once for each VM and epoch', () => {
    const { net, cut } = aNet()
    net.prepare(2, 'colour')
    cut(1, 2)
    assert.throws(() => cut(1, 2), /has already been cut for 2/)
  })

  it('is refused once the switch has gone forward', () => {
    const { net, cut } = aNet()
    net.prepare(2, 'colour')
    net.forward(2)
    assert.throws(() => cut(1, 2), /has already gone forward to epoch 2/)
  })

  it('cannot close its log while a port is behind', () => {
    const { net, cut } = aNet()
    net.prepare(2, 'colour')
    cut(1, 2)
    assert.throws(() => net.closeLog(2), (e: unknown) => e instanceof Refusal && /vm2 has not been cut/.test(e.message))
  })

  it('that is given up half way releases everything, in order, and the next cut holds again', () => {
    const { net, port, send, cut, texts } = aNet(3)
    net.prepare(2, 'colour')
    cut(1, 2)
    net.gate('vm3')
    net.thaw('vm1')
    for (const n of [1, 2]) for (const to of [2, 3]) send(1, to, `f${n}`)
    assert.deepEqual([texts(2), texts(3)], [[], []])
    net.forward(2)
    net.forward(2)
    assert.deepEqual([texts(2), texts(3)], [['f1', 'f2'], ['f1', 'f2']])
    assert.deepEqual(net.ports().map((p) => [p.epoch, p.gated, p.waitingFrames]), [[2, false, 0], [2, false, 0], [2, false, 0]])
    net.prepare(3, 'colour')
    cut(1, 3)
    send(1, 2, 'f3')
    assert.equal(port(2).waitingFrames, 1)
  })

  it('takes ports that missed an aborted cut forward before it begins', () => {
    const { net } = aNet()
    net.prepare(5, 'colour')
    assert.deepEqual(net.ports().map((p) => p.epoch), [4, 4])
  })

  it('gives a port that comes during it the epoch of the others that were cut', () => {
    const { net, cut } = aNet()
    net.prepare(2, 'colour')
    cut(1, 2)
    assert.equal(net.addPort({ id: 3, vm: 'vm3', lan: 'lan0', mac: '', seq: 0 }).epoch, 2)
  })

  it('keeps to its other rule until it is finished, and to the colours after', () => {
    const { net, port, send, cut, texts } = aNet()
    net.prepare(2, 'none')
    cut(1, 2)
    send(1, 2, 'newer')
    assert.deepEqual(texts(2), ['newer'])
    cut(2, 2)
    net.thaw('vm1')
    net.thaw('vm2')
    assert.deepEqual(net.closeLog(2), [])
    net.finish()
    net.prepare(3, 'colour')
    cut(1, 3)
    send(1, 2, 'held')
    assert.equal(port(2).waitingFrames, 1)
  })
})
