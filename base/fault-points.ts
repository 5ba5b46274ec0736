// Named points at which a test can let a process die, so that a fault comes exactly where it is meant to and not about there.
// A point costs one comparison where nothing is armed. Armed, a file of the point's name in a folder says which processes to
// kill (pids, one a line); it is renamed to NAME.hit, so each order is carried out once.
import { readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'

let folder: string | undefined

/** Called by a main.ts, with the folder of orders; undefined where there are none, as always outside tests. */
export function armFaults(orders: string | undefined): void {
  folder = orders
}

export function faultPoint(name: string): void {
  if (folder === undefined) return
  const file = join(folder, name)
  let pids: number[]
  try {
    pids = readFileSync(file, 'utf8').trim().split(/\s+/).map(Number)
    renameSync(file, `${file}.hit`)
  } catch {
    return // no order for this point
  }
  for (const pid of pids.filter((p) => p !== process.pid)) process.kill(pid, 'SIGKILL')
  if (pids.includes(process.pid)) process.kill(process.pid, 'SIGKILL') // last, or the others would live
}
