// The disk images of a host: real files, and disks of simulated VMs that are stopped.
import assert from 'node:assert/strict'
import { linkSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { silentLog } from '../../../base/log.js'
import { realClock as clock, until } from '../../../base/time.js'
import { makeFirstLayers } from '../../../hosts/first-layers.js'
import { LayeredDisk } from '../../../hosts/hypervisor/simulated/layer-file.js'
import { Simulated } from '../../../hosts/hypervisor/simulated/simulated.js'
import { Images, type ImagesParts } from '../../../hosts/images.js'
import { Layers } from '../../../hosts/layers.js'
import type { ImageAsk } from '../../../slices/needs.js'
import type { VmSpec } from '../../../slices/vm-spec.js'
import { useTempFolder } from '../../temp.js'

const alice = 'urn:publicid:IDN+lab.example+user+alice'
const askOf = (id: string, name: string, more: Partial<ImageAsk> = {}, owner = alice): ImageAsk => ({
  slice: 'slice-1', token: 1, vm: 'a', image: { id, name, owner, global: false, sliver: 'urn:a' }, quotas: {}, floorBytes: 0, ...more,
})

describe('the disk images of a host', () => {
  const folder = useTempFolder()

  /** An agent's images; called again in one test it is the next agent on the same files. */
  async function host(more: Partial<ImagesParts> = {}) {
    const layers = new Layers(join(folder(), 'layers'), new Simulated(clock))
    await layers.open()
    const disk = { chain: readdirSync(layers.folder).filter((n) => n.startsWith('a.')).sort().map((n) => layers.path(n)) }
    const registry: ImagesParts['registry'] = {
      outsideCuts: (_, work) => work(),
      disks: {
        list: () => (disk.chain.length === 0 ? [] : [{ vm: 'a', slice: 'slice-1', diskMiB: 1, layers: disk.chain }]),
        freeze: async () => {
          const frozen = [...disk.chain]
          disk.chain.push(await layers.create(`a.${disk.chain.length}.qcow2`, { sizeMiB: 1 }))
          return { spec: { vm: 'a', slice: 'slice-1', image: 'linux', diskMiB: 1 } as VmSpec, layers: frozen }
        },
      },
    }
    const freed = { times: 0 }
    const images = new Images({
      folder: join(folder(), 'images'), layers, registry, participants: { isOpen: () => false }, hypervisor: new Simulated(clock),
      freeBytes: () => Promise.resolve(1e12), clock, log: silentLog, onLayersFree: () => { freed.times++ }, ...more,
    })
    await images.open()
    images.resume()
    if (disk.chain.length === 0) disk.chain.push(await layers.create('a.0.qcow2', { sizeMiB: 1 }))
    const write = (text: string) => {
      const top = new LayeredDisk(disk.chain)
      top.write(Buffer.from(text))
      top.flush()
    }
    const settled = async (id: string) => {
      const found = await until(clock, 30_000, 5, () => images.list().find((i) => i.id === id && i.state !== 'making'))
      assert.ok(found, `${id} is still being made`)
      return found
    }
    const files = () => readdirSync(join(folder(), 'images')).sort()
    return { images, layers, disk, freed, write, settled, files }
  }
  const textOf = (...paths: string[]) => new LayeredDisk(paths).read()?.toString()

  it('hold what the disk held at that instant, by themselves, and hold its layers only while they are made', async () => {
    const at = await host()
    at.write('then')
    const begun = await at.images.create(askOf('i-1', 'web'))
    assert.deepEqual([begun.state, begun.guest, begun.diskMiB, begun.owner], ['making', 'linux', 1, alice])
    assert.deepEqual(at.images.layersInUse(), ['a.0.qcow2'])
    at.write('later')
    const made = await at.settled('i-1')
    assert.deepEqual([made.state, made.bytes], ['ready', statSync(join(folder(), 'images', 'i-1.qcow2')).size])
    assert.deepEqual([at.images.layersInUse(), at.freed.times], [[], 1])
    for (const path of at.disk.chain) rmSync(path)
    assert.equal(textOf(join(folder(), 'images', 'i-1.qcow2')), 'then')
    assert.deepEqual(at.files(), ['i-1.json', 'i-1.qcow2'])
    assert.deepEqual(await at.images.create(askOf('i-1', 'web')), made, 'asked again: the same')
  })

  it('are under new disks, which outlive them and never change them', async () => {
    const at = await host()
    at.write('from the image')
    await at.images.create(askOf('i-1', 'web'))
    await at.settled('i-1')
    const image = join(folder(), 'images', 'i-1.qcow2')
    const before = readFileSync(image)
    const chain = await makeFirstLayers({ vm: 'b', disk: 'WEB', diskMiB: 1 } as VmSpec, at.layers, {
      lay: (name, layer) => at.images.lay(name, layer), layFetched: () => Promise.reject(new Error('none is fetched')),
    })
    assert.deepEqual(chain.map((p) => basename(p)), ['b.image.qcow2', 'b.0.qcow2'])
    const [sealed] = await at.layers.seal(chain.slice(0, 1))
    assert.equal(sealed!.digest, at.images.list()[0]!.digest)
    const disk = new LayeredDisk(chain)
    assert.equal(disk.read()!.toString(), 'from the image')
    disk.write(Buffer.from('its own'))
    disk.flush()
    assert.ok(readFileSync(image).equals(before))
    await at.images.remove('i-1')
    assert.deepEqual([at.files(), at.images.list()], [[], []])
    assert.equal(textOf(...chain), 'its own')
    assert.equal(textOf(chain[0]!), 'from the image')
    await assert.rejects(at.images.lay('web', 'c.image.qcow2'), /there is no image web any more/)
  })

  it('are refused where the name is taken, a quota or the floor is in the way, or there is no such VM; nothing is frozen then', async () => {
    const at = await host({ freeBytes: () => Promise.resolve(2 ** 30) })
    await at.images.create(askOf('i-1', 'web'))
    const { bytes } = await at.settled('i-1')
    const layers = at.disk.chain.length
    for (const [ask, why] of [
      [askOf('i-2', 'Web'), /there is an image web already/], [askOf('i-2', 'new', { vm: 'z' }), /no VM z/],
      [askOf('i-2', 'new', { quotas: { 'user-images': 1 } }), /quota user-images: .* 1 image of at most 1/],
      [askOf('i-2', 'new', { quotas: { 'user-images-bytes': bytes + 1000 } }), /quota user-images-bytes: .*may take/],
      [askOf('i-2', 'new', { floorBytes: 2 ** 30 }), /may take 1 MiB, 1 GiB are free and 1 GiB must stay free/],
    ] as [ImageAsk, RegExp][]) await assert.rejects(at.images.create(ask), why)
    assert.equal(at.disk.chain.length, layers)
    await at.images.create(askOf('i-2', 'new', { quotas: { 'user-images': 1 } }, `${alice}2`))
    assert.equal((await at.settled('i-2')).state, 'ready', 'quotas are of each user')
  })

  it('that cannot be made say why, hold nothing, and are made anew under the same name by their owner and nobody else', async () => {
    let broken = true
    const real = new Simulated(clock)
    const at = await host({ hypervisor: { mergeLayers: (path, what) => (broken ? Promise.reject(new Error('a bad block')) : real.mergeLayers(path, what)) } })
    await at.images.create(askOf('i-1', 'web'))
    const failed = await at.settled('i-1')
    assert.deepEqual([failed.state, failed.why, failed.bytes, at.images.layersInUse(), at.files()], ['failed', 'a bad block', 0, [], ['i-1.json']])
    broken = false
    await assert.rejects(at.images.create(askOf('i-2', 'web', {}, `${alice}2`)), /there is an image web already/)
    await at.images.create(askOf('i-3', 'web'))
    assert.equal((await at.settled('i-3')).state, 'ready')
    assert.deepEqual(at.files(), ['i-3.json', 'i-3.qcow2'])
  })

  it('are given up when the disk fills up while they are made, or when they are removed; nothing of them is left', async () => {
    let free = 1e12
    let told: (() => void) | undefined
    const hypervisor: ImagesParts['hypervisor'] = {
      mergeLayers: (path, _, signal) => new Promise((_done, fail) => {
        writeFileSync(path, 'half')
        signal.addEventListener('abort', () => fail(new Error('told to end')))
        told?.()
      }),
    }
    const at = await host({ hypervisor, freeBytes: () => Promise.resolve(free) })
    await at.images.create(askOf('i-1', 'web', { floorBytes: 1e9 }))
    free = 1e8
    assert.match((await at.settled('i-1')).why, /only 95.3 MiB were free, 953.6 MiB must stay free/)
    free = 1e12
    const begun = new Promise<void>((resolve) => { told = resolve })
    await at.images.create(askOf('i-2', 'other'))
    await begun
    await at.images.remove('i-2')
    await at.images.remove('i-2')
    assert.ok(await until(clock, 30_000, 5, () => (at.files().join() === 'i-1.json' ? true : undefined)), at.files().join())
    assert.deepEqual(at.images.layersInUse(), [])
  })

  it('that were being made when the agent died are made anew by the next one; what has no record goes, and what cannot be read stays', async () => {
    const images = join(folder(), 'images')
    const first = await host({ hypervisor: { mergeLayers: (path) => { writeFileSync(path, 'half'); return new Promise(() => undefined) } } })
    first.write('then')
    await first.images.create(askOf('i-1', 'web'))
    assert.ok(await until(clock, 30_000, 5, () => (first.files().includes('i-1.qcow2.part') ? true : undefined)))
    first.write('later')
    linkSync(join(images, 'i-1.qcow2.part'), join(images, 'i-1.qcow2')) // named, and not noted
    for (const left of ['i-9.qcow2', 'i-9.qcow2.part', 'i-8.json.1.0.part']) writeFileSync(join(images, left), '')
    for (const odd of ['i-7.json', 'i-7.qcow2']) writeFileSync(join(images, odd), '{"format":2}')

    const next = await host()
    assert.equal((await next.settled('i-1')).state, 'ready')
    assert.equal(textOf(join(images, 'i-1.qcow2')), 'then')
    assert.deepEqual(next.files(), ['i-1.json', 'i-1.qcow2', 'i-7.json', 'i-7.qcow2'])
    assert.deepEqual(next.images.list().map((i) => i.id), ['i-1'])

    truncateSync(join(images, 'i-1.qcow2'), 3)
    const third = await host()
    assert.deepEqual(third.images.list().map((i) => [i.state, i.why]), [['failed', 'its file is damaged or gone']])
  })

  it('leave the agent free to end: what was being made is made by the next one', async () => {
    const at = await host({
      hypervisor: { mergeLayers: (_path, _what, signal) => new Promise((_done, fail) => signal.addEventListener('abort', () => fail(new Error('told to end')))) },
    })
    await at.images.create(askOf('i-1', 'web'))
    await at.images.stop()
    assert.equal(at.images.list()[0]!.state, 'making')
    const next = await host()
    assert.equal((await next.settled('i-1')).state, 'ready')
  })
})
