import assert from 'node:assert/strict'
import { between, Lives, readMetrics, readTcp } from '../../workloads/figures.js'
import { stepsOf, type CoursePlan, type Outcome } from '../../workloads/course.js'
import { judge } from '../../workloads/report.js'

const plan: CoursePlan = { snapshots: 2, rollbacks: 1, suspends: 1, suspendMs: 1, everyMs: 1, keep: 2 }
const good = (): Outcome => ({
  snapshots: [1, 2].map((n) => ({ id: `s-${n}`, pausesMs: [10, 12], skewMs: 1, committedMs: 1000 })), aborted: [], rollbacks: 1, suspends: 1, findings: [],
  course: { seconds: 9, figures: { EstabResets: 2, TCPTimeouts: 1, OutRsts: 5, elections: 1 } }, around: { snapshots: {}, restores: {} },
  control: { seconds: 9, figures: { EstabResets: 2, TCPTimeouts: 1, OutRsts: 4, elections: 1 } },
})

describe('the course of a foreign workload', () => {
  it('spreads rollbacks and suspensions among the snapshots, none before the first', () => {
    assert.deepEqual(stepsOf({ ...plan, snapshots: 4, rollbacks: 2, suspends: 1 }), ['snapshot', 'snapshot', 'rollback', 'snapshot', 'snapshot', 'rollback', 'suspend'])
    const many = stepsOf({ ...plan, snapshots: 20, rollbacks: 5, suspends: 2 })
    assert.deepEqual([many.length, many.filter((s) => s === 'rollback').length, many.filter((s) => s === 'suspend').length, many[0]], [27, 5, 2, 'snapshot'])
    assert.deepEqual(stepsOf({ ...plan, snapshots: 1, rollbacks: 3, suspends: 0 }), ['snapshot', 'rollback', 'rollback', 'rollback'])
  })

  it('holds only with no more of what is judged than the control had, whatever else there is more of', () => {
    assert.deepEqual(judge(good(), plan, ['elections']).reasons, [])
    for (const name of ['EstabResets', 'TCPTimeouts', 'elections']) {
      const outcome = good()
      outcome.course.figures[name] = 3
      assert.match(judge(outcome, plan, ['elections']).reasons.join(), new RegExp(`^${name}: 3 with snapshots`))
    }
  })

  it('holds only when all was done that was planned, and nothing was found', () => {
    assert.match(judge({ ...good(), findings: ['a write is gone'] }, plan, []).reasons.join(), /^a write is gone$/)
    assert.match(judge({ ...good(), rollbacks: 0 }, plan, []).reasons.join(), /0 of 1 rollbacks/)
    assert.match(judge({ ...good(), suspends: 0 }, plan, []).reasons.join(), /0 of 1 suspensions/)
    assert.match(judge({ ...good(), aborted: ['no room'] }, { ...plan, snapshots: 3 }, []).reasons.join(), /2 of 3 snapshots were committed: no room/)
  })
})

describe('figures of a guest', () => {
  const snmp = 'Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: RtoAlgorithm AttemptFails EstabResets OutSegs RetransSegs OutRsts\nTcp: 1 2 3 400 5 6\n'
  const netstat = 'TcpExt: TCPFastRetrans TCPSlowStartRetrans TCPTimeouts TCPLossProbes TCPAbortOnTimeout TCPSpuriousRTOs TCPAbortOnClose TCPAbortOnData\nTcpExt: 1 2 3 4 5 6 7 8\nIpExt: InOctets\nIpExt: 99\n'

  it('are read by name from what the kernel tells', () => {
    const { EstabResets, TCPTimeouts, OutRsts, RetransSegs } = readTcp(snmp + netstat)
    assert.deepEqual({ EstabResets, TCPTimeouts, OutRsts, RetransSegs }, { EstabResets: 3, TCPTimeouts: 3, OutRsts: 6, RetransSegs: 5 })
  })

  it('are refused when a counter that is judged by is not told', () => {
    assert.throws(() => readTcp(snmp), /do not tell .*TCPTimeouts/)
    assert.throws(() => readTcp(snmp.replace('EstabResets ', '').replace(' 3 400', ' 400') + netstat), /do not tell EstabResets/)
  })

  it('are read from the lines of the software too', () => {
    assert.deepEqual(readMetrics('# TYPE a counter\na 1\nb{x="y"} 2.5e+03\nno number\n'), { a: 1, 'b{x="y"}': 2500 })
  })

  it('count every life from the look before its snapshot', () => {
    const lives = new Lives({ elections: 1 })
    lives.beforeSnapshot('s', { elections: 1 })
    assert.deepEqual(lives.restored('s', { elections: 3 }), { elections: 1 }) // the first life had two; the guests are back at one
    assert.deepEqual(lives.total({ elections: 2 }), { elections: 3 })
    assert.throws(() => lives.restored('t', {}), /nobody has looked/)
    assert.deepEqual(between({ a: 1 }, { a: 4, b: 2 }), { a: 3, b: 2 })
  })
})
