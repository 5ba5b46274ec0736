// A file of nothing, given up when the disk is full: what VMs, journals and Redis write next finds room, and there is time to make
// more. A VM whose disk cannot be written stands still; this is what lets it run on.
import { open, rm, stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { explain } from '../base/errors.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import { reserve } from './hypervisor/qemu/descriptors.js'

/** With less than this free the disk counts as full: a journal, a qcow2 cluster for each VM. */
const fullBytes = 8 * 1024 * 1024

export class Ballast {
  private readonly path: string
  private readonly log: Log
  private readonly onFull: (why: string) => void
  private readonly freeBytes: () => Promise<number>
  private held = false
  private full = false

  /** `onFull`: called while the disk is full, with or without a reserve; what else can be spared should go. `freeBytes`: on the disk of `path`. */
  constructor(path: string, log: Log, onFull: (why: string) => void, freeBytes = () => freeBytesAt(path)) {
    this.path = path
    this.log = log
    this.onFull = onFull
    this.freeBytes = freeBytes
  }

  /** After: it is there, if there is plenty of room. */
  async open(): Promise<void> {
    this.held = await stat(this.path).then(({ size }) => size > 0, () => false)
    await this.watch()
  }

  /** Call it now and then: gives it up when the disk is full, and takes it again when there is plenty of room. */
  async watch(): Promise<void> {
    const free = await this.freeBytes()
    if (free < fullBytes) return this.release()
    this.full = false
    if (!this.held && free > limits.freeFloorBytes + limits.ballastBytes) await this.take()
  }

  /** The disk is full. */
  async release(): Promise<void> {
    const bytes = this.held ? limits.ballastBytes : 0
    this.held = false
    const room = bytes > 0 ? rm(this.path, { force: true }) : undefined
    this.onFull('the disk of the host is full: free some space or remove snapshots') // before a VM runs on: then its cut fails for that, and says no more why
    await room
    if (bytes === 0 && this.full) return // told already
    this.full = true
    this.log.error({ bytes }, 'the disk of this host is full: its reserve (bytes) was given up so that VMs run on; free some space')
  }

  private async take(): Promise<void> {
    const file = await open(this.path, 'w', 0o600)
    try {
      reserve(file.fd, limits.ballastBytes, this.path)
      this.held = true
    } catch (error) {
      this.log.warn({ why: explain(error) }, 'no reserve for a full disk')
      await rm(this.path, { force: true })
    } finally {
      await file.close()
    }
  }
}

async function freeBytesAt(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(dirname(path))
  return bavail * bsize
}
