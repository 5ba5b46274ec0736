// The disk images of this host: each one file that holds a whole disk, lies on nothing and never changes, and a record beside it.
//
// An image is made of the layers that a disk had at one instant. They are frozen first, which stops nobody, and copied into one file
// in the background, one image after the other. While it is being made its record holds those layers, so the VM may go on, be rolled back
// or go; afterwards nothing joins the two. A new VM has the file under another name as its lowest layer (Layers.lay): so an image may
// go while VMs live on it, and what merges and removes layers knows nothing of images.
//
// The record is written first and removed first. A file without one is a leftover; a record that says "making" is made anew.
import { readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { digestOf } from '../base/digest.js'
import { makeFolder, removeDurably, syncFile, syncFolder, writeDurably } from '../base/durable.js'
import { explain, Failure, Refusal } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import type { Log } from '../base/log.js'
import { readableOr, readRecord, type Form } from '../base/records.js'
import { shownSize } from '../base/sizes.js'
import { rfc3339, until, type Clock } from '../base/time.js'
import { Turns } from '../base/turns.js'
import { sameUrn } from '../base/urn.js'
import { sameName, type DiskImage } from '../slices/disk-image.js'
import type { ImageAsk } from '../slices/needs.js'
import { imageObjection } from '../slices/quota.js'
import type { Hypervisor } from './hypervisor/hypervisor.js'
import { isWhole } from './image-records.js'
import type { Layers } from './layers.js'
import type { Participants } from './participants.js'
import type { VmDisks } from './vm-disks.js'
import type { VmRegistry } from './vm-registry.js'

/** `layers`: names of those that it is being made of, oldest first. */
export interface ImageRecord extends DiskImage { layers: string[]; floorBytes: number }

export const imageForm: Form<ImageRecord> = {
  format: 1, is: ({ id, name, owner, state, layers }) => [id, name, owner, state].every((t) => typeof t === 'string') && Array.isArray(layers),
}

export interface ImagesParts {
  folder: string
  layers: Layers
  registry: { outsideCuts: VmRegistry['outsideCuts']; disks: Pick<VmDisks, 'list' | 'freeze'> }
  participants: Pick<Participants, 'isOpen'>
  hypervisor: Pick<Hypervisor, 'mergeLayers'>
  freeBytes(): Promise<number>
  clock: Clock
  log: Log
  /** Layers may be needed no more. */
  onLayersFree(): void
}

/** A policy's snapshot that was under way is over by then, or has given way. */
const cutEndsMs = 10_000
const roomMs = 500
/** What a qcow2 file has beside the disk's own bytes. */
const overheadBytes = 1024 * 1024

export class Images {
  private readonly records = new Map<string, ImageRecord>()
  private readonly turns = new Turns()
  private readonly at: ImagesParts
  private current: { id: string; stop: AbortController } | undefined
  private ending = false

  constructor(parts: ImagesParts) {
    this.at = parts
  }

  /** After: what an earlier agent had begun is being made anew, and nothing is left of what has no record. */
  async open(): Promise<void> {
    const { folder, log } = this.at
    await makeFolder(folder)
    const files = await readdir(folder)
    const unreadable: string[] = []
    for (const file of files.filter((f) => f.endsWith('.json')).sort()) {
      const lost = (why: string) => {
        log.error({ why }, 'the record of an image cannot be read: the image is left alone, and is not there for anybody')
        unreadable.push(file.slice(0, -'.json'.length))
      }
      const record = await readableOr(() => readRecord(join(folder, file), imageForm), lost)
      if (record) this.records.set(record.id, record)
    }
    for (const file of files.filter((f) => !f.endsWith('.json'))) {
      const id = file.replace(/\..*$/, '')
      if (this.records.get(id)?.state === 'ready' ? !file.endsWith('.part') : unreadable.includes(id)) continue
      await rm(join(folder, file), { force: true })
    }
    for (const record of this.records.values()) {
      const gone = record.state === 'ready' && !(await isWhole(this.path(record), record.bytes))
      if (gone) Object.assign(record, { state: 'failed', why: 'its file is damaged or gone' })
    }
  }

  /** Goes on with what is to be made. Before: everybody else has been opened. */
  resume(): void {
    for (const record of this.records.values()) if (record.state === 'making') this.begin(record)
  }

  /** After: nothing is being made; the next agent begins anew. */
  async stop(): Promise<void> {
    this.ending = true
    this.current?.stop.abort()
    await this.turns.run('make', () => Promise.resolve())
  }

  list(): DiskImage[] {
    return [...this.records.values()].map(shownImage)
  }

  layersInUse(): string[] {
    return [...this.records.values()].flatMap(({ layers }) => layers)
  }

  /** Freezes the disk of a VM and begins to make an image of it. Asked again it gives the same one. */
  create(ask: ImageAsk): Promise<DiskImage> {
    return this.turns.run('images', async () => {
      const before = this.records.get(ask.image.id)
      if (before) return shownImage(before)
      const twin = this.named(ask.image.name)
      if (twin && !(twin.state === 'failed' && sameUrn(twin.owner, ask.image.owner))) throw new Refusal('exists', `there is an image ${twin.name} already`)
      const bytes = await this.mostBytes(ask.vm)
      await this.refuseFull(ask, bytes, twin)
      const record = await this.at.registry.outsideCuts(ask.slice, () => this.freeze(ask, bytes))
      if (twin) await this.removeNow(twin)
      this.begin(record)
      return shownImage(record)
    })
  }

  remove(id: string): Promise<void> {
    return this.turns.run('images', async () => {
      const record = this.records.get(id)
      if (record) await this.removeNow(record)
    })
  }

  /** A layer of this name that holds what the image does. */
  async lay(name: string, layer: string): Promise<string> {
    const record = this.named(name)
    if (record?.state !== 'ready') throw new Refusal('not-found', `there is no image ${name} any more`)
    if (!(await isWhole(this.path(record), record.bytes))) throw new Failure('damaged', `the image ${name} is damaged: its file is not as long as it was`)
    return this.at.layers.lay(layer, this.path(record), record)
  }

  private async freeze(ask: ImageAsk, bytes: number): Promise<ImageRecord> {
    const { participants, registry, clock } = this.at
    const over = await until(clock, cutEndsMs, 50, () => (participants.isOpen(ask.slice) ? undefined : true))
    if (!over) throw new Failure('timed-out', 'a snapshot of the slice is still under way: try again')
    const { spec, layers } = await registry.disks.freeze(ask.vm)
    const record: ImageRecord = {
      format: 1, ...ask.image, state: 'making', why: '', guest: spec.image, diskMiB: spec.diskMiB, bytes, digest: '', created: rfc3339(clock.now()),
      floorBytes: ask.floorBytes, layers: layers.map((path) => basename(path)),
    }
    this.records.set(record.id, record) // from here on the layers are held
    await this.write(record).catch((error: unknown) => {
      this.records.delete(record.id)
      throw error
    })
    faultPoint('agent.image.begun')
    return record
  }

  private begin(record: ImageRecord): void {
    void this.turns.run('make', async () => {
      if (this.ending || this.records.get(record.id) !== record) return
      const stop = new AbortController()
      this.current = { id: record.id, stop }
      const watch = setInterval(() => void this.giveUpWhenFull(record, stop), roomMs).unref() // alone it keeps no agent alive
      try {
        await this.make(record, stop.signal)
      } catch (error) {
        await this.failed(record, stop.signal.reason instanceof Failure ? stop.signal.reason : error)
      } finally {
        clearInterval(watch)
        this.current = undefined
      }
    })
  }

  private async make(record: ImageRecord, signal: AbortSignal): Promise<void> {
    const { hypervisor, layers, log } = this.at
    const path = this.path(record)
    const part = `${path}.part`
    await rm(part, { force: true })
    signal.throwIfAborted()
    await hypervisor.mergeLayers(part, { layers: record.layers.map((name) => layers.path(name)), on: [], sizeMiB: record.diskMiB }, signal)
    faultPoint('agent.image.copied')
    await syncFile(part)
    const digest = await digestOf(part)
    const { size } = await stat(part)
    signal.throwIfAborted()
    await rename(part, path)
    await syncFolder(this.at.folder)
    faultPoint('agent.image.named')
    await this.change(record, { state: 'ready', bytes: size, digest, layers: [] })
    log.info({ image: record.name, id: record.id, bytes: size }, 'an image is made')
    this.at.onLayersFree()
  }

  private async failed(record: ImageRecord, error: unknown): Promise<void> {
    await rm(`${this.path(record)}.part`, { force: true }).catch(() => undefined)
    if (this.ending || this.records.get(record.id) !== record) return
    this.at.log.error({ image: record.name, id: record.id, why: explain(error) }, 'an image could not be made')
    await this.change(record, { state: 'failed', why: explain(error), bytes: 0, layers: [] })
      .catch((cause: unknown) => this.at.log.error({ id: record.id, why: explain(cause) }, 'that could not be written down'))
    this.at.onLayersFree()
  }

  private async giveUpWhenFull(record: ImageRecord, stop: AbortController): Promise<void> {
    const free = await this.at.freeBytes().catch(() => Infinity)
    if (free < record.floorBytes) stop.abort(new Failure('no-space', `only ${shownSize(free)} were free, ${shownSize(record.floorBytes)} must stay free`))
  }

  /** On disk first, then for everybody. One that was removed meanwhile does not come back. */
  private change(record: ImageRecord, to: Partial<ImageRecord>): Promise<void> {
    return this.turns.run('images', async () => {
      if (this.records.get(record.id) === record) {
        await this.write({ ...record, ...to })
        Object.assign(record, to)
      } else await rm(this.path(record), { force: true })
    })
  }

  private async removeNow(record: ImageRecord): Promise<void> {
    await removeDurably(this.recordPath(record))
    faultPoint('agent.image.unnamed')
    this.records.delete(record.id)
    if (this.current?.id === record.id) this.current.stop.abort()
    await rm(this.path(record), { force: true })
    this.at.log.info({ image: record.name, id: record.id }, 'an image is removed')
    this.at.onLayersFree()
  }

  /** The layers as they are, which may hold some bytes twice, but no more than the whole disk. */
  private async mostBytes(vm: string): Promise<number> {
    const disk = this.at.registry.disks.list().find((d) => d.vm === vm)
    if (!disk) throw new Refusal('not-found', `this host has no VM ${vm}`)
    const sizes = await Promise.all(disk.layers.map(async (path) => (await stat(path)).size))
    return Math.min(sizes.reduce((sum, n) => sum + n, 0), disk.diskMiB * 1024 * 1024) + overheadBytes
  }

  private async refuseFull({ image: { owner }, quotas, floorBytes }: ImageAsk, bytes: number, twin: ImageRecord | undefined): Promise<void> {
    const own = [...this.records.values()].filter((r) => sameUrn(r.owner, owner) && r !== twin)
    const objection = imageObjection(quotas, owner, { count: own.length, bytes: own.reduce((sum, r) => sum + r.bytes, 0) }, bytes)
    if (objection !== undefined) throw new Refusal('too-big', objection)
    const free = await this.at.freeBytes()
    if (free - bytes >= floorBytes) return
    throw new Failure('no-space', `the image may take ${shownSize(bytes)}, ${shownSize(free)} are free and ${shownSize(floorBytes)} must stay free`)
  }

  private named(name: string): ImageRecord | undefined {
    return [...this.records.values()].find((r) => sameName(r.name, name))
  }

  private write(record: ImageRecord): Promise<void> { return writeDurably(this.recordPath(record), JSON.stringify(record)) }
  private path({ id }: ImageRecord): string { return join(this.at.folder, `${id}.qcow2`) }
  private recordPath({ id }: ImageRecord): string { return join(this.at.folder, `${id}.json`) }
}

function shownImage({ layers: _, floorBytes: _floor, ...image }: ImageRecord): DiskImage {
  return image
}
