// Named points at which a test can let a process die, or stand still, so that a fault comes exactly where it is meant to and not about there.
// A point costs one comparison where nothing is armed. Armed, a file of the point's name in a folder says which processes to
// kill (one a line: a pid, and after a space another signal than SIGKILL); it is renamed to NAME.hit, so each order is carried out once.
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
  let orders: { pid: number; signal: string }[]
  try {
    orders = readFileSync(file, 'utf8').trim().split('\n').map((line) => {
      const [pid, signal] = line.split(' ')
      return { pid: Number(pid), signal: signal ?? 'SIGKILL' }
    })
    renameSync(file, `${file}.hit`)
  } catch {
    return // no order for this point
  }
  const own = (order: { pid: number }) => Number(order.pid === process.pid)
  for (const { pid, signal } of orders.sort((a, b) => own(a) - own(b))) process.kill(pid, signal) // our own last, or the others would live
}
