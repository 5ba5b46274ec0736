// One cell of the fault matrix: what is under way, the point at which the fault strikes, and what must hold afterwards.
import assert from 'node:assert/strict'
import { realClock as clock, until } from '../../base/time.js'
import type { Fault } from './fault.js'
import type { Point } from './points.js'
import type { FaultRig } from './rig.js'

export interface Cell { kind: string; point: string; victims: string; time: number; ok: boolean; met: boolean; why: string; seconds: number }

const backMs = 10_000
const overMs = 60_000

/** Before: the slice runs. After: it runs, with one snapshot. False: the fault was never met, since nobody did what fails. */
export async function cell(rig: FaultRig, point: Point, fault: Fault): Promise<boolean> {
  const { during } = point
  const earlier = during === 'merge' || during === 'delete' ? await rig.snapshot() : ''
  const good = await rig.snapshot() // consistent, and what a lossy fault goes back to
  let acting: Promise<void> | undefined
  try {
    if (during === 'idle') await strikeNow(fault, point)
    else acting = (await strikeAt(rig, point, fault, { earlier, good })).acting
  } finally {
    rig.orders.clear()
    fault.end()
  }
  await rig.mend(fault.ends)
  await acting // the AM itself may have been away
  if (during === 'suspend') await resumed(rig)
  await rig.assertMoving()
  await rig.ready()
  await rig.assertClean()
  if (fault.ends.includes('switch')) await rig.rollBack(good) // frames that were in it are lost, as on a pulled cable
  const next = await rig.snapshot()
  await rig.assertConserved()
  await rig.rollBack(next)
  await rig.assertMoving()
  await rig.assertConserved()
  await rig.assertClean()
  await rig.removeAllBut(next)
  return fault.met
}

async function strikeNow(fault: Fault, point: Point): Promise<void> {
  for (const line of await fault.order(point)) {
    const [pid, signal] = line.split(' ')
    process.kill(Number(pid), signal ?? 'SIGKILL')
  }
  await fault.lasts(point)
}

async function strikeAt(rig: FaultRig, point: Point, fault: Fault, snapshots: { earlier: string; good: string }): Promise<{ acting: Promise<void> }> {
  const { during } = point
  if (during === 'void') hangInCut(rig)
  if (during === 'given-up') rig.orders.give('agent.restore.replayed', [String(rig.pidOf('worker'))])
  else await order(rig, point, fault)
  const acting = act(rig, point, snapshots)
  acting.catch(() => undefined) // whoever calls hears it
  if (during === 'given-up') {
    const before = rig.pidOf('worker')
    await rig.struck('agent.restore.replayed')
    const next = await until(clock, backMs, 20, () => rig.pidsOf('worker').find((pid) => pid !== before))
    assert.ok(next, 'no other worker came')
    await order(rig, point, fault)
  }
  await rig.struck(point.name)
  await fault.lasts(point)
  return { acting }
}

/** A VM that hangs when it is to be cut makes the cut void; it is itself again when it is to be let run. */
function hangInCut(rig: FaultRig): void {
  const pid = rig.pidOf('vm')
  rig.orders.give('agent.before-cutting', [`${pid} SIGSTOP`])
  rig.orders.give('agent.voiding', [`${pid} SIGCONT`])
}

async function order(rig: FaultRig, point: Point, fault: Fault): Promise<void> {
  const first = ['agent.before-voiding', 'agent.voiding'].includes(point.name) ? [`${rig.pidOf('vm')} SIGCONT`] : []
  rig.orders.give(point.name, [...first, ...await fault.order(point)])
}

async function act(rig: FaultRig, { during }: Point, { earlier, good }: { earlier: string; good: string }): Promise<void> {
  const { slice } = rig
  if (during === 'snapshot' || during === 'void') await rig.whenFree(() => slice.action('violin_snapshot'))
  else if (during === 'suspend') await rig.whenFree(() => slice.action('violin_suspend'))
  else if (during === 'merge' || during === 'delete') await rig.whenFree(() => slice.action('violin_delete', { violin_snapshot: earlier }))
  else await rig.whenFree(() => slice.action('violin_rollback', { violin_snapshot: good, violin_snapshot_first: during === 'kept-rollback' }))
}

/** A suspension has come to its end, or was given up: then the slice runs. */
async function resumed(rig: FaultRig): Promise<void> {
  let last = ''
  const state = await until(clock, overMs, 100, async () => {
    const states = new Set((await rig.call(() => rig.slice.status())).map((s) => s.operational))
    last = [...states].join()
    return ['violin_suspended', 'geni_ready'].includes(last) ? last : undefined
  })
  assert.ok(state, `the suspension does not end: ${last}`)
  if (state === 'violin_suspended') await rig.whenFree(() => rig.slice.action('violin_resume'))
  await rig.ready()
}
