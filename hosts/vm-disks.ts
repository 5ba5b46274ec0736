// The disks of the VMs of a host, running or not: which layers they have, which files may not go, and how layers are put in others' place or
// on top. A record on disk never names a layer that is not there: what changes is written down before what it replaces may be removed.
import { Failure } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { realRandom, token } from '../base/random.js'
import type { VmSpec } from '../slices/vm-spec.js'
import { firstLayerNames, makeFirstLayers, type DiskImages } from './first-layers.js'
import type { Vm } from './hypervisor/hypervisor.js'
import type { Layers } from './layers.js'
import type { VmRecord } from './vm-records.js'

/** What the registry supplies. */
export interface VmBooks {
  records(): VmRecord[]
  /** Refuses a name that this host does not know. */
  record(vm: string): VmRecord
  running(vm: string): Vm | undefined
  save(record: VmRecord): Promise<void>
  /** Of VMs whose records cannot be read: paths. */
  unreadableLayers(): string[]
}

export interface VmDisk { vm: string; slice: string; diskMiB: number; layers: string[] }

export class VmDisks {
  private readonly books: VmBooks
  private readonly layers: Layers
  private readonly images: DiskImages
  /** Layers that are in no record and may not go: just made, or replaced while a record on disk still names them. */
  private readonly stillNoted = new Set<string>()

  constructor(books: VmBooks, layers: Layers, images: DiskImages) {
    this.books = books
    this.layers = layers
    this.images = images
  }

  /** Names and paths of all that may not be removed. */
  layersInUse(): string[] {
    const of = (r: VmRecord) => [...r.layers, ...r.instance?.layers ?? [], ...this.books.running(r.spec.vm)?.instance.layers ?? []]
    return [...this.books.records().flatMap(of), ...this.stillNoted, ...this.books.unreadableLayers()]
  }

  list(): VmDisk[] {
    return this.books.records().map(({ spec, layers }) => ({
      vm: spec.vm, slice: spec.slice, diskMiB: spec.diskMiB, layers: this.books.running(spec.vm)?.instance.layers ?? layers,
    }))
  }

  /** What a new VM begins with: paths, oldest first. `note` puts them into a record; until then they may not be collected. */
  async make(spec: VmSpec, note: (layers: string[]) => void): Promise<void> {
    const names = firstLayerNames(spec)
    for (const name of names) this.stillNoted.add(name)
    note(await makeFirstLayers(spec, this.layers, this.images))
    for (const name of names) this.stillNoted.delete(name)
  }

  /**
   * Before: no cut of its slice is under way (outsideCuts). After: what its disk holds now is in layers that change no more, given oldest
   * first, and it writes to a new one on top of them, or will when it is started.
   */
  async freeze(vm: string): Promise<{ spec: VmSpec; layers: string[] }> {
    const record = this.books.record(vm)
    const running = this.runningOr(record)
    const layers = [...running?.instance.layers ?? record.layers]
    const overlay = `${vm}.f-${token(realRandom, 6)}.qcow2`
    this.stillNoted.add(overlay) // and stays so where what follows fails: it may be in use then, and the next agent asks
    if (running) await running.freezeDisk(this.layers.path(overlay)).finally(() => this.note(vm))
    else {
      record.layers = [...layers, await this.layers.create(overlay, { base: layers.at(-1)!, sizeMiB: record.spec.diskMiB })]
      await this.books.save(record)
    }
    this.stillNoted.delete(overlay)
    return { spec: record.spec, layers }
  }

  /** Before: no cut of its slice is under way (outsideCuts). After: its disk has `by` in the place of `layers`, and its record says so. */
  async replace(vm: string, layers: string[], by: string): Promise<void> {
    const record = this.books.record(vm)
    const running = this.runningOr(record)
    for (const layer of layers) this.stillNoted.add(layer)
    if (running) await running.replaceLayers(layers, by)
    else record.layers.splice(record.layers.indexOf(layers[0]!), layers.length, by)
    faultPoint('agent.collapse.replaced')
    if (running) await this.note(vm)
    else await this.books.save(record)
    for (const layer of layers) this.stillNoted.delete(layer)
  }

  /** The layers of a running VM have changed (a cut): the record must say so before anybody relies on it. */
  async note(vm: string): Promise<void> {
    const record = this.books.records().find((r) => r.spec.vm === vm)
    const running = this.books.running(vm)
    if (!record || !running) return
    record.layers = [...running.instance.layers]
    record.instance = running.instance
    await this.books.save(record)
  }

  private runningOr(record: VmRecord): Vm | undefined {
    const running = this.books.running(record.spec.vm)
    if (!running && record.instance) throw new Failure('failed', 'it is just being started')
    return running
  }
}
