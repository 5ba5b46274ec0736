// What strikes whom at a point, what must hold while it lasts, and how it ends.
import { realClock as clock, until } from '../../base/time.js'
import { limits } from '../../base/limits.js'
import type { Bank } from '../../cli/bank/reader.js'
import type { Call, FailingCalls } from './failing-calls.js'
import { assertAnswering, assertSending } from './moving.js'
import type { Point } from './points.js'
import type { FaultRig, Victim, Victims } from './rig.js'
import { mib, type SmallDisk } from './small-disk.js'

export interface Fault {
  /** Processes that end of it: what was in them is lost. */
  readonly ends: Victims
  /** Lines for whoever comes to the point (Orders). Called just before the operation begins. */
  order(point: Point): Promise<string[]>
  /** The point has been struck: what must hold while the fault lasts, and its whole time. */
  lasts(point: Point): Promise<void>
  /** Has it been met at all? A call that nobody makes cannot fail. */
  readonly met: boolean
  /** After: it is over. Never fails. */
  end(): void
}

export function killed(rig: FaultRig, victims: Victims): Fault {
  return { ends: victims, met: true, order: async () => victims.map((victim) => String(rig.pidOf(victim))), lasts: async () => undefined, end: () => undefined }
}

/** Longer than all that waits for an answer, for a drained guest, or for the next word of a cut. */
export const standMs = 1.5 * Math.max(limits.prepareMs, limits.holdMs, limits.qmpMs, limits.resumeMs)
const outlast = (ms: number): number => ms + limits.holdMs

/** SIGSTOP, and SIGCONT when everybody else has given it up: it comes back and knows nothing of the time between. */
export function standing(rig: FaultRig, victim: Victim, bystander: Bank[]): Fault {
  let pid = 0
  return {
    ends: [], met: true,
    order: async () => {
      pid = rig.pidOf(victim)
      return [`${pid} SIGSTOP`]
    },
    lasts: async (point) => {
      const begun = clock.monotonic()
      await Promise.all(runsMeanwhile(rig, victim, point, bystander))
      const whole = Math.max(standMs, victim === 'worker' && point.outlastMs !== undefined ? outlast(point.outlastMs) : 0)
      await clock.sleep(Math.max(0, whole - (clock.monotonic() - begun)))
    },
    end: () => signal(pid, 'SIGCONT'),
  }
}

/**
 * The promise (docs/faults.md): whoever stands, VMs run within the deadman's time, but for those that the agent has told to stand in the very
 * moment; of a slice that is suspended or restored nothing may run. Without the switch no frame moves, so guests are asked themselves.
 */
function runsMeanwhile(rig: FaultRig, victim: Victim, point: Point, bystander: Bank[]): Promise<void>[] {
  const gone = point.during === 'suspend' || (point.window && point.during === 'rollback' && ['agent', 'switch', 'vm'].includes(victim))
  const runs = victim === 'switch' ? assertAnswering : assertSending
  const ours = rig.banksBut(victim === 'vm' ? 'vm' : undefined)
  return [
    runs(bystander, 'the bystander'),
    ...(gone || (victim === 'agent' && point.window) ? [] : [runs(ours, 'the slice')]),
  ]
}

/** From the point on each such call of the victim fails, until VMs have run with it for a while. */
export function failing(rig: FaultRig, victim: Victim, call: Call, calls: FailingCalls, afterBytes = 0): Fault {
  let pid = 0
  let hits = 0
  return {
    ends: [],
    get met() { return hits > 0 },
    order: async (point) => {
      pid = rig.pidOf(victim)
      calls.order(pid, call, rig.orders.hit(point.name), afterBytes)
      return [`${pid} SIGCONT`] // does nothing: the order's file gets its other name, which begins the failing
    },
    lasts: async (point) => {
      await until(clock, hitMs, 20, () => (calls.hits(pid) > 0 ? true : undefined))
      if (point.during !== 'suspend' && point.during !== 'rollback') await assertSending(rig.banksBut(), 'the slice')
      hits = calls.hits(pid)
    },
    end: () => calls.clear(),
  }
}
const hitMs = 5_000

/** Before: the state is on a disk of its own. Whoever comes to the point stands until the last byte is taken, and so does the agent: its reserve is part of the disk. */
export function diskFull(rig: FaultRig, disk: SmallDisk): Fault {
  let pids: number[] = []
  return {
    ends: [], met: true,
    order: async ({ by }) => {
      await disk.settled()
      disk.fillUpTo(leaveMiB * mib)
      pids = [...new Set([by === 'none' || by === 'am' ? 'agent' : by, 'agent'] as Victim[])].map((victim) => rig.pidOf(victim))
      return pids.map((pid) => `${pid} SIGSTOP`)
    },
    lasts: async (point) => {
      disk.fillUpTo(0)
      for (const pid of pids) signal(pid, 'SIGCONT')
      if (point.during !== 'suspend' && point.during !== 'rollback') await assertSending(rig.banksBut(), 'the slice')
    },
    end: () => {
      for (const pid of pids) signal(pid, 'SIGCONT')
      disk.empty()
    },
  }
}
/** A snapshot begins with 512 MiB free and takes 432 of them for three VMs. */
const leaveMiB = 700

function signal(pid: number, name: NodeJS.Signals): void {
  if (pid === 0) return // it was never armed
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // it has ended meanwhile
  }
}
