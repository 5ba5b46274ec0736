// Every kind of damage a bad snapshot can do must be seen and named: a blind checker would call any snapshot good.
import assert from 'node:assert/strict'
import type { Clock } from '../../../base/time.js'
import { checkBank } from '../../../cli/bank/check.js'
import { quiesce } from '../../../cli/bank/quiesce.js'
import { parseReport, type BankChannel, type BankReport, type NamedReport } from '../../../cli/bank/report.js'

const names = ['a', 'b', 'c']
const sent = 1000

function whole(): NamedReport[] {
  return names.map((name, index) => ({
    name,
    report: {
      index, peers: ['10.10.1.1', '10.10.1.2', '10.10.1.3'], state: 'stopped', coins: 1_000_000,
      channels: [0, 1, 2].filter((peer) => peer !== index)
        .map((peer) => ({ peer, sent, received: sent, last: sent, missing: [], doubled: [], doubledCount: 0, orphaned: [], orphanedCount: 0, early: 0 })),
      tcp: { sent: 400, received: 400, broken: 0, errors: [] },
      disk: { done: 160, intent: 160, onDisk: 160, ok: true }, rcvbufErrors: 0, uptimeMs: 8000,
    } satisfies BankReport,
  }))
}

const reportOf = (reports: NamedReport[], name: string) => reports.find((r) => r.name === name)!.report
const between = (reports: NamedReport[], at: string, peer: string): BankChannel =>
  reportOf(reports, at).channels.find((c) => c.peer === names.indexOf(peer))!

function judged(damage: (reports: NamedReport[]) => void) {
  const reports = whole()
  damage(reports)
  return checkBank(reports)
}

describe('the check of the bank', () => {
  it('finds nothing in a whole slice', () => {
    assert.deepEqual(judged(() => undefined), {
      coinsExpected: 3_000_000, coinsFound: 3_000_000, lost: 0, duplicated: 0, orphans: 0, tcpBroken: 0, diskMismatch: 0,
      ok: true, findings: [],
    })
  })

  it('names messages lost in the middle and at the end of a channel, and the coins lost with them', () => {
    const check = judged((r) => {
      Object.assign(between(r, 'b', 'a'), { received: 970, last: 993, missing: [[441, 463]] })
      reportOf(r, 'b').coins -= 30
    })
    assert.deepEqual(check.findings, [
      'a -> b: messages 441-463 lost (23)', 'a -> b: messages 994-1000 lost (7)', 'coins: 2999970 found, 3000000 expected',
    ])
    assert.deepEqual([check.lost, check.ok], [30, false])
  })

  it('counts messages lost in gaps that were too many to list', () => {
    const check = judged((r) => Object.assign(between(r, 'b', 'a'), { received: 990, missing: [[5, 8]] }))
    assert.deepEqual(check.findings, ['a -> b: messages 5-8 lost (4)', 'a -> b: 6 more messages lost, in gaps too many to list'])
    assert.equal(check.lost, 10)
  })

  it('names messages that were received and never sent', () => {
    const check = judged((r) => Object.assign(between(r, 'a', 'c'), { received: 1001, last: 1001 }))
    assert.deepEqual(check.findings, ['c -> a: message 1001 received but never sent (orphan)'])
    assert.equal(check.orphans, 1)
  })

  it('tells orphans from the gaps between them, which nobody sent either', () => {
    const check = judged((r) => Object.assign(between(r, 'a', 'c'), { received: 1003, last: 1006, missing: [[1000, 1001], [1004, 1004]] }))
    assert.deepEqual(check.findings, [
      'c -> a: message 1000 lost (1)', 'c -> a: messages 1002-1003 received but never sent (orphan)',
      'c -> a: messages 1005-1006 received but never sent (orphan)',
    ])
    assert.deepEqual([check.lost, check.orphans], [1, 4])
  })

  it('names messages that came twice', () => {
    const check = judged((r) => Object.assign(between(r, 'c', 'b'), { doubled: [17], doubledCount: 1 }))
    assert.deepEqual(check.findings, ['b -> c: message 17 doubled'])
    assert.equal(check.duplicated, 1)
  })

  it('names messages that a sender, set back, sent anew though they had been received', () => {
    const check = judged((r) => Object.assign(between(r, 'c', 'b'), { orphaned: [902, 900, 901, 950], orphanedCount: 4 }))
    assert.deepEqual(check.findings, [
      'b -> c: messages 900-902 received before being sent (orphan)', 'b -> c: message 950 received before being sent (orphan)',
    ])
    assert.deepEqual([check.orphans, check.duplicated], [4, 0])
  })

  it('counts also doubled messages that were too many to list', () => {
    const check = judged((r) => Object.assign(between(r, 'c', 'b'), { doubled: [17, 18], doubledCount: 300 }))
    assert.deepEqual(check.findings, [
      'b -> c: messages 17-18 doubled', 'b -> c: 298 more messages doubled, too many to list',
    ])
    assert.equal(check.duplicated, 300)
  })

  it('does not accept a channel whose messages overtook each other', () => {
    assert.deepEqual(judged((r) => { between(r, 'c', 'b').early = 2 }).findings, ['b -> c: 2 messages out of order'])
  })

  it('compares a TCP stream with what its next neighbour received', () => {
    const check = judged((r) => { reportOf(r, 'a').tcp.received = 398 })
    assert.deepEqual(check.findings, ['c -> a: TCP stream not whole, 400 records sent, 398 received'])
    assert.equal(check.tcpBroken, 1)
  })

  it('says how a TCP stream broke', () => {
    const check = judged((r) => Object.assign(reportOf(r, 'b').tcp, { broken: 1, errors: ['end of stream'] }))
    assert.deepEqual([check.findings, check.tcpBroken], [['b: TCP broken 1 times: end of stream'], 1])
  })

  it('sees a disk that is of another time than the memory, and one that cannot be read', () => {
    const check = judged((r) => {
      reportOf(r, 'a').disk.onDisk = 158
      Object.assign(reportOf(r, 'b').disk, { onDisk: -1, ok: false })
    })
    assert.equal(check.diskMismatch, 2)
    assert.match(check.findings[0]!, /^a: the counter on the disk is 158, in memory 160 are written and 160 begun/)
    assert.match(check.findings[1]!, /^b: the counter on the disk cannot be read or is torn/)
  })

  it('accepts a disk on which a write that was begun has arrived', () => {
    assert.ok(judged((r) => Object.assign(reportOf(r, 'a').disk, { done: 159, intent: 160, onDisk: 160 })).ok)
  })

  it('does not pass when a guest dropped datagrams itself', () => {
    const check = judged((r) => { reportOf(r, 'c').rcvbufErrors = 3 })
    assert.match(check.findings.join(), /^c: the guest itself dropped 3 datagrams/)
    assert.equal(check.ok, false)
  })

  it('does not pass without a report of every VM, or with a bank that has not begun', () => {
    assert.deepEqual(checkBank([]).ok, false)
    assert.deepEqual(checkBank(whole().slice(1)).findings, ['there is no report of the VM with address 10.10.1.1'])
    assert.match(judged((r) => { reportOf(r, 'b').index = 0 }).findings.join(), /a and b both say that they are 10\.10\.1\.1/)
    assert.match(judged((r) => { reportOf(r, 'b').peers = ['10.10.1.1'] }).findings.join(), /b has other peers than a/)
    assert.match(judged((r) => { reportOf(r, 'b').state = 'waiting' }).findings.join(), /b: the bank has not begun/)
  })
})

