// One cell of the fault matrix: what is under way, the point at which the victim dies, and what must hold afterwards.
import type { FaultRig, Victims } from './rig.js'

export interface Point {
  name: string
  text: string
  /** What is under way when the point comes; `idle`: nothing. */
  during: 'idle' | 'snapshot' | 'rollback' | 'kept-rollback' | 'merge'
}
export interface Cell { point: string; victims: string; ok: boolean; why: string; seconds: number }

export const points: Point[] = [
  { name: 'idle', text: 'idle', during: 'idle' },
  { name: 'agent.preparing', text: 'preparing', during: 'snapshot' },
  { name: 'agent.prepared', text: 'prepared', during: 'snapshot' },
  { name: 'agent.cut.gated', text: 'between gate and stop', during: 'snapshot' },
  { name: 'agent.cut.stopped', text: 'between stop and flip', during: 'snapshot' },
  { name: 'agent.cut.flipped', text: 'between flip and RESUME', during: 'snapshot' },
  { name: 'agent.cut.resumed', text: 'between RESUME and thaw', during: 'snapshot' },
  { name: 'agent.saved', text: 'all cut', during: 'snapshot' },
  { name: 'agent.sealing', text: 'saving and sealing', during: 'snapshot' },
  { name: 'agent.sealed', text: 'sealed', during: 'snapshot' },
  { name: 'worker.before-outcome', text: 'before the outcome link', during: 'snapshot' },
  { name: 'worker.after-outcome', text: 'after the outcome link', during: 'snapshot' },
  { name: 'worker.rollback.kept', text: 'before a rollback: a snapshot was taken first', during: 'kept-rollback' },
  { name: 'agent.restore.loaded', text: 'restore: new VMs loaded', during: 'rollback' },
  { name: 'worker.restore.ready', text: 'restore: before GO', during: 'rollback' },
  { name: 'worker.restore.decided', text: 'restore: after GO', during: 'rollback' },
  { name: 'agent.restore.old-ended', text: 'restore: old VMs ended', during: 'rollback' },
  { name: 'agent.restore.replaced', text: 'restore: one new VM in its place', during: 'rollback' },
  { name: 'agent.collapse.merged', text: 'disk layers merged', during: 'merge' },
  { name: 'agent.collapse.noted', text: 'merged layer noted', during: 'merge' },
  { name: 'agent.collapse.replaced', text: 'one VM reads it', during: 'merge' },
]

export async function cell(rig: FaultRig, point: Point, victims: Victims): Promise<void> {
  const earlier = point.during === 'merge' ? await rig.snapshot() : ''
  const good = await rig.snapshot() // consistent, and what a lossy fault goes back to
  if (point.during === 'idle') for (const pid of victims.map((v) => rig.pidOf(v))) process.kill(pid, 'SIGKILL')
  else {
    rig.arm(point.name, victims)
    if (point.during === 'snapshot') await rig.whenFree(() => rig.slice.action('violin_snapshot'))
    else if (point.during === 'merge') await rig.whenFree(() => rig.slice.action('violin_delete', { violin_snapshot: earlier }))
    else await rig.whenFree(() => rig.slice.action('violin_rollback', { violin_snapshot: good, violin_snapshot_first: point.during === 'kept-rollback' }))
    await rig.struck(point.name)
  }
  await rig.mend(victims)
  await rig.assertMoving()
  await rig.ready()
  await rig.assertClean()
  if (victims.includes('switch')) await rig.rollBack(good) // frames that were in it are lost, as on a pulled cable
  const next = await rig.snapshot()
  await rig.assertConserved()
  await rig.rollBack(next)
  await rig.assertMoving()
  await rig.assertConserved()
  await rig.assertClean()
  await rig.removeAllBut(next)
}
