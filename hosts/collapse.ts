// Keeps chains of disk layers short: layers that nobody needs apart become one, in the background, one merge at a time. The
// order makes it safe to die anywhere: the merged layer is whole on disk before it is noted, noted before a VM reads it, and what
// it replaces goes when no VM has it any more (layer-chains.ts says what may be merged).
import { readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { explain, Failure } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import type { Log } from '../base/log.js'
import { realRandom, token } from '../base/random.js'
import { Turns } from '../base/turns.js'
import { ImageStore } from '../snapshots/image-store.js'
import type { Inventory } from '../snapshots/inventory.js'
import type { Part } from '../snapshots/messages.js'
import { mergeableRuns, nextForVm, presentParts, worthMerging, type LayerUse, type Replacement } from './layer-chains.js'
import type { Layers } from './layers.js'
import type { Participants } from './participants.js'
import type { RestoreHost } from './restore-host.js'
import type { VmRegistry } from './vm-registry.js'

export interface CollapseParts {
  store: string
  registry: VmRegistry
  participants: Participants
  restores: RestoreHost
  layers: Layers
  log: Log
}

/** Merges in one go: more wait for the next look. A bound and no rule. */
const mostMerges = 64
const inventoryFormat = 'violin-inventory-1'

interface Chain { parts: Part[]; diskMiB: number }

export class Collapse {
  private readonly at: CollapseParts
  /** Which layers are needed may not change between asking and acting on it. */
  private readonly turns = new Turns()
  private readonly ending = new AbortController()
  private looking: Promise<void> | undefined
  private again = false
  /** What snapshots need, by the path of the inventory that says so; inventories do not change. */
  private known = new Map<string, { stamp: string; chains: Chain[] }>()

  constructor(parts: CollapseParts) {
    this.at = parts
  }

  /** Looks soon whether there is something to merge. Never fails. */
  soon(): void {
    if (this.looking) {
      this.again = true
      return
    }
    this.looking = this.look()
      .catch((error: unknown) => {
        if (!this.ending.signal.aborted) this.at.log.error({ why: explain(error) }, 'disk layers could not be merged: tried again later')
      })
      .finally(() => {
        this.looking = undefined
        if (this.again && !this.ending.signal.aborted) this.soon()
        this.again = false
      })
  }

  /** After: no merge is under way, and none will be. */
  async stop(): Promise<void> {
    this.ending.abort()
    await this.looking
  }

  /** Removes the disk layers that no VM, no open restore and no snapshot refers to. Not while a cut makes new ones. */
  async collect(): Promise<void> {
    await this.turns.run('layers', async () => {
      if (this.at.participants.isCutting()) return
      const snapshots = await this.snapshotChains()
      const present = snapshots.map(({ parts }) => presentParts(parts, this.at.layers.replacements))
      const inUse = [...this.at.registry.layersInUse(), ...this.at.restores.layersInUse()].map((path) => basename(path))
      await this.at.layers.collect(
        new Set([...inUse, ...present.flatMap(({ parts }) => parts.map((p) => p.name))]), new Set(present.flatMap(({ by }) => by)),
      )
    })
  }

  private async look(): Promise<void> {
    await this.replaceInVms()
    for (let n = 0; n < mostMerges && !this.ending.signal.aborted; n++) {
      if (!(await this.mergeOne())) return
      await this.replaceInVms()
      await this.collect()
    }
  }

  /** False: there is nothing to merge. */
  private async mergeOne(): Promise<boolean> {
    const { layers } = this.at
    const sizes = await layers.sizes()
    const [work] = mergeableRuns(await this.uses(), layers.replacements).flatMap((run) => worthMerging(run, (name) => sizes.get(name) ?? 0) ?? [])
    if (!work) return false
    const name = `${work.run.at(-1)!.replace(/\..*$/, '')}.m-${token(realRandom, 6)}.qcow2`
    const replacement = await layers.merge(name, { layers: work.run, on: work.on, sizeMiB: work.diskMiB }, this.ending.signal)
    faultPoint('agent.collapse.merged')
    return this.turns.run('layers', async () => {
      const still = mergeableRuns(await this.uses(), layers.replacements).some(({ run }) => holds(run, work.run)) // a VM may have gone meanwhile
      if (still) await layers.replace(replacement)
      else await layers.discard(replacement)
      faultPoint('agent.collapse.noted')
      this.at.log.info({ into: name, bytes: replacement.into.bytes, layers: work.run.length, still }, 'disk layers were merged')
      return still
    })
  }

  /** Every VM reads what was merged. One that cannot now (a cut is under way, it is just being started) does so at a later look. */
  private async replaceInVms(): Promise<void> {
    const { registry, participants, layers, log } = this.at
    for (const { vm, slice } of registry.disks()) {
      await registry.outsideCuts(slice, async () => {
        for (let next = this.nextFor(vm); next && !participants.isOpen(slice); next = this.nextFor(vm)) {
          await registry.replaceLayers(vm, next.replaces.map((p) => layers.path(p.name)), layers.path(next.into.name))
        }
      }).catch((error: unknown) => log.warn({ vm, why: explain(error) }, 'it goes on with the disk layers that it has'))
    }
  }

  private nextFor(vm: string): Replacement | undefined {
    const chain = this.at.registry.disks().find((d) => d.vm === vm)?.layers.map((path) => basename(path)) ?? []
    return nextForVm(chain, this.at.layers.replacements)
  }

  private async uses(): Promise<LayerUse[]> {
    const { registry, restores, layers } = this.at
    const snapshots = (await this.snapshotChains()).map(({ parts, diskMiB }) => ({
      layers: layers.present(parts).map((p) => p.name), written: false, diskMiB,
    }))
    const written = [...registry.disks(), ...restores.disks()].map((disk) => ({
      layers: disk.layers.map((path) => basename(path)), written: true, diskMiB: disk.diskMiB,
    }))
    return [...snapshots, ...written]
  }

  /** What snapshots need. One whose inventory cannot be understood might need anything, so then nothing is merged or removed. */
  private async snapshotChains(): Promise<Chain[]> {
    const store = new ImageStore(this.at.store)
    const known = new Map<string, { stamp: string; chains: Chain[] }>()
    for (const slice of await store.slices()) {
      for (const id of await store.ids(slice)) {
        const path = join(store.folder(slice, id), 'inventory.json')
        const found = await stat(path).catch(() => undefined)
        if (!found) continue // without one a folder is no snapshot
        const stamp = `${found.ino} ${found.mtimeMs}`
        const before = this.known.get(path)
        known.set(path, before?.stamp === stamp ? before : { stamp, chains: await readChains(path) })
      }
    }
    this.known = known
    return [...known.values()].flatMap(({ chains }) => chains)
  }
}

async function readChains(path: string): Promise<Chain[]> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined) return [] // removed just now
  const { format, hosts } = JSON.parse(text) as Inventory
  if (format !== inventoryFormat) throw new Failure('damaged', `${path} has format ${String(format)}: no disk layer is merged or removed while it is there`)
  return hosts.flatMap((share) => share.vms.map((vm) => ({ parts: vm.layers, diskMiB: vm.spec.diskMiB })))
}

const holds = (run: string[], part: string[]): boolean => {
  const from = run.indexOf(part[0]!)
  return from >= 0 && part.every((name, i) => run[from + i] === name)
}
