// The configuration disk of a VM as a file. A guest that runs reads it again when its first entry, `generation`, has
// changed: so its accounts change without a boot, and are the present ones again soon after a rollback. It is written in
// place then, because the hypervisor has the file open, and keeps its size, because the guest knows no other.
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { Refusal } from '../base/errors.js'
import type { VmSpec } from '../slices/vm-spec.js'
import { guestFiles, tar } from './guest-config.js'

const firstEntry = 'generation'
/** Room for accounts that come later. */
const leastBytes = 64 * 1024

/** The disk of a new VM. */
export function configDisk(spec: VmSpec): Buffer {
  const content = contentOf(spec)
  return padded(content, Math.max(leastBytes, Math.ceil(2 * content.length / 1024) * 1024)) // whole KiB: a disk is made of blocks
}

/** After: the disk says what `spec` says. Refuses, and changes nothing, when that does not fit. */
export async function changeConfigDisk(path: string, spec: VmSpec): Promise<void> {
  const content = contentOf(spec)
  const file = await open(path, 'r+')
  try {
    const { size } = await file.stat()
    const begin = await file.read(Buffer.alloc(firstEntry.length), 0, firstEntry.length, 0)
    if (begin.buffer.toString('latin1') !== firstEntry) {
      const why = 'was made by an earlier version of this program, whose guests do not look for other accounts'
      throw new Refusal('unsupported', `${spec.clientId} ${why}: delete it and make it anew`)
    }
    if (content.length > size) {
      const room = `the configuration disk of ${spec.clientId} has room for ${size} bytes`
      throw new Refusal('too-big', `${room}, the accounts and keys need ${content.length}: give fewer keys`)
    }
    await file.write(padded(content, size), 0, size, 0)
    await file.sync()
  } finally {
    await file.close()
  }
}

function contentOf(spec: VmSpec): Buffer {
  const files = guestFiles(spec)
  const generation = createHash('sha256').update(JSON.stringify(files)).digest('hex')
  return tar({ [firstEntry]: `${generation}\n`, ...files })
}

const padded = (content: Buffer, size: number): Buffer => Buffer.concat([content, Buffer.alloc(size - content.length)])
