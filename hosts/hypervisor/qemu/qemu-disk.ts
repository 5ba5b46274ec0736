// The data disk of one VM with a QEMU process: which layers it has and what QEMU calls them, as QEMU itself says, and how they change.
import { rm } from 'node:fs/promises'
import { Failure } from '../../../base/errors.js'
import type { VmInstance } from '../hypervisor.js'
import { layerNode, layersOf, nodesNamed, type BlockDevice, type BlockNode, type LayerNodes } from './block-graph.js'
import { makeQcow2 } from './qcow2.js'
import type { Qmp } from './qmp.js'

export interface Overlay { path: string; nodes: LayerNodes }

/** Node names are used once in the life of a QEMU, which may outlive the agent. */
let made = 0
const newNodes = (): LayerNodes => nodesNamed(`${process.pid}x${++made}`)

export class QemuDisk {
  private readonly instance: VmInstance
  private readonly qmp: Qmp
  /** QEMU's names, for each of instance.layers. */
  private nodes = new Map<string, LayerNodes>()

  constructor(instance: VmInstance, qmp: Qmp) {
    this.instance = instance
    this.qmp = qmp
  }

  /** Which layers it has is what QEMU says: after an adoption the record may be one cut behind. */
  async learn(): Promise<void> {
    const [devices, nodes] = await this.qmp.batch([{ execute: 'query-block' }, { execute: 'query-named-block-nodes', arguments: { flat: true } }])
    const layers = layersOf(devices as BlockDevice[], nodes as BlockNode[])
    if (!layers) throw new Failure('failed', `${this.instance.spec.clientId} has no disk`)
    this.nodes = layers
    this.instance.layers = [...layers.keys()]
  }

  /** A new layer that QEMU knows and does not use yet. On failure: nothing is left of it. */
  async addOverlay(path: string): Promise<Overlay> {
    const overlay = { path, nodes: newNodes() }
    await makeQcow2(path, { base: this.instance.layers.at(-1)!, sizeMiB: this.instance.spec.diskMiB })
    try {
      await this.qmp.call('blockdev-add', layerNode(path, overlay.nodes, null, false))
    } catch (error) {
      await this.dropNode(overlay.nodes)
      await rm(path, { force: true })
      throw error
    }
    return overlay
  }

  /** What was added and is not used goes. QEMU is asked, since a flip may have been done though its answer never came: then it stays, and is a layer. */
  async dropOverlay({ path, nodes }: Overlay): Promise<void> {
    await this.learn()
    if (this.instance.layers.includes(path)) return
    await this.dropNode(nodes)
    await rm(path, { force: true })
  }

  /** The command by which the overlay becomes what the VM writes to; `flipped` is to be called once QEMU has done it. */
  flip(overlay: Overlay): { execute: string; arguments: object } {
    const node = this.nodesOf(this.instance.layers.at(-1)!).layer
    return { execute: 'transaction', arguments: { actions: [{ type: 'blockdev-snapshot', data: { node, overlay: overlay.nodes.layer } }] } }
  }

  flipped({ path, nodes }: Overlay): void {
    this.instance.layers.push(path)
    this.nodes.set(path, nodes)
  }

  /** See Vm.replaceLayers. */
  async replace(layers: string[], by: string): Promise<void> {
    const chain = this.instance.layers
    const from = chain.indexOf(layers[0]!)
    const above = chain[from + layers.length]
    const below = chain[from - 1]
    if (from < 0 || above === undefined || chain.slice(from, from + layers.length).join() !== layers.join()) {
      throw new Failure('failed', `${this.instance.spec.clientId} does not have these disk layers below the one that is written to`)
    }
    const nodes = newNodes()
    await this.qmp.call('blockdev-add', layerNode(by, nodes, below === undefined ? null : this.nodesOf(below).layer, true))
    try {
      const { layer, file } = this.nodesOf(above)
      await this.qmp.call('blockdev-reopen', { options: [{ ...layerNode(above, { layer, file }, nodes.layer, above !== chain.at(-1)), file }] })
    } catch (error) {
      await this.dropNode(nodes)
      throw error
    }
    for (const gone of [...layers].reverse()) await this.dropNode(this.nodesOf(gone))
    await this.learn()
  }

  private nodesOf(path: string): LayerNodes {
    const nodes = this.nodes.get(path)
    if (!nodes) throw new Failure('failed', `${this.instance.spec.clientId} does not have the disk layer ${path}`)
    return nodes
  }

  /** Only what was added by name can be dropped by name: other nodes go with the last that uses them, or were never added. */
  private async dropNode({ layer }: LayerNodes): Promise<void> {
    await this.qmp.call('blockdev-del', { 'node-name': layer }).catch(() => undefined)
  }
}
