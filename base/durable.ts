// Files that must be there whole after a crash, or not at all: written aside, synced, renamed, the folder synced.
import { link, mkdir, open, readdir, rename, rm, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { faultPoint } from './fault-points.js'

let counter = 0
const aside = (path: string) => `${path}.${process.pid}.${counter++}.part`
/** Is this the name of a file that is written aside? Where its process has died it is nobody's. */
export const isAside = (name: string): boolean => asideForm.test(name)
const asideForm = /\.(\d+)\.\d+\.part$/

/** Replaces `path` by `content`, so that a reader sees the old or the new and a crash loses neither. */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = aside(path)
  try {
    await writeSynced(temporary, content)
    faultPoint('file.aside')
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(dirname(path))
}

/** Writes `path` once and for ever. False when somebody was there first: read it and obey. */
export async function writeOnce(path: string, content: string | Uint8Array): Promise<boolean> {
  const temporary = aside(path)
  try {
    await writeSynced(temporary, content)
    faultPoint('once.aside')
    await link(temporary, path)
    faultPoint('once.linked')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    await syncFolder(dirname(path)) // whoever came first may not have got so far
    return false
  } finally {
    await rm(temporary, { force: true })
  }
  await syncFolder(dirname(path))
  return true
}

export async function removeDurably(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  await syncFolder(dirname(path))
}

/** After: what processes that have died were writing aside, in this folder and below it, is gone. What living ones write stays. */
export async function sweepAsides(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [] // a folder that just goes: the next start looks again
    throw error
  })
  for (const entry of entries) {
    const pid = asideForm.exec(entry.name)?.[1]
    if (pid !== undefined && !isAnother(Number(pid))) await rm(join(entry.parentPath, entry.name), { force: true })
  }
}

/** Does another process have this number? Ours has just begun: what has it in its name is not from us. */
function isAnother(pid: number): boolean {
  try {
    return pid !== process.pid && process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export async function syncFile(path: string): Promise<void> {
  await syncFolder(path) // fsync takes any descriptor, also a read-only one
}

export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
}

async function writeSynced(path: string, content: string | Uint8Array): Promise<void> {
  const handle = await open(path, 'wx', 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