describe('the report of a bank', () => {
  it('is read as it was written', () => {
    const { report } = whole()[1]!
    report.channels[0]!.missing.push([4, 9])
    assert.deepEqual(parseReport('b', `${JSON.stringify(report)}\n`), report)
  })

  it('is refused by name when it is not whole', () => {
    const damaged = (change: object) => () => parseReport('b', JSON.stringify({ ...whole()[1]!.report, ...change }))
    assert.throws(() => parseReport('b', '{"index":'), /the bank of b answered something that is not JSON/)
    assert.throws(damaged({ coins: 'many' }), /the report of the bank of b has a missing or wrong member "coins"/)
    assert.throws(damaged({ index: 7 }), /"index"/)
    assert.throws(damaged({ channels: [] }), /"channels"/)
    const { channels } = whole()[1]!.report
    assert.throws(damaged({ channels: channels.map((c) => ({ ...c, doubled: [3] })) }), /"doubledCount"/)
    assert.throws(damaged({ state: 'fine' }), /"state"/)
  })
})

function fakeClock(): Clock {
  let time = 0
  return { now: () => time, monotonic: () => time, sleep: (ms) => { time += ms; return Promise.resolve() } }
}

describe('counting', () => {
  const bankThat = (next: (round: number, report: BankReport) => void) => {
    let round = 0
    let stopped = false
    return {
      name: 'a',
      stop: () => { stopped = true; return Promise.resolve() },
      report: () => {
        assert.ok(stopped)
        const { report } = whole()[0]!
        next(round++, report)
        return Promise.resolve(report)
      },
    }
  }

  it('waits until two rounds are equal but for the time', async () => {
    const bank = bankThat((round, report) => Object.assign(report, { coins: Math.min(round, 5), uptimeMs: round }))
    const [only] = await quiesce([bank], fakeClock())
    assert.deepEqual([only!.name, only!.report.coins, only!.report.uptimeMs], ['a', 5, 6])
  })

  it('gives TCP time to send again what was lost', async () => {
    const bank = bankThat((round, report) => { report.tcp.received = round < 10 ? 390 : 400 })
    assert.equal((await quiesce([bank], fakeClock()))[0]!.report.tcp.received, 400)
  })

  it('counts in the end also a stream that stays broken', async () => {
    const bank = bankThat((_, report) => { report.tcp.received = 390 })
    assert.equal((await quiesce([bank], fakeClock()))[0]!.report.tcp.received, 390)
  })

  it('fails when the counters never stand still', async () => {
    await assert.rejects(quiesce([bankThat((round, report) => { report.coins = round })], fakeClock()), /still count after 15 s/)
  })
})
