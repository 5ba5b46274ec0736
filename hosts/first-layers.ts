// What the disk of a new VM is made of: an empty layer, on a disk image where its request names one.
import type { VmSpec } from '../slices/vm-spec.js'
import type { Images } from './images.js'
import type { Layers } from './layers.js'

export const firstLayerNames = ({ vm, disk }: VmSpec): string[] => [...(disk === undefined ? [] : [`${vm}.image.qcow2`]), `${vm}.0.qcow2`]

/** Paths, oldest first. What an earlier try has left is made anew. */
export async function makeFirstLayers(spec: VmSpec, layers: Layers, images: Pick<Images, 'lay'>): Promise<string[]> {
  const [under, top] = spec.disk === undefined ? [undefined, ...firstLayerNames(spec)] : firstLayerNames(spec)
  const base = under === undefined ? undefined : await images.lay(spec.disk!, under)
  const made = await layers.create(top!, { ...(base === undefined ? {} : { base }), sizeMiB: spec.diskMiB })
  return base === undefined ? [made] : [base, made]
}
