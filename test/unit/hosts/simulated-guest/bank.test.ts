// The simulated bank is a witness: in a whole run its reports must pass the same check as real ones, and each kind of damage
// that a bad snapshot does to memory, disk or frames must be found in them.
import assert from 'node:assert/strict'
import type { BankReport } from '../../../../cli/bank/report.js'
import { ipOf, Lan, type Sent } from './lan.js'

const coin = (s: Sent | undefined) => s?.port === 7001 && s.kind === 3
const record = (s: Sent | undefined) => s?.port === 7002 && s.kind === 3
const between = (s: Sent | undefined, from: number, to: number) => s?.from === from && s.to === ipOf(to)

const coinsSent = (report: BankReport) => report.channels.reduce((n, c) => n + c.sent, 0)
const sentBy = (lan: Lan) => lan.reports().map(({ report }) => ({ coins: coinsSent(report), records: report.tcp.sent }))

function started(count = 3, ms = 2_000): Lan {
  const lan = new Lan(count)
  lan.run(ms)
  return lan
}

describe('the bank of simulated guests', () => {
  for (const count of [2, 3, 4]) {
    it(`finds nothing wrong in a whole run of ${count} VMs, and works at the rates of the real one`, () => {
      const lan = started(count, 10_000)
      assert.equal(lan.reports()[0]!.report.state, 'running')
      const check = lan.judge()
      assert.deepEqual(check.findings, [])
      assert.equal(check.coinsFound, count * 1_000_000)
      for (const { report } of lan.reports()) {
        const coins = coinsSent(report)
        assert.ok(Math.abs(coins - 3_200) < 20, `${coins} coins`)
        assert.ok(Math.abs(report.tcp.sent - 500) < 5, `${report.tcp.sent} records`)
        assert.ok(Math.abs(report.disk.done - 200) < 3, `${report.disk.done} writes`)
        assert.deepEqual([report.state, report.uptimeMs, report.rcvbufErrors], ['stopped', 15_000, 0])
      }
    })
  }

  it('works alone: nothing to send, but the disk', () => {
    const lan = started(1, 1_000)
    const { report } = lan.reports()[0]!
    assert.deepEqual([report.state, report.channels, report.tcp.sent], ['running', [], 0])
    assert.ok(report.disk.done >= 19)
    assert.deepEqual(lan.judge().findings, [])
  })

  it('begins only when all have answered, though ARP and hellos get lost', () => {
    const lan = new Lan(3)
    lan.copies = (_, flight) => (flight.from === 2 ? 0 : 1)
    lan.run(5_000)
    assert.deepEqual(lan.reports().map((r) => r.report.state), ['waiting', 'waiting', 'waiting'])
    lan.copies = () => 1
    lan.run(5_000)
    assert.deepEqual(lan.judge().findings, [])
  })

  it('stops and goes on, without making up for the time it was stopped', () => {
    const lan = started()
    lan.everywhere('bank stop')
    lan.run(1_000)
    const before = sentBy(lan)
    lan.run(5_000)
    assert.deepEqual(sentBy(lan), before)
    lan.everywhere('bank go')
    lan.run(1_000)
    for (const [i, { coins, records }] of sentBy(lan).entries()) {
      assert.ok(Math.abs(coins - before[i]!.coins - 320) < 5, `${coins - before[i]!.coins} coins`)
      assert.ok(Math.abs(records - before[i]!.records - 50) < 3, `${records - before[i]!.records} records`)
    }
    assert.deepEqual(lan.judge().findings, [])
  })

  it('sends no more than ten of each at once after it stood still', () => {
    const lan = started()
    const before = lan.reports()[0]!.report
    lan.now += 60_000 // all clocks jump, as when a host did nothing for a minute
    for (const flight of lan.flights) flight.at += 60_000
    lan.run(1)
    const after = lan.reports()[0]!.report
    assert.equal(coinsSent(after) - coinsSent(before), 10)
    assert.equal(after.disk.done - before.disk.done, 1)
  })
})

describe('damage to frames', () => {
  it('names lost coins by number, and sends none of them again', () => {
    const lan = started()
    const numbers: number[] = []
    lan.copies = (s) => {
      if (!coin(s) || !between(s, 0, 2) || (s!.number !== 400 && s!.number !== 401)) return 1
      numbers.push(s!.number)
      return 0
    }
    lan.run(2_000)
    assert.deepEqual(lan.judge().findings, ['a -> c: messages 400-401 lost (2)', 'coins: 2999998 found, 3000000 expected'])
    assert.deepEqual(numbers, [400, 400, 401, 401], 'once each, seen at both other VMs')
  })

  it('names a doubled coin', () => {
    const lan = started()
    lan.copies = (s) => (coin(s) && between(s, 1, 0) && s!.number === 400 ? 2 : 1)
    lan.run(2_000)
    const check = lan.judge()
    assert.deepEqual([check.findings, check.duplicated], [['b -> a: message 400 doubled'], 1])
  })

  it('tells coins out of order', () => {
    const lan = started()
    lan.copies = (s, flight) => {
      if (coin(s) && between(s, 1, 0) && s!.number === 400) flight.at += 500
      return 1
    }
    lan.run(2_000)
    assert.deepEqual(lan.judge().findings, ['b -> a: 1 messages out of order'])
  })

  it('repairs lost records, acknowledgements and openings of the stream', () => {
    const lan = new Lan(3)
    let n = 0
    lan.copies = (s) => (s?.port === 7002 && n++ % 7 === 0 ? 0 : 1)
    lan.run(10_000)
    lan.copies = () => 1
    const check = lan.judge()
    assert.deepEqual([check.findings, check.tcpBroken], [[], 0])
    assert.ok(lan.reports()[0]!.report.tcp.sent > 100)
  })

  it('takes a doubled segment of the stream for what it is', () => {
    const lan = new Lan(3)
    lan.copies = (s) => (s?.port === 7002 ? 2 : 1)
    lan.run(5_000)
    assert.deepEqual(lan.judge().findings, [])
  })

  it('repairs a record that was lost just before the bank was stopped', () => {
    const lan = started()
    lan.copies = (s) => (record(s) ? 0 : 1)
    lan.run(500)
    lan.everywhere('bank stop')
    lan.copies = () => 1
    assert.deepEqual(lan.judge().findings, [])
  })

  it('breaks the stream when nothing is acknowledged for 30 s, and opens a new one', () => {
    const lan = started()
    lan.copies = (s) => (record(s) ? 0 : 1)
    lan.run(29_000)
    assert.equal(lan.reports()[0]!.report.tcp.broken, 0)
    lan.run(1_500)
    assert.match(lan.reports()[0]!.report.tcp.errors[0]!, /next neighbour broke after record \d+: nothing was acknowledged for 30 s/)
    lan.copies = () => 1
    lan.run(3_000)
    const before = lan.reports()[1]!.report.tcp.received
    lan.run(1_000)
    assert.ok(lan.reports()[1]!.report.tcp.received > before + 40)
  })
})
