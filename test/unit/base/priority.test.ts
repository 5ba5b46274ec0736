import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { lead, setUrgency, stopLeading, threadsOf, type Urgency } from '../../../base/priority.js'
import { realClock, until } from '../../../base/time.js'

/** Nice value, real-time priority and class, from /proc/PID/task/TID/stat (proc(5), fields 19, 40, 41). */
function scheduling(pid: number, thread = pid): { nice: number; priority: number; policy: number } {
  const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number)
  return { nice: fields[16]!, priority: fields[37]!, policy: fields[38]! }
}

const roundRobin = 2
const idle = 5
const mayRaise = process.getuid?.() === 0

describe('urgency', () => {
  it('orders threads: leading, urgent, soon, ordinary, behind, last', function () {
    if (!mayRaise) this.skip() // real-time classes are root's
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    try {
      setUrgency(threadsOf(child.pid!), 'ordinary') // it has what this process had from earlier tests
      const seen = (['leading', 'urgent', 'soon', 'behind', 'ordinary', 'last'] as Urgency[]).map((urgency) => {
        setUrgency(threadsOf(child.pid!), urgency)
        return [urgency, scheduling(child.pid!)]
      })
      assert.deepEqual(Object.fromEntries(seen), {
        leading: { nice: 0, priority: 3, policy: roundRobin }, urgent: { nice: 0, priority: 2, policy: roundRobin },
        soon: { nice: 0, priority: 1, policy: roundRobin }, behind: { nice: 19, priority: 0, policy: 0 }, ordinary: { nice: 0, priority: 0, policy: 0 },
        last: { nice: 0, priority: 0, policy: idle },
      })
    } finally {
      child.kill()
    }
  })

  it('of a leader is for all its threads and is given back with the last of what needed it', function () {
    if (!mayRaise) this.skip()
    const ours = threadsOf(process.pid).filter((thread) => scheduling(process.pid, thread).policy === 0) // those of other tests may keep apart
    const policies = () => [...new Set(ours.map((thread) => scheduling(process.pid, thread).policy))]
    lead()
    lead()
    stopLeading()
    const within = policies()
    stopLeading()
    const after = policies()
    stopLeading()
    assert.deepEqual([within, after, policies()], [[roundRobin], [0], [0]])
    setUrgency(threadsOf(process.pid), 'ordinary')
  })

  it('of a leader stays before ordinary ones for as long as it says', async function () {
    if (!mayRaise) this.skip()
    const [thread] = threadsOf(process.pid)
    const now = () => scheduling(process.pid, thread)
    lead()
    stopLeading(30)
    const { policy, priority } = now()
    assert.deepEqual([policy, priority], [roundRobin, 1])
    assert.ok(await until(realClock, 10_000, 5, () => (now().policy === 0 ? true : undefined)))
    lead()
    stopLeading(5)
    lead()
    await realClock.sleep(10) // a later timer than the one that would end it
    assert.equal(now().priority, 3, 'it leads again')
    stopLeading()
    assert.equal(now().policy, 0)
  })

  it('of what is gone, or may not be changed, is nobody\'s trouble', () => {
    const gone = 2 ** 22 + 1 // above the largest pid
    assert.deepEqual(threadsOf(gone), [])
    assert.doesNotThrow(() => setUrgency([gone], 'urgent'))
  })
})
