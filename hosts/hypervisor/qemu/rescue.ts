// The rescue of a frozen guest. When a background snapshot of QEMU 7.2 fails half way, QMP says "running", but the
// guest waits for ever for pages that nobody will release; `stop` then blocks QMP too. So this asks nothing of QEMU:
// it takes QEMU's userfaultfd and lifts the protection itself.
import { readdir, readFile, readlink } from 'node:fs/promises'
import { closeDescriptor, takeDescriptor, unprotect } from './descriptors.js'

/** After: no page of the process is write-protected by a userfaultfd. True when there was one to lift. */
export async function rescueFrozenGuest(pid: number): Promise<boolean> {
  const descriptors = await userfaultDescriptors(pid)
  if (descriptors.length === 0) return false
  const ranges = trackedRanges(await readFile(`/proc/${pid}/smaps`, 'utf8'))
  for (const fd of descriptors) {
    const copy = takeDescriptor(pid, fd)
    try {
      for (const { start, length } of ranges) unprotect(copy, start, length)
    } finally {
      closeDescriptor(copy)
    }
  }
  return true
}

async function userfaultDescriptors(pid: number): Promise<number[]> {
  const found: number[] = []
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')
    if (target.includes('[userfaultfd]')) found.push(Number(fd))
  }
  return found
}

/** The ranges of /proc/PID/smaps whose VmFlags say that a userfaultfd tracks them: uw (write-protect) or um (missing). */
export function trackedRanges(smaps: string): { start: bigint; length: bigint }[] {
  const ranges: { start: bigint; length: bigint }[] = []
  let current: { start: bigint; length: bigint } | undefined
  for (const line of smaps.split('\n')) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line)
    if (head) {
      const start = BigInt(`0x${head[1]!}`)
      current = { start, length: BigInt(`0x${head[2]!}`) - start }
    } else if (current && /^VmFlags:.*\b(uw|um)\b/.test(line)) {
      ranges.push(current)
    }
  }
  return ranges
}
