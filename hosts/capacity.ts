// What this host can give: a share of its memory, and the room of the snapshot store.
import { freemem, totalmem } from 'node:os'
import { statfs } from 'node:fs/promises'
import type { DiskImage } from '../slices/disk-image.js'
import type { HostCapacity } from '../slices/needs.js'

/** QEMU beside the guest's own memory: translation cache, device state, a stack for each thread. */
export const overheadMiB = 96
const hostShareMiB = 1024

export async function hostCapacity(at: {
  host: string; accelerator: string; store: string; images: string[]; diskImages: DiskImage[]; givenMiB: number
}): Promise<HostCapacity> {
  const storeFreeBytes = await freeBytesAt(at.store)
  const total = Math.floor(totalmem() / 1024 / 1024) - hostShareMiB
  const free = Math.floor(freemem() / 1024 / 1024)
  return {
    host: at.host, accelerator: at.accelerator, memoryMiB: total,
    // What is promised counts, even where the guests have not touched it yet; so does what others on this machine use.
    memoryFreeMiB: Math.max(0, Math.min(total - at.givenMiB, free + at.givenMiB)),
    storeFreeBytes, images: at.images, diskImages: at.diskImages,
  }
}

/** What may still be written to the disk that this folder is on. */
export async function freeBytesAt(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}
