// The disk images that an operator has put into a folder: real files, and the layers of simulated VMs.
import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { realClock as clock } from '../../../base/time.js'
import { LayeredDisk } from '../../../hosts/hypervisor/simulated/layer-file.js'
import { Simulated } from '../../../hosts/hypervisor/simulated/simulated.js'
import { Layers } from '../../../hosts/layers.js'
import { LocalImages, type LocalParts } from '../../../hosts/local-images.js'
import { useTempFolder } from '../../temp.js'

const disk = (text: string) => Buffer.concat([Buffer.from(text), Buffer.alloc(3000)])

describe('disk images in a folder of the operator', () => {
  const folder = useTempFolder()
  const from = () => join(folder(), 'from')
  /** As if it had been there for a while, where `old`. */
  function put(file: string, content: Buffer | string, old = true): void {
    writeFileSync(join(from(), file), content)
    if (old) utimesSync(join(from(), file), 1e9, 1e9 + Buffer.byteLength(content))
  }
  const ours = () => readdirSync(join(folder(), 'ours')).sort()

  async function host(more: Partial<LocalParts> = {}) {
    mkdirSync(from(), { recursive: true })
    const layers = new Layers(join(folder(), 'layers'), new Simulated(clock))
    await layers.open()
    const lines: { file: string; why: string }[] = []
    const stream = new Writable({ write: (chunk: Buffer, _encoding, done) => {
      const line = JSON.parse(chunk.toString()) as { level: number; file: string; why: string }
      if (line.level >= 50) lines.push(line)
      done()
    } })
    const images = new LocalImages({
      from: from(), folder: join(folder(), 'ours'), layers, hypervisor: new Simulated(clock), guest: 'linux', taken: () => ['linux', 'made'],
      freeBytes: () => Promise.resolve(1e12), floorBytes: 0, clock, log: pino(stream), ...more,
    })
    await images.open()
    const looks = async (times: number) => { for (let i = 0; i < times; i++) await images.look() }
    const names = () => images.list().map((i) => i.name).sort()
    const read = async (name: string) => new LayeredDisk([await images.lay(name, `${name}.layer`)]).read()!.toString().replace(/\0+$/, '')
    return { images, lines, looks, names, read }
  }

  it('are there for everybody by the names of their files, without their endings, and the next agent has them at once', async () => {
    const at = await host()
    put('web.raw', disk('web'))
    put('Data-1.2.IMG', disk('data'))
    put('notes.txt', 'x')
    put('.hidden.raw', disk('x'))
    mkdirSync(join(from(), 'folder.raw'))
    await at.looks(1)
    assert.deepEqual(at.names(), [], 'seen once')
    await at.looks(1)
    assert.deepEqual(at.names(), ['Data-1.2', 'web'])
    const [, web] = at.images.list().sort((a, b) => (a.name < b.name ? -1 : 1))
    assert.deepEqual([web!.global, web!.ofOperator, web!.state, web!.guest, web!.diskMiB, web!.owner], [true, true, 'ready', 'linux', 2, ''])
    assert.deepEqual([at.images.has('WEB'), at.images.has('other'), await at.read('web'), await at.read('data-1.2')], [true, false, 'web', 'data'])
    assert.deepEqual(at.lines, [])
    const before = ours()
    writeFileSync(join(folder(), 'ours', 'local-left.qcow2'), 'x')
    const next = await host({ hypervisor: { importDisk: () => Promise.reject(new Error('made anew')) } })
    await next.looks(3)
    assert.deepEqual([next.names(), ours(), next.lines], [['Data-1.2', 'web'], before, []])
    truncateSync(join(folder(), 'ours', before.find((f) => f.endsWith('.qcow2'))!), 3)
    assert.equal((await host()).names().length, 1)
  })

  it('are taken when they change no more, follow their files, and take nothing from who has them', async () => {
    const at = await host()
    put('web.raw', disk('first'), false)
    await at.looks(3)
    assert.deepEqual(at.names(), [], 'it has changed a moment ago')
    put('web.raw', disk('first'))
    await at.looks(1)
    appendFileSync(join(from(), 'web.raw'), 'more')
    utimesSync(join(from(), 'web.raw'), 1e9, 1e9)
    await at.looks(1)
    assert.deepEqual(at.names(), [], 'it has changed since the last look')
    await at.looks(1)
    const before = await at.images.lay('web', 'v.image.qcow2')
    put('web.part', disk('second'))
    renameSync(join(from(), 'web.part'), join(from(), 'web.raw'))
    await at.looks(2)
    assert.equal(await at.read('web'), 'second')
    assert.equal(ours().length, 2)
    rmSync(join(from(), 'web.raw'))
    await at.looks(1)
    assert.deepEqual([at.names(), ours()], [[], []])
    assert.ok(new LayeredDisk([before]).read()!.toString().startsWith('first'))
    await assert.rejects(at.images.lay('web', 'w.image.qcow2'), /there is no image web any more/)
  })

  it('that are none are said to be none, once, with the reason; all others are taken', async () => {
    let free = 1e12
    const at = await host({ freeBytes: () => Promise.resolve(free), floorBytes: 1e6 })
    put('a b.raw', disk('x'))
    put('made.raw', disk('x'))
    put('Linux.raw', disk('x'))
    put('web.img', disk('img'))
    put('web.raw', disk('raw'))
    put('not.qcow2', disk('x'))
    put('zip.raw', Buffer.from([0x1f, 0x8b, 1]))
    put('good.raw', disk('good'))
    await at.looks(4)
    assert.deepEqual(at.names(), ['good', 'web'])
    assert.equal(await at.read('web'), 'img')
    const reasons: Record<string, RegExp> = {
      'a b.raw': /its name must be/, 'made.raw': /another image has this name/, 'Linux.raw': /another image has this name/, 'web.raw': /web\.img has the same name/,
      'not.qcow2': /its name says qcow2, and it is none/, 'zip.raw': /it is gzip/,
    }
    assert.deepEqual(at.lines.map((l) => l.file).sort(), Object.keys(reasons).sort())
    for (const { file, why } of at.lines) assert.match(why, reasons[file]!)
    put('zip.raw', disk('now it is one'))
    free = 1e6
    await at.looks(2)
    assert.match(at.lines.at(-1)!.why, /no room/)
    free = 1e12
    utimesSync(join(from(), 'zip.raw'), 1e9, 1e9 + 7)
    await at.looks(2)
    assert.deepEqual(at.names(), ['good', 'web', 'zip'])
    rmSync(from(), { recursive: true })
    await at.looks(2)
    assert.match(at.lines.at(-1)!.why, /the folder of images .* cannot be read: ENOENT/)
    assert.deepEqual(at.names(), ['good', 'web', 'zip'], 'a disk that is away takes nothing')
  })

  it('that change while they are made into images are made again later, and what was begun is not there', async () => {
    const real = new Simulated(clock)
    let meanwhile = () => undefined as void
    const at = await host({ hypervisor: { importDisk: async (path, file) => {
      meanwhile()
      await real.importDisk(path, file)
    } } })
    put('web.raw', disk('first'))
    meanwhile = () => put('web.raw', disk('second, longer'))
    await at.looks(2)
    assert.deepEqual([at.names(), ours()], [[], []])
    meanwhile = () => undefined
    await at.looks(2)
    assert.equal(await at.read('web'), 'second, longer')
    assert.ok(readFileSync(join(from(), 'web.raw')).length > 0)
  })
})
