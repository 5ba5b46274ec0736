// Disk layers: files, each on top of the one before. A layer that a cut froze never changes again, and goes only
// when no running VM and no snapshot refers to it.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { makeFolder, syncFile, syncFolder, writeDurably } from '../base/durable.js'
import { Failure } from '../base/errors.js'
import type { Part } from '../snapshots/messages.js'
import type { LayerOn } from './hypervisor/hypervisor.js'

/** SHA-256 of a file, read as a stream: a memory image does not fit where it should not be. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

export class Layers {
  readonly folder: string
  private readonly make: (path: string, on: LayerOn) => Promise<void>

  /** `make`: how the hypervisor makes one. */
  constructor(folder: string, make: (path: string, on: LayerOn) => Promise<void>) {
    this.folder = folder
    this.make = make
  }

  async open(): Promise<void> {
    await makeFolder(this.folder)
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  /** A new empty disk, or a new layer on top of `base`. */
  async create(name: string, on: LayerOn): Promise<string> {
    const path = this.path(name)
    await rm(path, { force: true })
    await this.make(path, on)
    return path
  }

  /** The chain as parts of a snapshot. Before: all of it is frozen. Digests are taken once and kept beside the layers. */
  async seal(chain: string[]): Promise<Part[]> {
    const parts: Part[] = []
    for (const path of chain) parts.push(await this.sealOne(path))
    await syncFolder(this.folder)
    return parts
  }

  /** Are these layers here, and what they were? */
  async verify(parts: Part[]): Promise<void> {
    for (const part of parts) {
      const path = this.path(part.name)
      const { size } = await stat(path).catch((cause: unknown) => { throw new Failure('damaged', `disk layer ${part.name} is missing`, { cause }) })
      if (size !== part.bytes || (await digestOf(path)) !== part.digest) throw new Failure('damaged', `disk layer ${part.name} is not what was sealed`)
    }
  }

  /** Removes every layer that is not in `needed` (file names). */
  async collect(needed: Set<string>): Promise<number> {
    let removed = 0
    for (const name of await readdir(this.folder)) {
      if (needed.has(name.replace(/\.sha256$/, ''))) continue
      await rm(this.path(name), { force: true })
      removed++
    }
    return removed
  }

  private async sealOne(path: string): Promise<Part> {
    const kept = await readFile(`${path}.sha256`, 'utf8').catch(() => '')
    const { size } = await stat(path)
    const [bytes, digest] = kept.split(' ')
    if (digest && Number(bytes) === size) return { name: basename(path), bytes: size, digest }
    await syncFile(path)
    const fresh = await digestOf(path)
    await writeDurably(`${path}.sha256`, `${size} ${fresh}`)
    return { name: basename(path), bytes: size, digest: fresh }
  }
}
