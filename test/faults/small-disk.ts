// A file system of some GiB in a file, and the file in it that fills it to the last byte.
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { realClock as clock, until } from '../../base/time.js'
import { reserve } from '../../hosts/hypervisor/qemu/descriptors.js'

export const mib = 1024 * 1024
const sizeMiB = 3072
const settleMs = 1_500

export class SmallDisk {
  readonly folder = mkdtempSync(join(tmpdir(), 'vdisk-'))
  private readonly image = `${this.folder}.img`
  private readonly filler = join(this.folder, 'filler')

  constructor() {
    if (process.getuid?.() !== 0) throw new Error('a file system of its own can only be mounted by root')
    writeFileSync(this.image, '')
    truncateSync(this.image, sizeMiB * mib)
    execFileSync('mkfs.ext4', ['-q', '-m', '0', this.image])
    execFileSync('mount', ['-o', 'loop', this.image, this.folder])
  }

  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.folder)
    return bavail * bsize
  }

  /** After: `left` bytes are free, or with 0 not one. */
  fillUpTo(left: number): void {
    const file = openSync(this.filler, 'a')
    try {
      const more = this.freeBytes() - left - (left === 0 ? mib : 0)
      if (more > 0) reserve(file, this.sizeOfFiller() + more, this.filler)
      if (left === 0) this.writeUntilFull()
    } finally {
      closeSync(file)
    }
  }

  /** After: layers that were replaced have gone, so that nothing makes room by itself where the disk is to be full. */
  async settled(): Promise<void> {
    let last = NaN
    const still = await until(clock, 60_000, settleMs, () => {
      const now = this.freeBytes()
      const same = Math.abs(now - last) < mib
      last = now
      return same ? true : undefined
    })
    if (!still) throw new Error('the room on the disk does not come to rest')
  }

  empty(): void { rmSync(this.filler, { force: true }); rmSync(`${this.filler}.rest`, { force: true }) }

  remove(): void {
    execFileSync('umount', ['-l', this.folder])
    rmSync(this.image, { force: true })
    rmSync(this.folder, { recursive: true, force: true })
  }

  private sizeOfFiller(): number {
    return Number(execFileSync('stat', ['-c', '%s', this.filler]).toString())
  }

  private writeUntilFull(): void {
    const rest = openSync(`${this.filler}.rest`, 'a')
    try {
      for (const size of [64 * 1024, 4096, 1]) writeWhileItFits(rest, Buffer.alloc(size))
    } finally {
      closeSync(rest)
    }
  }
}

function writeWhileItFits(file: number, block: Buffer): void {
  try {
    for (let n = 0; n < 100_000; n++) if (writeSync(file, block) < block.length) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}
