// Merging and removing disk layers of a host whose VMs are stopped: real files, and a hypervisor that keeps a disk in small ones.
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { silentLog } from '../../../base/log.js'
import { realClock as clock, until } from '../../../base/time.js'
import { Collapse } from '../../../hosts/collapse.js'
import { LayeredDisk } from '../../../hosts/hypervisor/simulated/layer-file.js'
import { Simulated } from '../../../hosts/hypervisor/simulated/simulated.js'
import { Layers } from '../../../hosts/layers.js'
import type { Participants } from '../../../hosts/participants.js'
import type { RestoreHost } from '../../../hosts/restore-host.js'
import type { VmRegistry } from '../../../hosts/vm-registry.js'
import type { Part } from '../../../snapshots/messages.js'
import { useTempFolder } from '../../temp.js'

const block = (text: string) => Buffer.from(text.padEnd(64))

describe('the disk layers of a host', () => {
  const folder = useTempFolder()

  async function host() {
    const store = join(folder(), 'store')
    const layers = new Layers(join(folder(), 'layers'), new Simulated(clock))
    await layers.open()
    const disks = new Map<string, { slice: string; chain: string[] }>()
    const meanwhile = { happens: () => undefined as unknown }
    const registry = {
      disks: {
        layersInUse: () => {
          const now = [...disks.values()].flatMap((d) => d.chain)
          meanwhile.happens()
          return now
        },
        list: () => [...disks].map(([vm, { slice, chain }]) => ({ vm, slice, diskMiB: 1, layers: chain })),
        replace: async (vm: string, gone: string[], by: string) => {
          const { chain } = disks.get(vm)!
          chain.splice(chain.indexOf(gone[0]!), gone.length, by)
        },
      },
      outsideCuts: <T>(_: string, work: () => Promise<T>) => work(),
    } as unknown as VmRegistry
    const participants = { isCutting: () => false, isOpen: () => false } as unknown as Participants
    const restores = { layersInUse: () => [], disks: () => [] } as unknown as RestoreHost
    const held: string[] = []
    const images = { layersInUse: () => held }
    const collapse = new Collapse({ store, registry, participants, restores, images, layers, log: silentLog })
    const snapshots = new Map<string, Part[]>()
    const names = () => readdirSync(layers.folder).filter((n) => n.endsWith('.qcow2')).sort()

    async function define(vm: string, slice: string): Promise<void> {
      disks.set(vm, { slice, chain: [await layers.create(`${vm}.0.qcow2`, { sizeMiB: 1 })] })
    }
    /** The VM writes, and a snapshot freezes it. */
    async function snapshot(vm: string, id: string, text: string): Promise<void> {
      const { slice, chain } = disks.get(vm)!
      const disk = new LayeredDisk(chain)
      disk.write(block(text))
      disk.flush()
      const parts = await layers.seal(chain)
      snapshots.set(id, parts)
      mkdirSync(join(store, slice, id), { recursive: true })
      writeFileSync(join(store, slice, id, 'inventory.json'), JSON.stringify({ format: 'violin-inventory-1', hosts: [{ vms: [{ vm, layers: parts, spec: { diskMiB: 1 } }] }] }))
      chain.push(await layers.create(`${vm}.${id}.qcow2`, { base: chain.at(-1)!, sizeMiB: 1 }))
    }
    const read = (id: string) => new LayeredDisk(layers.present(snapshots.get(id)!).map((p) => layers.path(p.name))).read()?.toString().trim()
    return { meanwhile, held, store, layers, disks, collapse, names, define, snapshot, read, snapshots }
  }

  async function merged(collapse: Collapse, isDone: () => boolean): Promise<void> {
    collapse.soon()
    assert.ok(await until(clock, 30_000, 5, () => (isDone() ? true : undefined)), 'nothing was merged')
    await collapse.stop()
  }

  it('become fewer when a snapshot goes, and what stays reads as it did, after a restart too', async () => {
    const at = await host()
    await at.define('a', 'slice-1')
    for (const id of ['s1', 's2', 's3']) await at.snapshot('a', id, `written before ${id}`)
    rmSync(join(at.store, 'slice-1', 's1'), { recursive: true })
    await merged(at.collapse, () => at.disks.get('a')!.chain.length === 3)
    assert.equal(at.names().length, 3)
    for (const id of ['s2', 's3']) assert.equal(at.read(id), `written before ${id}`)
    await at.layers.verify(at.layers.present(at.snapshots.get('s3')!))

    const again = new Layers(at.layers.folder, new Simulated(clock))
    await again.open()
    assert.deepEqual(again.present(at.snapshots.get('s3')!), at.layers.present(at.snapshots.get('s3')!))
  })

  it('go when nobody needs them any more, the one that was merged last as well', async () => {
    const at = await host()
    await at.define('a', 'slice-1')
    for (const id of ['s1', 's2']) await at.snapshot('a', id, `written before ${id}`)
    rmSync(join(at.store, 'slice-1', 's1'), { recursive: true })
    await merged(at.collapse, () => at.disks.get('a')!.chain.length === 2)
    at.disks.clear()
    rmSync(join(at.store, 'slice-1'), { recursive: true })
    await at.collapse.collect()
    assert.deepEqual(readdirSync(at.layers.folder), [])
  })

  it('that are made while others are removed stay: a restore or a cut may need them in a moment', async () => {
    const at = await host()
    await at.define('a', 'slice-1')
    await at.layers.create('a.left.qcow2', { sizeMiB: 1 })
    at.meanwhile.happens = () => writeFileSync(at.layers.path('a.rollback-1.qcow2'), '')
    await at.collapse.collect()
    assert.deepEqual(at.names(), ['a.0.qcow2', 'a.rollback-1.qcow2'])
  })

  it('stay while an image is being made of them, whatever becomes of their VM', async () => {
    const at = await host()
    await at.define('a', 'slice-1')
    await at.snapshot('a', 's1', 'written')
    at.held.push('a.0.qcow2')
    at.disks.clear()
    rmSync(join(at.store, 'slice-1', 's1'), { recursive: true })
    await at.collapse.collect()
    assert.deepEqual(at.names(), ['a.0.qcow2'])
    at.held.length = 0
    await at.collapse.collect()
    assert.deepEqual(at.names(), [])
  })

  it('stay, all of a slice, while one of its inventories cannot be read; other slices go on', async () => {
    const at = await host()
    for (const vm of ['a', 'b']) {
      await at.define(vm, `slice-of-${vm}`)
      for (const id of ['1', '2', '3']) await at.snapshot(vm, `${vm}${id}`, id)
    }
    await at.layers.create('a.left.qcow2', { sizeMiB: 1 })
    await at.layers.create('b.left.qcow2', { sizeMiB: 1 })
    await at.layers.create('unknown.left.qcow2', { sizeMiB: 1 })
    writeFileSync(join(at.store, 'slice-of-a', 'a1', 'inventory.json'), '{"format":"violin-inventory-9"}')
    rmSync(join(at.store, 'slice-of-b', 'b1'), { recursive: true })
    await merged(at.collapse, () => at.disks.get('b')!.chain.length === 3)
    const of = (vm: string) => at.names().filter((n) => n.startsWith(`${vm}.`)).length
    assert.deepEqual([of('a'), of('b'), of('unknown')], [5, 3, 1], at.names().join(' '))
    assert.deepEqual(at.disks.get('a')!.chain.map((p) => basename(p)), ['a.0.qcow2', 'a.a1.qcow2', 'a.a2.qcow2', 'a.a3.qcow2'])
  })
})
