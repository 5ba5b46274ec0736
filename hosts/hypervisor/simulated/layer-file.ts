// Disk layers of simulated VMs: a small file each, with the one block that the guest writes to, or nothing. A frozen layer
// never changes, as with qcow2.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { Failure } from '../../../base/errors.js'
import type { DiskFile } from '../../disk-file.js'
import { blockBytes } from './guest/disk-counter.js'

/** `by`: the VM that has written the block. */
interface Layer { format: 'violin-simulated-layer-1'; block: string | null; by?: string }

/** A layer with nothing in it, whatever it will lie on. */
export async function makeLayerFile(path: string): Promise<void> {
  write(path, { format: 'violin-simulated-layer-1', block: null })
}

/** What several layers hold, in one. */
export async function mergeLayerFiles(path: string, layers: string[]): Promise<void> {
  const newest = newestLayer(layers)
  write(path, newest ?? { format: 'violin-simulated-layer-1', block: null })
}

/** The first block of a raw disk is all that a simulated guest has of it. A qcow2 file needs QEMU to be read. */
export async function importLayerFile(path: string, { path: from, format }: DiskFile): Promise<void> {
  if (format !== 'raw') throw new Failure('failed', 'simulated VMs read raw disks only: give it as .raw, or use real VMs')
  const file = await open(from, 'r')
  try {
    const block = Buffer.alloc(blockBytes)
    await file.read(block, 0, blockBytes, 0)
    const isEmpty = block.every((byte) => byte === 0)
    write(path, { format: 'violin-simulated-layer-1', block: isEmpty ? null : block.toString('base64'), by: 'an image' })
  } finally {
    await file.close()
  }
}

export class LayeredDisk {
  readonly layers: string[]
  private block: Buffer | undefined
  private dirty = false
  private readonly vm: string
  /** The VM that has written what is on it; undefined: nobody, or one of a time when that was not noted. */
  readonly writtenBy: string | undefined

  constructor(layers: string[], vm = '') {
    this.layers = [...layers]
    this.vm = vm
    const newest = newestLayer(layers)
    this.writtenBy = newest?.by
    if (newest) this.block = Buffer.from(newest.block!, 'base64')
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
    write(top, { ...read(top), block: this.block!.toString('base64'), ...(this.vm === '' ? {} : { by: this.vm }) })
    this.dirty = false
  }

  /** From here on `overlay`, which lies on the present layer, is written to. */
  change(overlay: string): void {
    this.flush()
    this.layers.push(overlay)
  }

  /** Before: `layers` lie one on the other in here, and the one that is written to is not among them. */
  replace(layers: string[], by: string): void {
    const from = this.layers.indexOf(layers[0]!)
    const fits = from >= 0 && from + layers.length < this.layers.length && this.layers.slice(from, from + layers.length).join() === layers.join()
    if (!fits) throw new Failure('failed', 'the disk does not have these layers below the one that is written to')
    read(by)
    this.layers.splice(from, layers.length, by)
  }
}

function newestLayer(layers: string[]): Layer | undefined {
  for (const path of [...layers].reverse()) {
    const layer = read(path)
    if (layer.block !== null) return layer
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
