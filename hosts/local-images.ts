// Disk images that the operator of this host has put into a folder: each file there is an image that everybody may name. It is looked at and
// written anew like those from elsewhere (import-image.ts), so what VMs have does not change with the folder, and no VM opens what
// somebody else has made. The folder is looked at now and then; what is still being copied into it changes, and is left for later.
import { createHash } from 'node:crypto'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { removeDurably, writeDurably } from '../base/durable.js'
import { explain, Failure, Refusal } from '../base/errors.js'
import type { Log } from '../base/log.js'
import type { Form } from '../base/records.js'
import { diskFormatOf } from '../base/source.js'
import { rfc3339, type Clock } from '../base/time.js'
import { imageNameForm, sameName, type DiskImage } from '../slices/disk-image.js'
import type { Hypervisor } from './hypervisor/hypervisor.js'
import { openImageRecords } from './image-records.js'
import { importImage } from './import-image.js'
import type { Layers } from './layers.js'

/** `stamp`: what the file was when the image was made of it. */
interface LocalRecord { format: 1; file: string; stamp: string; image: DiskImage }

const form: Form<LocalRecord> = {
  format: 1,
  is: ({ file, stamp, image }) => [file, stamp, image.id, image.name, image.digest].every((t) => typeof t === 'string') && Number.isFinite(image.bytes),
}

export interface LocalParts {
  /** The operator's. Nothing in it is changed. */
  from: string
  /** Ours. */
  folder: string
  layers: Pick<Layers, 'lay'>
  hypervisor: Pick<Hypervisor, 'importDisk'>
  /** The guest image that nodes of them boot. */
  guest: string
  /** Names that other images of this host have. */
  taken: () => string[]
  freeBytes: () => Promise<number>
  /** So much stays free. */
  floorBytes: number
  clock: Clock
  log: Log
}

/** A file that has not changed for so long, and not since it was last looked at, is whole. */
const stillMs = 2_000
/** The list of them goes into every advertisement. */
const mostImages = 256

export class LocalImages {
  private readonly records = new Map<string, LocalRecord>()
  /** Stamps of files as they were seen last, by name of the file. */
  private seen = new Map<string, string>()
  /** What has been said of a file; it is said once. */
  private readonly said = new Map<string, string>()
  private readonly ending = new AbortController()
  private looking: Promise<void> | undefined
  private readonly at: LocalParts

  constructor(parts: LocalParts) {
    this.at = parts
  }

  async open(): Promise<void> {
    const records = await openImageRecords(this.at.folder, {
      form, idOf: ({ image }) => image.id, bytesOf: ({ image }) => image.bytes,
      onLost: (why) => this.at.log.warn({ why }, 'the record of an image of the operator cannot be read: the image is made anew'),
    })
    for (const record of records) this.records.set(record.file, record)
  }

  /** Looks at the folder. Never fails, and never twice at once. */
  look(): Promise<void> {
    this.looking ??= this.lookNow()
      .catch((error: unknown) => this.sayOnce('', `the folder of images ${this.at.from} cannot be read: ${explain(error)}`))
      .finally(() => { this.looking = undefined })
    return this.looking
  }

  async stop(): Promise<void> {
    this.ending.abort()
    await this.looking
  }

  list(): DiskImage[] {
    const taken = this.at.taken()
    return [...this.records.values()].map(({ image }) => image).filter(({ name }) => !taken.some((t) => sameName(t, name)))
  }

  has(name: string): boolean {
    return this.list().some((image) => sameName(image.name, name))
  }

  /** A layer of this name that holds what the image does. */
  async lay(name: string, layer: string): Promise<string> {
    const image = this.list().find((i) => sameName(i.name, name))
    if (!image) throw new Refusal('not-found', `there is no image ${name} any more`)
    const { size } = await stat(this.path(image))
    if (size !== image.bytes) throw new Failure('damaged', `the image ${name} is damaged: its file is not as long as it was`)
    return this.at.layers.lay(layer, this.path(image), image)
  }

