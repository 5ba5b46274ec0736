// Keeps chains of disk layers short: layers that nobody needs apart become one, in the background, one merge at a time. The
// order makes it safe to die anywhere: the merged layer is whole on disk before it is noted, noted before a VM reads it, and what
// it replaces goes when no VM has it any more (layer-chains.ts says what may be merged).
import { basename } from 'node:path'
import { explain } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import type { Log } from '../base/log.js'
import { realRandom, token } from '../base/random.js'
import { Turns } from '../base/turns.js'
import { mergeableRuns, nextForVm, presentParts, worthMerging, type LayerUse, type Replacement, type Run } from './layer-chains.js'
import type { Images } from './images.js'
import type { Layers } from './layers.js'
import type { Participants } from './participants.js'
import type { RestoreHost } from './restore-host.js'
import { ownerOf, SnapshotLayers, type SnapshotNeeds } from './snapshot-layers.js'
import type { VmRegistry } from './vm-registry.js'

export interface CollapseParts {
  store: string
  registry: VmRegistry
  participants: Participants
  restores: RestoreHost
  images: Pick<Images, 'layersInUse'>
  layers: Layers
  log: Log
}

/** Merges in one go: more wait for the next look. A bound and no rule. */
const mostMerges = 64

export class Collapse {
  private readonly at: CollapseParts
  /** Which layers are needed may not change between asking and acting on it. */
  private readonly turns = new Turns()
  private readonly ending = new AbortController()
  private looking: Promise<void> | undefined
  private again = false
  private readonly snapshots: SnapshotLayers

  constructor(parts: CollapseParts) {
    this.at = parts
    this.snapshots = new SnapshotLayers(parts.store, parts.log)
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

  /**
   * Removes the disk layers that no VM, no open restore, no image in the making and no snapshot refers to. Not while a cut makes new ones.
   * Never fails: tried again later.
   */
  async collect(): Promise<void> {
    await this.turns.run('layers', () => this.collectNow())
      .catch((error: unknown) => this.at.log.error({ why: explain(error) }, 'disk layers could not be removed: tried again later'))
  }

  private async collectNow(): Promise<void> {
    const { participants, registry, restores, images, layers } = this.at
    const inUse = () => [...registry.disks.layersInUse(), ...restores.layersInUse(), ...images.layersInUse()].map((path) => basename(path))
    const files = await layers.files() // first: what is made from here on is not looked at
    const before = inUse()
    const needs = await this.snapshots.needs()
    if (participants.isCutting()) return // what it has made is in no chain yet
    const present = needs.chains.map(({ parts }) => presentParts(parts, layers.replacements))
    const unknown = files.filter((name) => !this.isKnown(name, needs))
    await layers.collect(
      files, new Set([...before, ...inUse(), ...present.flatMap(({ parts }) => parts.map((p) => p.name)), ...unknown]),
      new Set([...present.flatMap(({ by }) => by), ...layers.replacements.filter(({ into }) => !this.isKnown(into.name, needs))]),
    )
  }

  private async look(): Promise<void> {
    await this.replaceInVms()
    for (let n = 0; n < mostMerges && !this.ending.signal.aborted; n++) {
      const merged = await this.mergeOne()
      if (merged) await this.replaceInVms()
      await this.collect() // also where nothing was merged: a run that was rolled back leaves layers that nobody needs
      if (!merged) return
    }
  }

  /** False: there is nothing to merge. */
  private async mergeOne(): Promise<boolean> {
    const { layers } = this.at
    const sizes = await layers.sizes()
    const [work] = (await this.runs()).flatMap((run) => worthMerging(run, (name) => sizes.get(name) ?? 0) ?? [])
    if (!work) return false
    const name = `${ownerOf(work.run[0]!)}.m-${token(realRandom, 6)}.qcow2`
    const replacement = await layers.merge(name, { layers: work.run, on: work.on, sizeMiB: work.diskMiB }, this.ending.signal)
    faultPoint('agent.collapse.merged')
    return this.turns.run('layers', async () => {
      const still = (await this.runs()).some(({ run }) => holds(run, work.run)) // a VM may have gone meanwhile
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
    for (const { vm, slice } of registry.disks.list()) {
      await registry.outsideCuts(slice, async () => {
        for (let next = this.nextFor(vm); next && !participants.isOpen(slice); next = this.nextFor(vm)) {
          await registry.disks.replace(vm, next.replaces.map((p) => layers.path(p.name)), layers.path(next.into.name))
        }
      }).catch((error: unknown) => log.warn({ vm, why: explain(error) }, 'it goes on with the disk layers that it has'))
    }
  }

  private nextFor(vm: string): Replacement | undefined {
    const chain = this.at.registry.disks.list().find((d) => d.vm === vm)?.layers.map((path) => basename(path)) ?? []
    return nextForVm(chain, this.at.layers.replacements)
  }

  private async runs(): Promise<Run[]> {
    const { registry, restores, layers } = this.at
    const needs = await this.snapshots.needs()
    const snapshots = needs.chains.map(({ parts, diskMiB }): LayerUse => ({
      layers: layers.present(parts).map((p) => p.name), written: false, diskMiB,
    }))
    const written = [...registry.disks.list(), ...restores.disks()].map((disk): LayerUse => ({
      layers: disk.layers.map((path) => basename(path)), written: true, diskMiB: disk.diskMiB,
    }))
    return mergeableRuns([...snapshots, ...written], layers.replacements).filter(({ run }) => this.isKnown(run[0]!, needs))
  }

  /** Is this a layer of a slice all of whose snapshots are understood? */
  private isKnown(layer: string, { chains, unknown }: SnapshotNeeds): boolean {
    if (unknown.size === 0) return true
    const owner = ownerOf(layer)
    const slices = [...chains, ...this.at.registry.disks.list()].filter(({ vm }) => vm === owner).map(({ slice }) => slice)
    return slices.length > 0 && !slices.some((slice) => unknown.has(slice))
  }
}

const holds = (run: string[], part: string[]): boolean => {
  const from = run.indexOf(part[0]!)
  return from >= 0 && part.every((name, i) => run[from + i] === name)
}
