// The disk of the state folder is filled to its last byte at a point of a snapshot, each time another one: VMs run on, the snapshot is
// aborted with the reason, room is found again, and the next snapshot and a rollback work. A file system of its own is made for it.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { explain } from '../../base/errors.js'
import { realClock as clock, until } from '../../base/time.js'
import { text } from '../../cli/demo/slice-client.js'
import { FaultRig, type HypervisorKind } from '../faults/rig.js'
import { mib, SmallDisk } from '../faults/small-disk.js'

interface Round { point: string; reason: string; freeAfterMiB: number; ok: boolean; why: string }

const points = ['agent.prepared', 'agent.cut.gated', 'agent.cut.resumed', 'agent.saved', 'agent.sealing']
/** A snapshot begins with 512 MiB free and takes 432 of them for three VMs. */
const leaveMiB = 700

export async function fullDisk(at: { hypervisor: HypervisorKind; count: number; say: (line: string) => void }): Promise<{ ok: boolean; rounds: Round[] }> {
  const disk = new SmallDisk()
  const rounds: Round[] = []
  const rig = new FaultRig(at.hypervisor, disk.folder)
  let whole = false
  try {
    await rig.open('on_failure="rollback" retries="100"')
    for (let n = 0; n < at.count; n++) {
      const round = await oneRound(rig, disk, points[n % points.length]!)
      rounds.push(round)
      at.say(`${round.ok ? 'ok    ' : 'NOT OK'} ${n + 1} of ${at.count}: full at ${round.point}; ${round.reason}; then free: ${round.freeAfterMiB} MiB ${round.why}`)
      if (!round.ok) break
    }
    whole = rounds.every((r) => r.ok)
    if (whole) await rig.close()
  } finally {
    if (!whole) {
      at.say(execFileSync('tail', ['-n', '25', join(rig.state, 'log', 'agent.log'), join(rig.state, 'log', 'worker.log'), join(rig.state, 'up.log')]).toString())
      await rig.abandon()
    }
    disk.remove()
  }
  return { ok: whole && rounds.length === at.count, rounds }
}

async function oneRound(rig: FaultRig, disk: SmallDisk, point: string): Promise<Round> {
  const round: Round = { point, reason: '', freeAfterMiB: -1, ok: false, why: '' }
  try {
    const good = await rig.snapshot()
    await rig.removeAllBut(good)
    await disk.settled()
    disk.fillUpTo(leaveMiB * mib)
    const agent = rig.pidOf('agent')
    rig.armStop(point, 'agent') // or it might be done before the disk is full
    await rig.whenFree(() => rig.slice.action('violin_snapshot'))
    await rig.struck(point)
    disk.fillUpTo(0)
    process.kill(agent, 'SIGCONT')
    await rig.assertMoving()
    const told = await until(clock, 60_000, 100, async () => {
      const [first] = await rig.call(() => rig.slice.status())
      return /failed|aborted|void/.test(first!.resourceStatus) ? first!.resourceStatus : undefined
    })
    round.reason = told ?? 'no reason was told'
    if (!told) throw new Error(`the snapshot did not fail: ${(await rig.slice.status())[0]!.resourceStatus}`)
    const room = await until(clock, 30_000, 100, () => (disk.freeBytes() > 64 * mib ? true : undefined))
    round.freeAfterMiB = Math.round(disk.freeBytes() / mib)
    if (!room) throw new Error('no room was found again')
    await rig.ready()
    await rig.assertClean()
    disk.empty()
    const next = await rig.snapshot()
    await rig.assertConserved()
    await rig.rollBack(next)
    await rig.assertMoving()
    await rig.assertConserved()
    if (!(await rig.slice.snapshots()).some((s) => text(s, 'id') === good)) throw new Error('the good snapshot is gone')
    round.ok = true
  } catch (error) {
    round.why = explain(error).split('\n').slice(0, 8).join(' | ')
  }
  return round
}
