// The counter on the disk of a simulated guest: it keeps step with one in memory, so that memory and disk of different
// moments are noticed (images/bank.c, "The counter on the disk"). It fills its block, so that a torn block shows.
import { due, type Pace } from './pace.js'

export interface DiskMemory { done: number; intent: number; failures: number; write: Pace }

export interface Disk {
  readDisk(): Buffer | undefined
  writeDisk(block: Buffer): void
}

export interface DiskReport { done: number; intent: number; onDisk: number; ok: boolean }

const magic = Buffer.from('VIOLBANK')
export const blockBytes = 512
const sumAt = blockBytes - 4
const writeEveryMs = 50

/** The counter of a bank that starts now. */
export const freshDisk = (now: number): DiskMemory => ({ done: 0, intent: 0, failures: 0, write: { interval: writeEveryMs, next: now } })

/** The block for a counter: magic, the counter again and again, a sum. */
export function encodeCounter(counter: number): Buffer {
  const block = Buffer.alloc(blockBytes)
  magic.copy(block)
  for (let at = magic.length; at < sumAt; at += 4) block.writeUInt32BE(counter, at)
  block.writeUInt32BE(checksum(block), sumAt)
  return block
}

/** -1 when it is no block of ours or not whole. */
export function decodeCounter(block: Buffer | undefined): number {
  if (block?.length !== blockBytes || !block.subarray(0, magic.length).equals(magic)) return -1
  return block.readUInt32BE(sumAt) === checksum(block) ? block.readUInt32BE(magic.length) : -1
}

function checksum(block: Buffer): number { // FNV-1a over all but the sum itself
  let sum = 0x811c9dc5
  for (let at = 0; at < sumAt; at += 4) sum = Math.imul(sum ^ block.readUInt32BE(at), 0x01000193)
  return sum >>> 0
}

export class DiskCounter {
  private readonly memory: DiskMemory
  private readonly disk: Disk

  constructor(memory: DiskMemory, disk: Disk) {
    this.memory = memory
    this.disk = disk
  }

  startPacing(now: number): void {
    this.memory.write.next = now
  }

  nextDue(): number {
    return this.memory.write.next
  }

  /** The first write of a bank; an exception of the disk passes, for then the bank does not start. */
  begin(): void {
    this.disk.writeDisk(encodeCounter(0))
  }

  /** Intent, write, done: memory read while the disk is written has the intent, and either counter on the disk is right. */
  write(now: number): void {
    if (due(this.memory.write, now) === 0) return
    this.memory.intent = this.memory.done + 1
    try {
      this.disk.writeDisk(encodeCounter(this.memory.intent))
      this.memory.done = this.memory.intent
    } catch {
      this.memory.failures++
    }
  }

  report(): DiskReport {
    const { done, intent, failures } = this.memory
    const onDisk = this.read()
    return { done, intent, onDisk, ok: onDisk >= 0 && failures === 0 && (onDisk === done || onDisk === intent) }
  }

  private read(): number {
    try {
      return decodeCounter(this.disk.readDisk())
    } catch {
      return -1
    }
  }
}
