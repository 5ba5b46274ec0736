// What a VM writes on its console, in a file that must not grow for ever. The VM holds it open for appending, so it can be
// emptied under it: the next line goes to the new end. What was there is kept in an older file, and the two read as one.
import { open, rm, stat } from 'node:fs/promises'
import { cutOff } from '../base/cut-off.js'
import { explain } from '../base/errors.js'
import type { Log } from '../base/log.js'

/** Two of these at most for each VM, and what is written between two looks. */
const mostBytes = 2 * 1024 * 1024

const olderOf = (path: string): string => `${path}.older`

/** The last `bytes` bytes as text, from the beginning of a line where one begins among them. '' where there is no console yet. */
export async function readConsole(path: string, bytes: number): Promise<string> {
  const now = await tail(path, bytes + 1)
  const before = now.length > bytes ? Buffer.alloc(0) : await tail(olderOf(path), bytes + 1 - now.length)
  const all = Buffer.concat([before, now])
  if (all.length <= bytes) return all.toString('utf8')
  const line = all.indexOf('\n') + 1 // from the byte before: it says whether what follows begins a line
  return all.subarray(line === 0 || line === all.length ? firstCharacter(all) : line).toString('utf8')
}

/** Where the first whole character after the first byte begins. */
function firstCharacter(bytes: Buffer): number {
  let at = 1
  while (at < 4 && at < bytes.length && (bytes[at]! & 0xc0) === 0x80) at++
  return at
}

/** Empties a console that has grown beyond its bound; true when it had. */
export async function boundConsole(path: string, most = mostBytes): Promise<boolean> {
  if ((await sizeOf(path)) <= most) return false
  await cutOff(path, olderOf(path))
  return true
}

/** Bounds each of them; one that cannot be is told and costs only itself. */
export async function boundConsoles(paths: string[], log: Log): Promise<void> {
  for (const path of paths) {
    await boundConsole(path).catch((error: unknown) => log.warn({ path, why: explain(error) }, 'a console could not be bounded'))
  }
}

/** After: nothing of the console is left. */
export async function removeConsole(path: string): Promise<void> {
  for (const file of [path, olderOf(path), `${olderOf(path)}.new`]) await rm(file, { force: true })
}

async function tail(path: string, bytes: number): Promise<Buffer> {
  const size = await sizeOf(path)
  if (size === 0) return Buffer.alloc(0)
  const file = await open(path, 'r')
  try {
    const wanted = Buffer.alloc(Math.min(bytes, size))
    const { bytesRead } = await file.read(wanted, 0, wanted.length, size - wanted.length)
    return wanted.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

const sizeOf = (path: string): Promise<number> => stat(path).then((s) => s.size, () => 0)
