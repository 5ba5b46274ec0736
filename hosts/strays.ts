// VM processes that nobody knows: an agent that dies after it has started one and before it has written down its pid leaves it, with its
// memory, its sockets and its login port. The next agent finds it by its monitor, whose path has the run folder of this host in it.
import { basename } from 'node:path'
import type { Log } from '../base/log.js'
import { explain } from '../base/errors.js'
import type { Clock } from '../base/time.js'
import { killProcess, processesNaming, type ProcessRef } from './hypervisor/process.js'

export interface StraysParts {
  /** Where the monitors of this host's VMs are: RUN/VM.RUN.qmp. */
  runFolder: string
  /** Processes that are in a record or a journal. */
  known(): number[]
  /** Of a record or a journal that cannot be read: nothing is done with it. */
  isUnreadable(vm: string): boolean
  clock: Clock
  log: Log
}

/** Before: every record and journal has been read, and nothing is being started. After: no other VM process of this host runs. */
export async function endStrays(at: StraysParts): Promise<void> {
  const known = new Set(at.known())
  for (const { line, ...ref } of await processesNaming(`${at.runFolder}/`)) {
    const vm = vmOf(line, at.runFolder)
    if (vm === undefined || known.has(ref.pid) || at.isUnreadable(vm)) continue
    at.log.warn({ vm, pid: ref.pid }, 'nobody knows this VM process: the agent that began it died too soon; ending it')
    await end(ref, vm, at)
  }
}

async function end(ref: ProcessRef, vm: string, { clock, log }: StraysParts): Promise<void> {
  await killProcess(ref, clock).catch((error: unknown) => log.error({ vm, why: explain(error) }, 'a VM process that nobody knows could not be ended'))
}

/** The VM whose process this is: its monitor and its name are both in the command line. Somebody who looks at a monitor has no such name. */
function vmOf(line: string, runFolder: string): string | undefined {
  const words = line.split('\0')
  const from = line.indexOf(`${runFolder}/`)
  const [path] = /^[^"',\s\0]+/.exec(line.slice(from)) ?? []
  const vm = path?.endsWith('.qmp') ? basename(path).split('.')[0] : undefined
  return vm !== undefined && words[words.indexOf('-name') + 1]?.endsWith(`.${vm}`) ? vm : undefined
}
