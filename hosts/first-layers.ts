// What the disk of a new VM is made of: an empty layer, on a disk image where its request names one.
import type { VmSpec } from '../slices/vm-spec.js'
import type { DigestedSource } from '../base/source.js'
import type { Layers } from './layers.js'

/** Where disk images are: by name, and those that were fetched. Each gives a layer of that name that holds what the image does. */
export interface DiskImages {
  lay(name: string, layer: string): Promise<string>
  layFetched(source: DigestedSource, layer: string): Promise<string>
  /** MiB that the disk of a node of it has at least. */
  leastDiskMiB(source: DigestedSource): number
}

export const firstLayerNames = ({ vm, disk, diskFrom }: VmSpec): string[] => [...(disk ?? diskFrom ? [`${vm}.image.qcow2`] : []), `${vm}.0.qcow2`]

/** How large a disk is that is fetched is known to the host and to nobody before. */
export const sized = (spec: VmSpec, images: Pick<DiskImages, 'leastDiskMiB'>): VmSpec =>
  spec.diskFrom === undefined ? spec : { ...spec, diskMiB: Math.max(spec.diskMiB, images.leastDiskMiB(spec.diskFrom)) }

/** Paths, oldest first. What an earlier try has left is made anew. */
export async function makeFirstLayers(spec: VmSpec, layers: Layers, images: Pick<DiskImages, 'lay' | 'layFetched'>): Promise<string[]> {
  const [first, top] = firstLayerNames(spec)
  if (top === undefined) return [await layers.create(first!, { sizeMiB: spec.diskMiB })]
  const base = await (spec.diskFrom ? images.layFetched(spec.diskFrom, first!) : images.lay(spec.disk!, first!))
  return [base, await layers.create(top, { base, sizeMiB: spec.diskMiB })]
}
