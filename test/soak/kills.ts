// Random VMs die by kill -9 at random times under a policy with an interval and on_failure="rollback". Nobody calls anything; each
// time the slice must run again, and the bank must find nothing lost.
import { explain } from '../../base/errors.js'
import { realRandom } from '../../base/random.js'
import { realClock as clock, until } from '../../base/time.js'
import { FaultRig, type HypervisorKind } from '../faults/rig.js'

interface Kill { node: number; at: number; runningMs: number; why: string }

/** From the death until every VM has a process again and its counters move. */
const recoverMs = 5_000
const giveUpMs = 60_000
/** Not before there is a snapshot to go back to, and the bank was checked. */
const leastGapMs = 8_000

export async function kills(at: { hypervisor: HypervisorKind; count: number; minutes: number; say: (line: string) => void }): Promise<{ ok: boolean; kills: Kill[] }> {
  const rig = new FaultRig(at.hypervisor)
  await rig.open('interval="PT10S" on_failure="rollback" retries="100"')
  await rig.slice.waitForSnapshot(() => true, 60_000)
  const done: Kill[] = []
  const begun = clock.monotonic()
  const gapMs = (at.minutes * 60_000) / at.count
  for (let n = 0; n < at.count; n++) {
    const due = begun + n * gapMs + (realRandom.bytes(2).readUInt16BE() / 65_536) * Math.max(0, gapMs - leastGapMs)
    await clock.sleep(Math.max(0, due - clock.monotonic()))
    const pids = rig.vmPids()
    const node = realRandom.bytes(1).readUInt8() % pids.length
    const kill: Kill = { node, at: Math.round((clock.monotonic() - begun) / 1000), runningMs: -1, why: '' }
    try {
      kill.runningMs = Math.round(await recovery(rig, pids[node]!, pids))
      if (kill.runningMs > recoverMs) kill.why = `longer than ${recoverMs} ms`
      await rig.assertConserved()
    } catch (error) {
      kill.why = explain(error).split('\n').slice(0, 8).join(' | ')
    }
    done.push(kill)
    at.say(`${kill.why === '' ? 'ok    ' : 'NOT OK'} ${n + 1} of ${at.count}: node ${node} killed at ${kill.at} s, all run again after ${kill.runningMs} ms ${kill.why}`)
    if (kill.runningMs < 0) break
  }
  const ok = done.length === at.count && done.every((k) => k.why === '')
  if (ok) await rig.close()
  else {
    at.say(`state and logs: ${rig.state}`)
    await rig.abandon()
  }
  const sorted = done.map((k) => k.runningMs).sort((a, b) => a - b)
  at.say(`death to running: median ${sorted[sorted.length >> 1] ?? -1} ms, longest ${sorted.at(-1) ?? -1} ms, ${done.filter((k) => k.why === '').length} of ${at.count} held`)
  return { ok, kills: done }
}

/** ms from the death of `pid` until VMs of other processes run: each has said twice what it has sent, and it was more. */
async function recovery(rig: FaultRig, pid: number, before: number[]): Promise<number> {
  process.kill(pid, 'SIGKILL')
  const died = clock.monotonic()
  const fresh = await until(clock, giveUpMs, 10, () => {
    const now = rig.vmPids()
    return now.length === before.length && !now.some((p) => before.includes(p)) ? true : undefined // a rollback gives every VM a new process
  })
  if (!fresh) throw new Error('no new VMs came')
  let last: (number | undefined)[] = []
  const moving = await until(clock, giveUpMs, 20, async () => {
    const now = await rig.sent()
    const all = now.every((n, i) => n !== undefined && last[i] !== undefined && n > last[i])
    last = now
    return all ? true : undefined
  })
  if (!moving) throw new Error(`a VM stands still: ${last.join(', ')}`)
  return clock.monotonic() - died
}
