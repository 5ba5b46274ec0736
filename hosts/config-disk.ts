// The configuration disk of a VM as a file. A guest that runs reads it again when its first entry, `generation`, has
// changed: so its accounts change without a boot, and are the present ones again soon after a rollback. It is written in
// place then, because the hypervisor has the file open, and keeps its size, because the guest knows no other.
import { createHash } from 'node:crypto'
import { open, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { explain, Refusal } from '../base/errors.js'
import type { Log } from '../base/log.js'
import type { VmSpec } from '../slices/vm-spec.js'
import { guestFiles, tar, untar } from './guest-config.js'

const firstEntry = 'generation'
const archivesIn = 'install/'
const ending = '.config'
/** Room for accounts that come later. */
const leastBytes = 64 * 1024

type Files = Record<string, string | Buffer>

/** The disk of a new VM. `archives`: what it installs (installs.ts). */
export function configDisk(spec: VmSpec, archives: Files = {}): Buffer {
  const content = contentOf(spec, archives)
  const room = content.length + contentOf(spec, {}).length
  return padded(content, Math.max(leastBytes, Math.ceil(room / 1024) * 1024)) // whole KiB: a disk is made of blocks
}

/** After: the disk says what `spec` says. Refuses, and changes nothing, when that does not fit. */
export async function changeConfigDisk(path: string, spec: VmSpec): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const before = await file.readFile()
    const size = before.length
    if (!before.subarray(0, firstEntry.length).equals(Buffer.from(firstEntry))) {
      const why = 'was made by an earlier version of this program, whose guests do not look for other accounts'
      throw new Refusal('unsupported', `${spec.clientId} ${why}: delete it and make it anew`)
    }
    const content = contentOf(spec, archivesOn(before))
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

/**
 * After an agent's death, for the VMs that it knew: a disk that it was writing to is whole again and says what the VM's record says; one that
 * it had made for a VM without a record is gone. Those of `unreadable` are not touched.
 */
export async function mendConfigDisks(
  folder: string, specs: readonly VmSpec[], unreadable: ReadonlyMap<string, unknown>, log: Log,
): Promise<void> {
  const known = new Map(specs.map((spec) => [spec.vm, spec]))
  for (const file of (await readdir(folder)).filter((name) => name.endsWith(ending))) {
    const vm = file.slice(0, -ending.length)
    const path = join(folder, file)
    const spec = known.get(vm)
    try {
      if (!spec && !unreadable.has(vm)) await rm(path)
      else if (spec && isTorn(await readFile(path))) await changeConfigDisk(path, spec)
    } catch (error) {
      log.error({ vm, why: explain(error) }, 'its configuration disk cannot be mended: delete the node and make it anew before it boots again')
    }
  }
}

/** Its generation is that of other files than it has. One of an earlier version has none, and is never written to. */
function isTorn(disk: Buffer): boolean {
  const { [firstEntry]: generation, ...files } = untar(disk)
  const texts = Object.entries(files).filter(([name]) => !name.startsWith(archivesIn)).map(([name, body]) => [name, body.toString()])
  return generation !== undefined && generation.toString().trim() !== generationOf(Object.fromEntries(texts) as Record<string, string>)
}

const generationOf = (files: Record<string, string>): string => createHash('sha256').update(JSON.stringify(files)).digest('hex')

function contentOf(spec: VmSpec, archives: Files): Buffer {
  const files = guestFiles(spec)
  return tar({ [firstEntry]: `${generationOf(files)}\n`, ...files, ...archives })
}

/** A guest that has not booted yet has still to install them. */
const archivesOn = (disk: Buffer): Files => Object.fromEntries(Object.entries(untar(disk)).filter(([name]) => name.startsWith(archivesIn)))

const padded = (content: Buffer, size: number): Buffer => Buffer.concat([content, Buffer.alloc(size - content.length)])
