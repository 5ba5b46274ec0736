// A disk image of somebody else as one of ours, whole on disk: looked at (disk-file.ts), written anew by the hypervisor, named at last.
import { rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { digestOf } from '../base/digest.js'
import { syncFile, syncFolder } from '../base/durable.js'
import { faultPoint } from '../base/fault-points.js'
import type { DiskFormat } from '../base/source.js'
import { lookAtDisk } from './disk-file.js'
import type { Hypervisor } from './hypervisor/hypervisor.js'

export interface ImportedImage { bytes: number; digest: string; diskMiB: number }

/** Before: nobody changes the file `from`. On failure there is nothing at `to`; a part may be left at `to`.part. */
export async function importImage(
  hypervisor: Pick<Hypervisor, 'importDisk'>, from: { path: string; format: DiskFormat }, to: string, mostBytes: number, signal: AbortSignal,
): Promise<ImportedImage> {
  const disk = await lookAtDisk(from.path, from.format)
  const part = `${to}.part`
  await rm(part, { force: true })
  await hypervisor.importDisk(part, disk, mostBytes, signal)
  faultPoint('agent.image.imported')
  await syncFile(part)
  const digest = await digestOf(part)
  const { size } = await stat(part)
  signal.throwIfAborted()
  await rename(part, to)
  await syncFolder(dirname(to))
  return { bytes: size, digest, diskMiB: disk.diskMiB }
}
