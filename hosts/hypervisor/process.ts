// Processes of VMs by pid and start time. They outlive the agent, and yet are started in its session: the kernel shares processors out by
// session before it looks at priorities, and VMs of one host must be able to give way to each other (docs/performance.md). The agent has no
// terminal and is the first of its group, so its end sends no signal to anybody.
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { Failure } from '../../base/errors.js'
import { setUrgency, threadsOf } from '../../base/priority.js'
import { until, type Clock } from '../../base/time.js'

export interface ProcessRef { pid: number; started: string }

/** Starts a program that lives on without us. `onExit` is told how it ended while we live: `what` names it for people. */
export async function startToStay(
  what: string, binary: string, argv: string[], logFile: string, onExit: (reason: string) => void,
): Promise<ProcessRef> {
  const log = openSync(logFile, 'a', 0o600)
  try {
    const child = spawn(binary, argv, { stdio: ['ignore', log, log] })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', () => resolve())
      child.once('error', (cause) => reject(new Failure('failed', `cannot start ${binary}: is it installed?`, { cause })))
    })
    child.once('exit', (code, signal) => onExit(signal ? `its ${what} process was ended by ${signal}` : `its ${what} process ended with code ${code}`))
    child.unref()
    const pid = child.pid!
    setUrgency([pid], 'ordinary') // the agent's own priority is higher
    return { pid, started: (await startTime(pid)) ?? '' }
  } finally {
    closeSync(log)
  }
}

/**
 * Field 22 of /proc/PID/stat; undefined when there is no such process, or only its remains. A first thread that has ended while
 * others have not is no remains yet: ports and files of the process are still taken.
 */
export async function startTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' && threadsOf(pid).length <= 1 ? undefined : fields[19]
  } catch {
    return undefined
  }
}

export async function isAlive(ref: ProcessRef): Promise<boolean> {
  return (await startTime(ref.pid)) === ref.started
}

/** Processes with this text in their command lines, and those; not this one. */
export async function processesNaming(text: string): Promise<(ProcessRef & { line: string })[]> {
  const found = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(async (name) => {
    const pid = Number(name)
    const line = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')
    if (pid === process.pid || !line.includes(text)) return []
    const started = await startTime(pid)
    return started === undefined ? [] : [{ pid, started, line }]
  }))
  return found.flat()
}

/** After: the process is gone. TERM is not tried: a QEMU whose main thread hangs ignores it, and its disks are ours to keep. */
export async function killProcess(ref: ProcessRef, clock: Clock): Promise<void> {
  if (!(await isAlive(ref))) return
  process.kill(ref.pid, 'SIGKILL')
  const gone = await until(clock, 10_000, 5, async () => ((await isAlive(ref)) ? undefined : true))
  if (!gone) throw new Failure('failed', `process ${ref.pid} does not end`)
}
