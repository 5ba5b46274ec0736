// The logs of the processes, bounded: they must not fill the disk that snapshots need. A process holds its log open for
// appending, so the file is emptied under it and older parts are kept beside it: NAME.log.1 is the newest of them.
import { existsSync } from 'node:fs'
import { readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { cutOff } from '../../base/cut-off.js'
import { explain } from '../../base/errors.js'

export const logBounds = { bytes: 16 * 1024 * 1024, older: 4 }
const lookMs = 30_000

/** Looks once. A log that cannot be bounded is told and costs only itself. */
export async function boundLogs(folder: string, say: (line: string) => void, bounds = logBounds): Promise<void> {
  for (const name of (await readdir(folder)).filter((n) => n.endsWith('.log'))) {
    const path = join(folder, name)
    try {
      if ((await stat(path)).size > bounds.bytes) await moveOn(path, bounds.older)
    } catch (error) {
      say(`the log ${path} cannot be bounded: ${explain(error)}`)
    }
  }
}

/** The oldest goes first: on a full disk that makes room for the copy. */
async function moveOn(path: string, older: number): Promise<void> {
  await rm(`${path}.${older}`, { force: true })
  for (let i = older - 1; i >= 1; i--) {
    if (existsSync(`${path}.${i}`)) await rename(`${path}.${i}`, `${path}.${i + 1}`)
  }
  await cutOff(path, `${path}.1`)
}

/** Looks now, and now and then until it is told to stop. */
export async function keepLogsBounded(folder: string, say: (line: string) => void): Promise<() => void> {
  await boundLogs(folder, say)
  let busy = false
  const looking = setInterval(() => {
    if (busy) return
    busy = true
    void boundLogs(folder, say).catch((error: unknown) => say(`the logs cannot be bounded: ${explain(error)}`)).finally(() => { busy = false })
  }, lookMs)
  return () => clearInterval(looking)
}
