// What the simulated guest is for: a consistent snapshot must pass the check of the bank, and one that is not must fail it,
// whatever was saved at another moment than the rest: a VM, a disk, or the frames in flight.
import assert from 'node:assert/strict'
import { Guest } from '../../../../hosts/hypervisor/simulated/guest/guest.js'
import { Lan, sentIn, specOf } from './lan.js'

function started(ms = 2_000): Lan {
  const lan = new Lan(3)
  lan.run(ms)
  return lan
}

function untilCoinInFlight(lan: Lan): void {
  for (let ms = 0; ms < 100; ms++) {
    if (lan.flights.some((f) => sentIn(f.frame)?.port === 7001)) return
    lan.run(1)
  }
  assert.fail('no coin was in flight for 100 ms')
}

describe('snapshots of simulated guests', () => {
  it('that are consistent restore whole, again and again, with frames in flight', () => {
    const lan = started()
    untilCoinInFlight(lan)
    const snapshot = lan.snapshot()
    for (const after of [1, 700, 3_000]) {
      lan.run(after)
      lan.restore(snapshot)
      assert.deepEqual(lan.nodes.map(({ guest }) => JSON.stringify(guest.memory())), snapshot.memories)
    }
    lan.run(2_000)
    assert.deepEqual(lan.judge().findings, [])
  })

  it('may be taken at any moment, from before the first ARP on', () => {
    for (let ms = 0; ms < 60; ms++) {
      const lan = new Lan(3)
      lan.run(ms)
      const snapshot = lan.snapshot()
      lan.run(200)
      lan.restore(snapshot)
      lan.run(1_000)
      const check = lan.judge()
      assert.deepEqual(check.findings, [], `after ${ms} ms`)
    }
  })

  it('that lost the frames in flight are found out', () => {
    const lan = started()
    untilCoinInFlight(lan)
    lan.restore({ ...lan.snapshot(), flights: [] })
    lan.run(1_000)
    const check = lan.judge()
    assert.ok(check.lost > 0)
    assert.equal(check.tcpBroken, 0, 'the stream repairs what it lost')
  })

  for (const i of [0, 1, 2]) {
    it(`that put back only VM ${i} are found out: orphans, losses and the stream`, () => {
      const lan = started()
      const snapshot = lan.snapshot()
      lan.run(600)
      lan.restoreOne(i, snapshot, 0.4)
      lan.run(2_000)
      const check = lan.judge()
      assert.ok(check.lost > 100, `${check.lost} lost`)
      assert.ok(check.orphans > 100, `${check.orphans} orphans`)
      assert.ok(check.tcpBroken > 0)
      assert.ok(check.findings.some((f) => f.includes('which was never sent')), check.findings.join('\n'))
    })
  }

  it('that put back only one VM, to before it had begun, are found out', () => {
    const lan = new Lan(3)
    lan.run(3)
    const snapshot = lan.snapshot()
    lan.run(3_000)
    lan.restoreOne(1, snapshot, 0.4)
    lan.run(2_000)
    const check = lan.judge()
    assert.ok(check.lost > 0 && check.orphans > 0)
    assert.ok(check.findings.some((f) => f.includes('the neighbour connected anew')))
    assert.ok(check.findings.some((f) => f.includes('the neighbour does not know of the connection')))
  })

  for (const ms of [3, 8, 2_000]) {
    it(`that put back only one VM are found out even if it does everything again at the same nanosecond, from ${ms} ms on`, () => {
      const lan = started(ms)
      const snapshot = lan.snapshot()
      lan.run(1_000)
      lan.restoreOne(1, snapshot)
      lan.run(2_000)
      const check = lan.judge()
      assert.ok(check.duplicated + check.orphans > 100 && check.tcpBroken > 0, check.findings.join('\n'))
    })
  }

  it('that put back one VM by more than the window break its stream at once', () => {
    const lan = started()
    const snapshot = lan.snapshot()
    lan.run(3_000)
    lan.restoreOne(1, snapshot, 0.4)
    lan.run(100)
    assert.ok(lan.reports()[1]!.report.tcp.errors.some((e) => /previous neighbour broke .* no more than 64 can follow/.test(e)))
  })

  it('that put back one VM by less leave its stream not whole', () => {
    const lan = started()
    lan.copies = (s) => (s?.from === 1 && s.port === 7002 && s.kind === 3 ? 0 : 1) // its own records aside: only what it receives is of interest
    const snapshot = lan.snapshot()
    lan.run(300)
    lan.restoreOne(1, snapshot, 0.4)
    assert.ok(lan.judge().findings.some((f) => f.startsWith('a -> b: TCP stream not whole')))
  })

  it('with a disk that is older than the memory are found out', () => {
    const lan = started()
    const old = lan.snapshot()
    lan.run(1_000)
    lan.restore({ ...lan.snapshot(), disks: [old.disks[0], lan.nodes[1]!.disk, Buffer.from('torn')] })
    lan.everywhere('bank stop')
    const check = lan.judge()
    assert.equal(check.diskMismatch, 2)
    assert.match(check.findings[0]!, /^a: the counter on the disk is \d+, in memory \d+ are written/)
    assert.match(check.findings[1]!, /^c: the counter on the disk cannot be read or is torn/)
  })

  it('go on in the copy and leave the original alone', () => {
    const lan = started()
    const { guest } = lan.nodes[0]!
    const memory = guest.memory()
    const text = JSON.stringify(memory)
    const copy = new Guest(specOf(0, 3), { now: () => 9_000, transmit: () => undefined, readDisk: () => undefined, writeDisk: () => undefined }, memory)
    copy.tick()
    assert.notEqual(JSON.stringify(copy.memory()), text)
    lan.run(500)
    assert.equal(JSON.stringify(memory), text)
    assert.notEqual(JSON.stringify(guest.memory()), text)
    assert.deepEqual(JSON.parse(JSON.stringify(guest.memory())), guest.memory())
  })
})
