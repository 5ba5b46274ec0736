// What surrounds the bank in a simulated guest: its login, its disk and its edge to the network, where anything may come in.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseReport } from '../../../../cli/bank/report.js'
import { peersOf } from '../../../../hosts/hypervisor/simulated/guest/bank.js'
import { decodeCounter, encodeCounter } from '../../../../hosts/hypervisor/simulated/guest/disk-counter.js'
import { decodeFrame, encodeFrame, etherTypes } from '../../../../hosts/hypervisor/simulated/guest/ethernet.js'
import { Guest, type GuestMemory } from '../../../../hosts/hypervisor/simulated/guest/guest.js'
import { encodeSegment } from '../../../../hosts/hypervisor/simulated/guest/stream-wire.js'
import { encodeUdp } from '../../../../hosts/hypervisor/simulated/guest/udp.js'
import { ipOf, Lan, macOf, specOf } from './lan.js'

function alone(execute: string[] = [], count = 2) {
  const at = { now: 5, frames: [] as Buffer[], disk: undefined as Buffer | undefined, diskFails: false }
  const world = {
    now: () => at.now,
    transmit: (_: number, frame: Buffer) => { at.frames.push(frame) },
    readDisk: () => at.disk,
    writeDisk: (block: Buffer) => {
      if (at.diskFails) throw new Error('no medium')
      at.disk = block
    },
  }
  return { at, world, guest: new Guest(specOf(0, count, execute), world) }
}

