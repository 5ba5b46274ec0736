// How much an aggregate has on its disk, and how much is free there.
import { lstat, readdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Layout } from '../up/layout.js'

export interface Space { total: number; snapshots: number; disks: number; free: number }

export async function spaceOf(layout: Layout): Promise<Space> {
  const [total, snapshots, disks, { bavail, bsize }] = await Promise.all([
    usedBy(layout.state), usedBy(layout.store), usedBy(join(layout.host, 'layers')), statfs(layout.state),
  ])
  return { total, snapshots, disks, free: bavail * bsize }
}

/** Bytes on the disk, holes not counted. What goes away meanwhile is nothing. */
async function usedBy(path: string): Promise<number> {
  const at = await lstat(path).catch(() => undefined)
  if (!at) return 0
  let sum = at.blocks * 512
  if (!at.isDirectory()) return sum
  for (const name of await readdir(path).catch(() => [])) sum += await usedBy(join(path, name))
  return sum
}