  private async lookNow(): Promise<void> {
    const files = (await readdir(this.at.from)).filter((file) => diskFormatOf(file) !== undefined && !file.startsWith('.')).sort()
    for (const record of [...this.records.values()].filter(({ file }) => !files.includes(file))) await this.remove(record)
    const stamps = new Map<string, string>()
    for (const file of files) {
      if (this.ending.signal.aborted) return
      const found = await this.stampOf(file)
      if (!found) continue
      stamps.set(file, found.stamp)
      const isStill = this.seen.get(file) === found.stamp && this.at.clock.now() - found.changed > stillMs
      if (!isStill || this.records.get(file)?.stamp === found.stamp || this.said.get(file)?.startsWith(`${found.stamp} `)) continue
      await this.take(file, found.stamp).catch((error: unknown) => this.sayOnce(file, explain(error), found.stamp))
    }
    this.seen = stamps
  }

  private async stampOf(file: string): Promise<{ stamp: string; changed: number } | undefined> {
    const found = await stat(join(this.at.from, file)).catch(() => undefined) // gone since
    if (!found?.isFile()) return undefined
    const { size, mtimeMs, ctimeMs, ino } = found
    return { stamp: `${ino} ${size} ${mtimeMs} ${ctimeMs}`, changed: mtimeMs }
  }

  private async take(file: string, stamp: string): Promise<void> {
    const { clock, from, folder, floorBytes, freeBytes, guest, hypervisor, log } = this.at
    const name = file.slice(0, file.lastIndexOf('.'))
    if (!imageNameForm.test(name)) throw new Failure('failed', 'its name must be up to 64 letters, digits, dots, hyphens and underscores')
    const twin = [...this.records.values()].find((r) => r.file !== file && sameName(r.image.name, name))
    if (twin) throw new Failure('failed', `${twin.file} has the same name`)
    if (this.at.taken().some((t) => sameName(t, name))) throw new Failure('failed', 'another image has this name')
    const before = this.records.get(file)
    if (!before && this.records.size >= mostImages) throw new Failure('failed', `there are ${mostImages} images already`)
    const id = `local-${createHash('sha256').update(`${file} ${stamp}`).digest('hex').slice(0, 16)}`
    const most = (await freeBytes()) - floorBytes
    if (most <= 0) throw new Failure('no-space', 'there is no room for it')
    const made = await importImage(hypervisor, { path: join(from, file), format: diskFormatOf(file)! }, join(folder, `${id}.qcow2`), most, this.ending.signal)
    if ((await this.stampOf(file))?.stamp !== stamp) return rm(join(folder, `${id}.qcow2`), { force: true }) // it has changed meanwhile: next time
    const image: DiskImage = {
      format: 1, id, name, owner: '', global: true, ofOperator: true, state: 'ready', why: '', guest, diskMiB: made.diskMiB + 1, bytes: made.bytes,
      digest: made.digest, created: rfc3339(clock.now()), sliver: '',
    }
    await writeDurably(join(folder, `${id}.json`), JSON.stringify({ format: 1, file, stamp, image } satisfies LocalRecord))
    this.records.set(file, { format: 1, file, stamp, image })
    if (before) await this.forget(before)
    this.said.delete(file)
    log.info({ file, image: name, bytes: made.bytes }, 'an image of the operator is there')
  }

  private async remove(record: LocalRecord): Promise<void> {
    this.records.delete(record.file)
    await this.forget(record)
    this.at.log.info({ file: record.file }, 'an image of the operator is gone')
  }

  private async forget({ image }: LocalRecord): Promise<void> {
    await removeDurably(join(this.at.folder, `${image.id}.json`))
    await rm(this.path(image), { force: true })
  }

  /** With the stamp of a file it is not tried again before it changes. */
  private sayOnce(file: string, why: string, stamp = ''): void {
    if (this.ending.signal.aborted || this.said.get(file) === `${stamp} ${why}`) return
    this.said.set(file, `${stamp} ${why}`)
    this.at.log.error({ file, why }, 'this file of the operator is no image')
  }

  private path({ id }: DiskImage): string { return join(this.at.folder, `${id}.qcow2`) }
}
