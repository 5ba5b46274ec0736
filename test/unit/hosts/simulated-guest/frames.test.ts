// Frames of simulated guests go through the real switch and into captures, so their bytes must be right, not only agreed on.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decodeArp, decodeFrame, encodeArp, encodeFrame, ipNumber, sameNetwork } from '../../../../hosts/hypervisor/simulated/guest/ethernet.js'
import { decodeSegment, encodeSegment, makeRecord, type SegmentKind } from '../../../../hosts/hypervisor/simulated/guest/stream-wire.js'
import { decodeUdp, encodeUdp, internetChecksum } from '../../../../hosts/hypervisor/simulated/guest/udp.js'

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((b) => Array.from(b, (n) => n.toString(16).padStart(2, '0')).join(':'))
const ip = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((b) => b.join('.'))
const u16 = fc.integer({ min: 0, max: 0xffff })
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const plain = { noNullPrototype: true } as const
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((b) => Buffer.from(b))

describe('the frames of a simulated guest', () => {
  it('are read as they were written, padded to 60 bytes', () => {
    fc.assert(fc.property(fc.record({ to: mac, from: mac, type: u16, payload: bytes(100) }, plain), (frame) => {
      const wire = encodeFrame(frame)
      assert.ok(wire.length >= 60)
      const { payload, ...rest } = decodeFrame(wire)!
      assert.deepEqual({ ...rest, payload: payload.subarray(0, frame.payload.length) }, frame)
    }))
    fc.assert(fc.property(fc.record({ reply: fc.boolean(), senderMac: mac, senderIp: ip, targetMac: mac, targetIp: ip }, plain), (arp) => {
      assert.deepEqual(decodeArp(encodeArp(arp)), arp)
    }))
    const datagram = fc.record({ from: ip, to: ip, fromPort: u16, toPort: u16, payload: bytes(100) }, plain)
    fc.assert(fc.property(datagram, u16, (d, ident) => {
      const packet = encodeUdp(d, ident)
      assert.equal(internetChecksum(packet.subarray(0, 20)), 0)
      assert.deepEqual(decodeUdp(Buffer.concat([packet, Buffer.alloc(7)])), d)
    }))
    const kind = fc.constantFrom<SegmentKind>('open', 'opened', 'data', 'ack', 'reset')
    fc.assert(fc.property(kind, u32, u32, (k, connection, number) => {
      const segment = { kind: k, connection, number, ...(k === 'data' ? { record: makeRecord(number) } : {}) }
      assert.deepEqual(decodeSegment(encodeSegment(segment)), segment)
    }))
  })

  it('are those of the standards, byte for byte', () => {
    assert.equal(internetChecksum(Buffer.from('0001f203f4f5f6f7', 'hex')), 0x220d, 'the example of RFC 1071')
    const header = Buffer.from('450000730000400040110000c0a80001c0a800c7', 'hex')
    assert.equal(internetChecksum(header), 0xb861, 'a header that is in many textbooks')
    assert.equal(
      encodeArp({ reply: false, senderMac: '02:00:00:00:00:01', senderIp: '10.10.1.1', targetMac: '00:00:00:00:00:00', targetIp: '10.10.1.2' }).toString('hex'),
      '00010800060400010200000000010a0a01010000000000000a0a0102',
    )
    // Made with Python's socket and struct by hand: 10.10.1.1:7001 to 10.10.1.2:7001, "hi", identification 5.
    assert.equal(
      encodeUdp({ from: '10.10.1.1', to: '10.10.1.2', fromPort: 7001, toPort: 7001, payload: Buffer.from('hi') }, 5).toString('hex'),
      '4500001e00054000401124b40a0a01010a0a01021b591b59000a4aa86869',
    )
  })

  it('of any other bytes are nothing, and throw nothing', () => {
    fc.assert(fc.property(bytes(120), (b) => {
      decodeFrame(b)
      decodeArp(b)
      decodeUdp(b)
      decodeSegment(b)
    }))
    const packet = encodeUdp({ from: '10.10.1.1', to: '10.10.1.2', fromPort: 1, toPort: 2, payload: Buffer.from('hello') }, 1)
    for (let length = 0; length < packet.length; length++) assert.equal(decodeUdp(packet.subarray(0, length)), undefined)
    const fragment = Buffer.from(packet)
    fragment.writeUInt16BE(0x2000, 6)
    fragment.writeUInt16BE(0, 10)
    fragment.writeUInt16BE(internetChecksum(fragment.subarray(0, 20)), 10)
    assert.equal(decodeUdp(fragment), undefined)
  })

  it('and addresses compare as numbers', () => {
    assert.equal(ipNumber('255.255.255.255'), 0xffff_ffff)
    assert.deepEqual([24, 23, 0, 32].map((n) => sameNetwork('10.10.2.1', '10.10.3.1', n)), [false, true, true, false])
  })
})
