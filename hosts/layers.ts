// Disk layers: files, each on top of the one before. A layer that a cut froze never changes again, and goes only
// when no running VM and no snapshot refers to it, or when another one holds the same (layer-chains.ts, collapse.ts).
import { constants } from 'node:fs'
import { copyFile, link, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { digestOf } from '../base/digest.js'
import { makeFolder, syncFile, syncFolder, writeDurably } from '../base/durable.js'
import { Failure } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { readRecord, type Form } from '../base/records.js'
import type { Part } from '../snapshots/messages.js'
import type { Hypervisor, LayerOn, LayersToMerge } from './hypervisor/hypervisor.js'
import { presentParts, type Replacement } from './layer-chains.js'

const replacementForm: Form<Replacement> = {
  format: 1, is: ({ into, replaces }) => [into, ...replaces].every((part) => typeof part.name === 'string' && typeof part.digest === 'string'),
}

/** Beside a layer: its digest, and which layers it replaces. */
export const digestSuffix = '.sha256'
const replacesSuffix = '.replaces'

/** The layer that a file is, or is about. */
const layerOf = (file: string): string => file.replace(/(\.qcow2)\..*$/, '$1')

/** The notes of merged layers in a folder of layers. */
export async function readReplacements(folder: string): Promise<Replacement[]> {
  const notes = (await readdir(folder)).filter((name) => name.endsWith(replacesSuffix)).map((name) => join(folder, name))
  const found = await Promise.all(notes.map((note) => readRecord(note, replacementForm)))
  return found.filter((note) => note !== undefined)
}

export class Layers {
  readonly folder: string
  /** In the order in which they were made. */
  readonly replacements: Replacement[] = []
  private readonly maker: Pick<Hypervisor, 'makeLayer' | 'mergeLayers'>
  /** The last one that was merged: it stays until it is noted, or given up. */
  private merged = ''

  constructor(folder: string, maker: Pick<Hypervisor, 'makeLayer' | 'mergeLayers'>) {
    this.folder = folder
    this.maker = maker
  }

  async open(): Promise<void> {
    await makeFolder(this.folder)
    this.replacements.push(...await readReplacements(this.folder))
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  /** A new empty disk, or a new layer on top of `base`. */
  async create(name: string, on: LayerOn): Promise<string> {
    const path = this.path(name)
    await rm(path, { force: true })
    await this.maker.makeLayer(path, on)
    return path
  }

  /**
   * A layer that holds what the file `from` does, which never changes: another name of the same file, so that each may go without the
   * other, or where that cannot be a copy.
   */
  async lay(name: string, from: string, { bytes, digest }: Omit<Part, 'name'>): Promise<string> {
    const path = this.path(name)
    await rm(path, { force: true })
    await link(from, path).catch(async (error: unknown) => {
      if (!['EXDEV', 'EPERM', 'EMLINK', 'EOPNOTSUPP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      await copyFile(from, `${path}.part`, constants.COPYFILE_FICLONE)
      await syncFile(`${path}.part`)
      await rename(`${path}.part`, path)
    })
    await writeDurably(`${path}${digestSuffix}`, `${bytes} ${digest}`) // its first snapshot need not read all of it
    return path
  }

  /** Where the layers of a snapshot are found today: fewer, if some were merged since. */
  present(parts: Part[]): Part[] {
    return presentParts(parts, this.replacements).parts
  }

  /** Makes one layer of several, by names. Nobody knows of it before `replace`. */
  async merge(name: string, what: LayersToMerge, signal: AbortSignal): Promise<Replacement> {
    this.merged = name
    try {
      return await this.mergeInto(name, what, signal)
    } catch (error) {
      this.merged = ''
      throw error
    }
  }

  private async mergeInto(name: string, what: LayersToMerge, signal: AbortSignal): Promise<Replacement> {
    const paths = (names: string[]) => names.map((n) => this.path(n))
    const replaces = await this.seal(paths(what.layers))
    const part = this.path(`${name}.part`)
    await rm(part, { force: true })
    await this.maker.mergeLayers(part, { ...what, layers: paths(what.layers), on: paths(what.on) }, signal)
    faultPoint('agent.collapse.part')
    await rename(part, this.path(name))
    const [into] = await this.seal([this.path(name)])
    return { format: 1, into: into!, replaces }
  }

  /** From here on it is found where the others were, after a crash too. */
  async replace(replacement: Replacement): Promise<void> {
    faultPoint('agent.collapse.before-note')
    await writeDurably(this.path(`${replacement.into.name}${replacesSuffix}`), JSON.stringify(replacement))
    this.replacements.push(replacement)
    this.merged = ''
  }

  async discard({ into }: Replacement): Promise<void> {
    this.merged = ''
    for (const path of [this.path(into.name), `${this.path(into.name)}${digestSuffix}`]) await rm(path, { force: true })
  }

  /** Bytes of each layer. */
  async sizes(): Promise<Map<string, number>> {
    const sizes = new Map<string, number>()
    for (const name of await readdir(this.folder)) {
      const { size } = await stat(this.path(name)).catch(() => ({ size: 0 })) // gone since
      sizes.set(name, size)
    }
    return sizes
  }

  /** The chain as parts of a snapshot. Before: all of it is frozen. Digests are taken once and kept beside the layers. */
  async seal(chain: string[]): Promise<Part[]> {
    const parts: Part[] = []
    for (const path of chain) parts.push(await this.sealOne(path))
    await syncFolder(this.folder)
    return parts
  }

  /** Are these layers here (`present`), and what they were? */
  async verify(parts: Part[]): Promise<void> {
    for (const part of parts) {
      const path = this.path(part.name)
      const { size } = await stat(path).catch((cause: unknown) => { throw new Failure('damaged', `disk layer ${part.name} is missing`, { cause }) })
      if (size !== part.bytes || (await digestOf(path)) !== part.digest) throw new Failure('damaged', `disk layer ${part.name} is not what was sealed`)
    }
  }

  /** Every file here; see `collect`. */
  files(): Promise<string[]> {
    return readdir(this.folder)
  }

  /**
   * Removes those of `files` whose layer is not in `needed` (names), and every replacement that nobody goes by. The files must have been
   * listed before it was asked what is needed: a layer that is made meanwhile is in neither.
   */
  async collect(files: string[], needed: Set<string>, goneBy: Set<Replacement>): Promise<void> {
    for (const [i, replacement] of [...this.replacements.entries()].reverse()) {
      if (!goneBy.has(replacement) && !needed.has(replacement.into.name)) this.replacements.splice(i, 1)
    }
    const notes = new Set(this.replacements.map(({ into }) => `${into.name}${replacesSuffix}`))
    for (const name of files) {
      if (needed.has(layerOf(name)) || notes.has(name) || (this.merged !== '' && name.startsWith(this.merged))) continue
      await rm(this.path(name), { force: true })
      faultPoint('agent.layer.removed')
    }
  }

  private async sealOne(path: string): Promise<Part> {
    const kept = await readFile(`${path}${digestSuffix}`, 'utf8').catch(() => '')
    const { size } = await stat(path)
    const [bytes, digest] = kept.split(' ')
    if (digest && Number(bytes) === size) return { name: basename(path), bytes: size, digest }
    await syncFile(path)
    const fresh = await digestOf(path)
    faultPoint('agent.layer.synced')
    await writeDurably(`${path}${digestSuffix}`, `${size} ${fresh}`)
    faultPoint('agent.layer.digest')
    return { name: basename(path), bytes: size, digest: fresh }
  }
}