describe('the login of a simulated guest', () => {
  it('answers the commands that a driver and an experimenter use', () => {
    const { guest } = alone()
    assert.deepEqual(guest.command('hostname'), { code: 0, out: 'a\n', err: '' })
    assert.deepEqual(guest.command('true'), { code: 0, out: '', err: '' })
    assert.deepEqual(guest.command(`echo one  'two;  three' "a && b"`), { code: 0, out: 'one two;  three a && b\n', err: '' })
    assert.deepEqual(guest.command('frobnicate now'), { code: 127, out: '', err: 'sh: frobnicate: not found\n' })
    assert.equal(guest.command('bank').code, 2)
    assert.equal(guest.command('bank eat').code, 2)
  })

  it('runs several commands, as a shell does', () => {
    const { guest } = alone()
    assert.deepEqual(guest.command('# no; nothing\nfrob; echo a\necho b && frob && echo c'), {
      code: 127, out: 'a\nb\n', err: 'sh: frob: not found\nsh: frob: not found\n',
    })
    assert.deepEqual(guest.command(''), { code: 0, out: '', err: '' })
  })

  it('starts the bank once, and says so when it does not run', () => {
    const { guest } = alone()
    assert.match(guest.command('bank report').err, /it is not running/)
    assert.equal(guest.nextDue(), Infinity)
    assert.deepEqual(guest.command('bank start'), { code: 0, out: '', err: '' })
    assert.equal(guest.command('bank start').out, 'the bank is already running\n')
    assert.equal(parseReport('a', guest.command('bank report').out).state, 'waiting')
    assert.equal(guest.command('bank stop').out, 'stopped\n')
    assert.equal(parseReport('a', guest.command('bank report').out).state, 'stopped')
    assert.equal(guest.command('bank go').out, 'going\n')
    assert.equal(guest.nextDue(), 5)
  })

  it('executes at boot what the request says, notes what it cannot, and does not again when restored', () => {
    const { guest, world } = alone(['#!/bin/sh\nfrob; bank start', 'bank report'])
    assert.deepEqual(guest.memory().log.slice(0, 1), ['execute 0: sh: frob: not found'])
    assert.match(guest.memory().log[1]!, /^execute 1: \{"index":0/)
    const memory = guest.memory()
    assert.deepEqual(new Guest(specOf(0, 2, ['frob']), world, memory).memory(), memory)
  })

  it('does not start the bank without a disk or without an address', () => {
    const { guest, at } = alone()
    at.diskFails = true
    assert.deepEqual(guest.command('bank start'), { code: 1, out: '', err: 'bank: cannot write to the disk: no medium\n' })
    assert.equal(guest.command('bank report').code, 1)
    const none = new Guest({ ...specOf(0, 2), nics: [] }, alone().world)
    assert.match(none.memory().log[0]!, /no address in \/etc\/violin\/peers/)
  })

  it('sees all nodes in the network of its first NIC, sorted as numbers', () => {
    const neighbours = ['10.10.1.10', '10.10.1.9', '10.10.2.1', '10.10.1.1', '10.10.1.9'].map((ip) => ({ name: 'x', ip }))
    assert.deepEqual(peersOf({ ...specOf(0, 2), neighbours }), ['10.10.1.1', '10.10.1.9', '10.10.1.10'])
  })
})

describe('the disk of a simulated guest', () => {
  it('holds a counter that is read back, and no other bytes are taken for one', () => {
    assert.deepEqual([0, 1, 4_000_000_000].map((n) => decodeCounter(encodeCounter(n))), [0, 1, 4_000_000_000])
    assert.deepEqual([decodeCounter(undefined), decodeCounter(Buffer.alloc(512))], [-1, -1])
    fc.assert(fc.property(fc.nat(), fc.integer({ min: 0, max: 511 }), fc.integer({ min: 1, max: 255 }), (n, at, flip) => {
      const block = encodeCounter(n)
      block[at]! ^= flip
      assert.equal(decodeCounter(block), -1)
    }))
    const torn = Buffer.concat([encodeCounter(8).subarray(0, 256), encodeCounter(7).subarray(256)])
    assert.equal(decodeCounter(torn), -1)
  })

  it('is good while it is written, and bad once a write failed', () => {
    const { guest, at, world } = alone(['bank start'], 1)
    const seen: GuestMemory[] = []
    const watched = new Guest(specOf(0, 1), { ...world, writeDisk: (block) => {
      seen.push(watched.memory())
      world.writeDisk(block)
    } }, guest.memory())
    watched.tick()
    assert.deepEqual([seen[0]!.bank!.disk.intent, seen[0]!.bank!.disk.done], [1, 0])
    for (const memory of [seen[0]!, watched.memory()]) {
      const { disk } = parseReport('a', new Guest(specOf(0, 1), world, memory).command('bank report').out)
      assert.deepEqual([disk.onDisk, disk.ok], [1, true])
    }
    at.now += 50
    at.diskFails = true
    watched.tick()
    assert.equal(parseReport('a', watched.command('bank report').out).disk.ok, false)
  })
})

describe('the edge of a simulated guest', () => {
  const coin = (words: number[]) => {
    const payload = Buffer.alloc(4 * words.length)
    for (const [i, word] of words.entries()) payload.writeUInt32BE(word, 4 * i)
    return payload
  }
  const good = coin([0x42414e4b, 3, 1, 0, 1, 1, 0, 77])
  const framed = (payload: Buffer, change: { to?: string; ip?: string; from?: string; port?: number } = {}) => encodeFrame({
    to: change.to ?? macOf(0), from: macOf(1), type: etherTypes.ipv4,
    payload: encodeUdp({ from: change.from ?? ipOf(1), to: change.ip ?? ipOf(0), fromPort: 7001, toPort: change.port ?? 7001, payload }, 1),
  })
  const received = (frames: Buffer[]) => {
    const { guest } = alone(['bank start'])
    for (const frame of frames) guest.receive(0, frame)
    return parseReport('a', guest.command('bank report').out).channels[0]!.received
  }

  it('takes what is addressed to it and nothing else', () => {
    assert.equal(received([framed(good)]), 1)
    assert.equal(received([framed(good, { to: 'ff:ff:ff:ff:ff:ff' })]), 1)
    assert.equal(received([
      framed(good, { to: macOf(2) }), framed(good, { ip: ipOf(2) }), framed(good, { from: ipOf(3) }), framed(good, { from: ipOf(0) }),
      framed(good, { port: 7000 }), framed(coin([0x42414e4b, 3, 1, 1, 1, 1, 0, 77])), framed(coin([0x42414e4b, 3, 0, 0, 1, 1, 0, 77])),
      framed(coin([0x42414e4b, 3, 1, 0, 0, 1, 0, 77])), framed(good.subarray(0, 31)), framed(Buffer.concat([good, Buffer.alloc(1)])),
    ]), 0)
  })

  it('lets only its neighbours touch its streams: the previous one opens, the next one answers', () => {
    const opening = encodeSegment({ kind: 'open', connection: 7, number: 1 })
    const answersTo = (peer: number) => {
      const { guest, at } = alone(['bank start'], 3)
      guest.receive(0, framed(opening, { from: ipOf(peer), port: 7002 }))
      return at.frames.length
    }
    assert.deepEqual([answersTo(1), answersTo(2)], [0, 1])
    const broken = (peer: number) => {
      const lan = new Lan(3)
      lan.run(500)
      const { connection } = lan.nodes[0]!.guest.memory().bank!.out
      lan.nodes[0]!.guest.receive(0, framed(encodeSegment({ kind: 'reset', connection, number: 0 }), { from: ipOf(peer), port: 7002 }))
      return lan.reports()[0]!.report.tcp.broken
    }
    assert.deepEqual([broken(1), broken(2)], [1, 0])
  })

  it('drops a frame in which any bit of the datagram is wrong', () => {
    const frame = framed(good)
    fc.assert(fc.property(fc.integer({ min: 14, max: frame.length - 1 }), fc.integer({ min: 0, max: 7 }), (at, bit) => {
      const damaged = Buffer.from(frame)
      damaged[at]! ^= 1 << bit
      assert.equal(received([damaged]), 0)
    }))
  })

  it('bears frames of any bytes, whole or cut short, in any state, and still gives a good report', () => {
    const lan = new Lan(3)
    lan.run(300)
    const memory = JSON.stringify(lan.nodes[0]!.guest.memory())
    const real: Buffer[] = []
    lan.copies = (_, flight) => {
      if (flight.to === 0) real.push(flight.frame)
      return 1
    }
    lan.run(300)
    const word = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constantFrom(0x42414e4b, 0x53545245, 0xffffffff, 70))
    const strange = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from(b)),
      fc.record({ i: fc.nat(), at: fc.nat(), to: fc.nat(255), cut: fc.nat(300) }).map(({ i, at, to, cut }) => {
        const frame = Buffer.from(real[i % real.length]!)
        frame[at % frame.length] = to
        return frame.subarray(0, cut)
      }),
      fc.record({ port: fc.constantFrom(7001, 7002), words: fc.array(word, { maxLength: 22 }) }).map(({ port, words }) => framed(coin(words), { port })),
    )
    const { world, at } = alone([], 3)
    at.now = 600
    fc.assert(fc.property(fc.array(strange, { maxLength: 20 }), fc.boolean(), fc.integer({ min: -1, max: 2 }), (frames, begun, nic) => {
      const guest = begun ? new Guest(specOf(0, 3), world, JSON.parse(memory) as GuestMemory) : new Guest(specOf(0, 3), world)
      for (const frame of frames) {
        guest.receive(nic, frame)
        guest.receive(0, frame)
        guest.tick()
      }
      parseReport('a', guest.command('bank report').out)
      assert.deepEqual(JSON.parse(JSON.stringify(guest.memory())), guest.memory())
    }), { numRuns: 200 })
  })

  it('asks for an address at most three times, keeps a bounded number of packets, and answers who asks for its own', () => {
    const { guest, at } = alone(['bank start'])
    for (; at.now < 2_600; at.now += 10) guest.tick()
    const kinds = at.frames.map((f) => decodeFrame(f)!)
    assert.ok(kinds.every((f) => f.type === etherTypes.arp && f.to === 'ff:ff:ff:ff:ff:ff'))
    assert.equal(kinds.length, 3)
    assert.ok(guest.memory().network.asked.every((a) => a.packets.length <= 16))
    at.frames.length = 0
    const { at: other, guest: peer } = (() => {
      const frames: Buffer[] = []
      const spec = specOf(1, 2)
      return { at: frames, guest: new Guest(spec, { ...alone().world, transmit: (_, f) => { frames.push(f) } }) }
    })()
    peer.tick()
    guest.receive(0, other[0]!)
    assert.deepEqual(decodeFrame(at.frames[0]!)!.to, macOf(1))
    assert.ok(at.frames.length > 1, 'and what waited for it goes out at once')
  })
})
