// Which disk layers the snapshots of this host need, as their inventories say.
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Log } from '../base/log.js'
import { readableOr, readRecord } from '../base/records.js'
import { ImageStore } from '../snapshots/image-store.js'
import { inventoryForm } from '../snapshots/inventory.js'
import type { Part } from '../snapshots/messages.js'

/** One VM in one snapshot. `slice`: UUID. */
export interface Chain { slice: string; vm: string; parts: Part[]; diskMiB: number }

/** `unknown`: slices with an inventory that cannot be read; they might need any layer of theirs. */
export interface SnapshotNeeds { chains: Chain[]; unknown: Set<string> }

interface Read { stamp: string; chains: Chain[] | undefined }

export class SnapshotLayers {
  private readonly store: ImageStore
  private readonly log: Log
  /** By the path of the inventory; inventories do not change. */
  private read = new Map<string, Read>()

  constructor(folder: string, log: Log) {
    this.store = new ImageStore(folder)
    this.log = log
  }

  async needs(): Promise<SnapshotNeeds> {
    const read = new Map<string, Read>()
    const unknown = new Set<string>()
    for (const slice of await this.store.slices()) {
      for (const id of await this.store.ids(slice)) {
        const path = join(this.store.folder(slice, id), 'inventory.json')
        const found = await stat(path).catch(() => undefined)
        if (!found) continue // without one a folder is no snapshot
        const stamp = `${found.ino} ${found.mtimeMs}`
        const before = this.read.get(path)
        const now = before?.stamp === stamp ? before : { stamp, chains: await this.chainsOf(path, slice) }
        read.set(path, now)
        if (!now.chains) unknown.add(slice)
      }
    }
    this.read = read
    return { chains: [...read.values()].flatMap(({ chains }) => chains ?? []), unknown }
  }

  /** Undefined: there is one, and nobody here can tell what it needs. */
  private async chainsOf(path: string, slice: string): Promise<Chain[] | undefined> {
    return readableOr(async () => {
      const inventory = await readRecord(path, inventoryForm)
      if (!inventory) return [] // removed just now
      return inventory.hosts.flatMap((share) => share.vms.map((vm) => ({ slice, vm: vm.vm, parts: vm.layers, diskMiB: vm.spec.diskMiB })))
    }, (why) => this.log.error({ path, why }, 'an inventory cannot be read: no disk layer of its slice is merged or removed'))
  }
}

/** The VM whose disk a layer is of; layers are named VM.something. */
export const ownerOf = (layer: string): string => basename(layer).replace(/\..*$/, '')
