// Disk layers of simulated VMs: a small file each, with the layer below it and the one block that the guest writes to. A
// frozen layer never changes, as with qcow2.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { Failure } from '../../../base/errors.js'
import type { LayerOn } from '../hypervisor.js'

interface Layer { format: 'violin-simulated-layer-1'; base: string | null; block: string | null }

/** A new empty disk, or a new layer on top of `base`. */
export async function makeLayerFile(path: string, on: LayerOn): Promise<void> {
  write(path, { format: 'violin-simulated-layer-1', base: 'base' in on ? on.base : null, block: null })
}

export class LayeredDisk {
  readonly layers: string[]
  private block: Buffer | undefined
  private dirty = false

  constructor(layers: string[]) {
    this.layers = [...layers]
    this.block = newestBlock(layers.at(-1)!)
  }

  read(): Buffer | undefined { return this.block }

  /** In the host's memory until `flush`, as in a page cache. */
  write(block: Buffer): void {
    this.block = Buffer.from(block)
    this.dirty = true
  }

  flush(): void {
    if (!this.dirty) return
    const top = this.layers.at(-1)!
    write(top, { ...read(top), block: this.block!.toString('base64') })
    this.dirty = false
  }

  /** From here on `overlay`, which lies on the present layer, is written to. */
  change(overlay: string): void {
    this.flush()
    this.layers.push(overlay)
  }
}

/** Layers may be many: the chain is walked and not descended into. */
function newestBlock(top: string): Buffer | undefined {
  for (let path: string | null = top; path !== null;) {
    const layer: Layer = read(path)
    if (layer.block !== null) return Buffer.from(layer.block, 'base64')
    path = layer.base
  }
  return undefined
}

function read(path: string): Layer {
  const layer = JSON.parse(readFileSync(path, 'utf8')) as Partial<Layer>
  if (layer.format !== 'violin-simulated-layer-1') throw new Failure('damaged', `${path} is no disk layer of a simulated VM`)
  return layer as Layer
}

function write(path: string, layer: Layer): void {
  writeFileSync(`${path}.part`, JSON.stringify(layer), { mode: 0o600 })
  renameSync(`${path}.part`, path)
}
