// A VM's disk as QEMU's block nodes: a chain of qcow2 layers, each on its file. The chain is always given whole and never read
// from the files, whose headers name what they once lay on: a layer may have been merged into another since. Pure.

/** QEMU's names of one layer and of the file that it is in. */
export interface LayerNodes { layer: string; file: string }

/** Names that no other node of a QEMU has; `id` is unique in it. QEMU allows 31 characters. */
export const nodesNamed = (id: string): LayerNodes => ({ layer: `layer${id}`, file: `file${id}` })

/** One layer, as blockdev-add and blockdev-reopen want it. `backing`: a node, its name, or null for none. */
export function layerNode(path: string, nodes: LayerNodes, backing: object | string | null, readOnly: boolean): object {
  return {
    driver: 'qcow2', 'node-name': nodes.layer, 'read-only': readOnly, cache: { direct: true }, backing,
    file: { driver: 'file', 'node-name': nodes.file, filename: path, cache: { direct: true } },
  }
}

/** A whole chain, oldest first; only its last layer may be written to, and only if it is asked for. */
export function chainNode(layers: string[], writable: boolean): object {
  return layers.reduce<object | null>((below, path, i) =>
    layerNode(path, nodesNamed(String(i)), below, !(writable && i === layers.length - 1)), null)!
}

interface Image { filename: string; 'backing-image'?: Image }
export interface BlockDevice { inserted?: { drv: string; image: Image } }
export interface BlockNode { drv: string; file: string; 'node-name': string }

/** What `query-block` and `query-named-block-nodes` tell: the layers of the disk, oldest first, each with its nodes. Undefined: no disk. */
export function layersOf(devices: BlockDevice[], nodes: BlockNode[]): Map<string, LayerNodes> | undefined {
  const disk = devices.find((d) => d.inserted?.drv === 'qcow2')?.inserted
  if (!disk) return undefined
  const name = (driver: string, path: string) => nodes.find((n) => n.drv === driver && fileOf(n.file) === path)?.['node-name'] ?? ''
  const chain: [string, LayerNodes][] = []
  for (let image: Image | undefined = disk.image; image; image = image['backing-image']) {
    const path = fileOf(image.filename)
    chain.unshift([path, { layer: name('qcow2', path), file: name('file', path) }])
  }
  return new Map(chain)
}

/** QEMU tells a file by its name, or by all its options when its chain is not the one in its header. */
function fileOf(told: string): string {
  if (!told.startsWith('json:')) return told
  return (JSON.parse(told.slice('json:'.length)) as { file: { filename: string } }).file.filename
}
