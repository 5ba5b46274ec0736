// Who runs first. What a stopped VM waits for (its own QEMU, the agent, the switch) runs before everything else for as long as
// it stands: a millisecond of theirs is a millisecond of the pause. Nice values are not enough for that: Linux groups
// processes by session (autogroup), and nice and the idle class count only inside a group. So for a cut it is a real-time class, for
// the some ten ms of it and no longer; and VMs are in the session of their agent (hosts/hypervisor/process.ts), that who writes
// memory into a snapshot gives way to all of them. Where that is not allowed (not root) everything works as well, with longer pauses
// now and then.
import koffi from 'koffi'
import { readdirSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/**
 * In the order in which they run: who leads a cut; who is waited for; what is waited for and takes its time; all else; what nobody waits for; and
 * what gives way at once to whoever wakes up.
 */
export type Urgency = 'leading' | 'urgent' | 'soon' | 'ordinary' | 'behind' | 'last'

const libc = koffi.load('libc.so.6')
const setScheduler = libc.func('int sched_setscheduler(int thread, int policy, void *parameters)') as (
  thread: number, policy: number, parameters: Buffer) => number
const getScheduler = libc.func('int sched_getscheduler(int thread)') as (thread: number) => number
/** Threads that a real-time thread makes begin as ordinary ones: QEMU's writing of memory must not stand in the way of what lets the VM run. */
const policies = { other: 0, roundRobin: 2 | 0x4000_0000 /* SCHED_RESET_ON_FORK */, idle: 5 }
const sessionNice = '-5'
const realTime: Partial<Record<Urgency, number>> = { leading: 3, urgent: 2, soon: 1 }

/** Sets threads by their ids (Linux schedules threads). What may not be done, or is gone, is let be: it costs time and no correctness. */
export function setUrgency(threads: readonly number[], urgency: Urgency): void {
  const parameters = Buffer.alloc(4)
  parameters.writeInt32LE(realTime[urgency] ?? 0)
  const policy = realTime[urgency] !== undefined ? policies.roundRobin : urgency === 'last' ? policies.idle : policies.other
  for (const thread of threads) {
    setScheduler(thread, policy, parameters)
    if (policy === policies.other) setNice(thread, urgency === 'behind' ? 19 : 0)
  }
}

/** Has this thread got a real-time class? One that asked for it and was refused must not give it to others. */
export const mayRush = (thread: number): boolean => getScheduler(thread) >= policies.roundRobin

/** The thread ids of a process; none when it is gone. Synchronous: it is asked for in the middle of a cut. */
export function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return []
  }
}

/** Raises this process above ordinary ones, for all its life, where that is allowed (root); else it stays as it is. */
export function goFirst(): void {
  usualNice = -10
  beAsUsual()
}

/** The session of this process, with all that is in it, gets about three times the share of others of a busy machine. Where allowed (root). */
export function raiseSession(): void {
  try {
    writeFileSync('/proc/self/autogroup', sessionNice)
  } catch {
    return // not allowed, or a kernel without them
  }
}

function beAsUsual(): void {
  setUrgency(ours(), 'ordinary')
  if (usualNice !== 0) for (const thread of ours()) setNice(thread, usualNice)
}

let leaders = 0
let usualNice = 0
let soon: NodeJS.Timeout | undefined
/** Threads of this process that have a class of their own. */
const apart = new Set<number>()

/** This thread of ours neither leads with the others nor falls back with them. */
export function keepApart(thread: number): void { apart.add(thread) }

const ours = (): number[] => threadsOf(process.pid).filter((thread) => !apart.has(thread))

/** This process leads until `stopLeading` was called as often: all its threads, since the first one waits for those that collect garbage. */
export function lead(): void {
  if (leaders++ === 0) setUrgency(ours(), 'leading')
}

/** `soonMs`: so long it still comes before ordinary ones, where nobody leads again meanwhile. */
export function stopLeading(soonMs = 0): void {
  if (leaders === 0 || --leaders > 0) return
  if (soonMs === 0) return beAsUsual()
  setUrgency(ours(), 'soon')
  clearTimeout(soon)
  soon = setTimeout(() => { if (leaders === 0) beAsUsual() }, soonMs)
  soon.unref()
}

function setNice(thread: number, nice: number): void {
  try {
    setPriority(thread, nice)
  } catch {
    return // not allowed, or gone
  }
}
