// The disk images that a host has fetched: real files and a real server, and the layers of simulated VMs.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '../../../base/log.js'
import { realRandom } from '../../../base/random.js'
import { realClock as clock, until } from '../../../base/time.js'
import { createFederation } from '../../../certs/issue.js'
import { fetchFile } from '../../../hosts/fetch-file.js'
import { FetchedImages, type FetchedParts } from '../../../hosts/fetched-images.js'
import { makeFirstLayers, sized } from '../../../hosts/first-layers.js'
import { LayeredDisk } from '../../../hosts/hypervisor/simulated/layer-file.js'
import { Simulated } from '../../../hosts/hypervisor/simulated/simulated.js'
import { Layers } from '../../../hosts/layers.js'
import type { FetchAsk } from '../../../slices/needs.js'
import type { VmSpec } from '../../../slices/vm-spec.js'
import { useTempFolder } from '../../temp.js'

const alice = 'urn:publicid:IDN+lab.example+user+alice'
const bob = 'urn:publicid:IDN+lab.example+user+bob'
const digest = (content: Buffer | string) => createHash('sha256').update(content).digest('hex')
/** A raw disk of this first block; simulated guests see no more. */
const disk = (text: string, bytes = 4096) => Buffer.concat([Buffer.from(text), Buffer.alloc(bytes - text.length)])

describe('disk images that a host has fetched', () => {
  const folder = useTempFolder()
  const place = () => `file://${folder()}/files/`
  const put = (name: string, content: Buffer) => {
    mkdirSync(join(folder(), 'files'), { recursive: true })
    writeFileSync(join(folder(), 'files', name), content)
    return { url: `${place()}${name}`, sha256: digest(content) }
  }
  const files = () => readdirSync(join(folder(), 'fetched')).sort()

  /** An agent's images; called again in one test it is the next agent on the same files. */
  async function host(more: Partial<FetchedParts> = {}) {
    const layers = new Layers(join(folder(), 'layers'), new Simulated(clock))
    await layers.open()
    const time = { passed: 0 }
    const images = new FetchedImages({
      folder: join(folder(), 'fetched'), layers, hypervisor: new Simulated(clock), places: [place()], mostBytes: 1e6,
      freeBytes: () => Promise.resolve(1e12), log: silentLog,
      clock: { now: () => clock.now() + time.passed, monotonic: () => clock.monotonic() + time.passed, sleep: (ms) => clock.sleep(ms) }, ...more,
    })
    await images.open()
    /** As the worker asks: again and again, until it is there. What was told on the way. */
    async function fetch(source: FetchAsk['source'], who: Partial<FetchAsk> = {}): Promise<string[]> {
      const told: string[] = []
      const there = await until(clock, 20_000, 5, async () => {
        const answer = await images.ask({ source, owner: alice, quotas: {}, floorBytes: 0, ...who })
        if (answer.state === 'there') return true
        told.push(answer.how)
        return undefined
      })
      assert.ok(there, `${source.url} does not come: ${told.at(-1)}`)
      return told
    }
    return { images, layers, time, fetch }
  }

  it('are under new disks, which are larger than they are, outlive them and never change them', async () => {
    const at = await host({ mostBytes: 1e7 })
    const source = put('web.raw', disk('from the image', 3 * 1024 * 1024))
    await at.fetch(source)
    assert.deepEqual(files(), [`${source.sha256}.json`, `${source.sha256}.qcow2`])
    const before = readFileSync(join(folder(), 'fetched', `${source.sha256}.qcow2`))
    const bases = { lay: () => Promise.reject(new Error('by name')), layFetched: at.images.lay.bind(at.images), leastDiskMiB: at.images.leastDiskMiB.bind(at.images) }
    const spec = (diskMiB: number) => sized({ vm: 'b', diskFrom: source, diskMiB } as VmSpec, bases)
    assert.deepEqual([spec(1).diskMiB, spec(64).diskMiB], [4, 64])
    const chain = await makeFirstLayers(spec(64), at.layers, bases)
    const top = new LayeredDisk(chain)
    assert.ok(top.read()!.toString().startsWith('from the image\0'))
    top.write(Buffer.from('its own'))
    top.flush()
    assert.ok(readFileSync(join(folder(), 'fetched', `${source.sha256}.qcow2`)).equals(before))
    const [sealed] = await at.layers.seal(chain.slice(0, 1))
    assert.equal(sealed!.digest, digest(before), 'its first snapshot need not read it')
    rmSync(join(folder(), 'fetched'), { recursive: true })
    assert.equal(new LayeredDisk(chain).read()!.toString(), 'its own')
  })

  it('are fetched once, however many ask at the same time and from wherever it can be had; the next agent has them too', async () => {
    let imports = 0
    const real = new Simulated(clock)
    const at = await host({ hypervisor: { importDisk: (path, from) => { imports++; return real.importDisk(path, from) } } })
    const source = put('web.raw', disk('x'))
    const twin = put('twin.img', disk('x'))
    await Promise.all([at.fetch(source), at.fetch(source, { owner: bob }), at.fetch(twin, { owner: bob }), at.fetch(twin)])
    assert.equal(imports, 1)
    rmSync(join(folder(), 'files'), { recursive: true })
    await at.fetch(source)
    await (await host()).fetch(twin)
  })

  it('that cannot be had say which and why to all who wait, leave nothing, and are tried anew later', async () => {
    const at = await host()
    const source = put('web.raw', disk('x'))
    put('web.raw', disk('other'))
    const wrong = new RegExp(`the disk image ${source.url} cannot be had: its digest is ${digest(disk('other'))}, not the one asked for`)
    await Promise.all([assert.rejects(at.fetch(source), wrong), assert.rejects(at.fetch(source), wrong)])
    await assert.rejects(at.fetch(source), wrong, 'the same for whoever asks a moment later')
    assert.deepEqual(files(), [])
    put('web.raw', disk('x'))
    at.time.passed += 5_000
    await at.fetch(source)

    const cases: [FetchAsk['source'], RegExp][] = [
      [{ url: `${place()}none.raw`, sha256: '0'.repeat(64) }, /none\.raw cannot be had: ENOENT/],
      [put('large.raw', disk('x', 1_000_001)), /larger than 976.5 KiB, which is the most/],
      [put('not.qcow2', disk('y')), /its name says qcow2, and it is none/],
      [put('zipped.raw', Buffer.from([0x1f, 0x8b, 8])), /it is gzip and no raw disk/],
    ]
    for (const [wanted, why] of cases) await assert.rejects(at.fetch(wanted), why)
    writeFileSync(join(folder(), 'secret.raw'), disk('secret'))
    symlinkSync(join(folder(), 'secret.raw'), join(folder(), 'files', 'link.raw'))
    await assert.rejects(at.fetch({ url: `${place()}link.raw`, sha256: digest(disk('secret')) }), /it leads out of its place/)
    await assert.rejects(at.fetch({ url: `file://${folder()}/secret.raw`, sha256: digest(disk('secret')) }), /it leads out of its place/)
    assert.equal(files().length, 2)
  })

  it('have a bound, for all and for each user: those that were used longest ago make way, and no node is being made of', async () => {
    const made: ((path: string) => Promise<void>) = async (path) => writeFileSync(path, Buffer.alloc(400_000))
    const at = await host({ hypervisor: { importDisk: made } })
    const sources = ['a', 'b', 'c', 'd'].map((name) => put(`${name}.raw`, disk(name)))
    const there = () => sources.filter(({ sha256 }) => existsSync(join(folder(), 'fetched', `${sha256}.json`))).map(({ url }) => url.at(-5))
    await at.fetch(sources[0]!)
    await at.fetch(sources[1]!)
    await assert.rejects(at.fetch(sources[2]!), /what this host has fetched may take 976.5 KiB together, and VMs are being made of all of it/)
    assert.deepEqual(there(), ['a', 'b'])
    at.time.passed += 61_000
    await at.images.lay(sources[0]!, 'v.image.qcow2')
    await at.fetch(sources[2]!)
    assert.deepEqual(there(), ['a', 'c'])
    await assert.rejects(at.images.lay(sources[1]!, 'w.image.qcow2'), /b\.raw is not here any more/)
    at.time.passed += 61_000
    await at.fetch(sources[0]!)
    await at.fetch(sources[3]!, { owner: bob, quotas: { 'user-fetched-bytes': 500_000 } })
    assert.deepEqual(there(), ['a', 'd'])
    at.time.passed += 61_000
    await at.fetch(sources[1]!, { owner: bob, quotas: { 'user-fetched-bytes': 500_000 } })
    assert.deepEqual(there(), ['a', 'b'], 'its own, though another was used longer ago')
    await assert.rejects(at.fetch(put('e.raw', disk('e', 300_000)), { owner: bob, quotas: { 'user-fetched-bytes': 200_000 } }), /larger than 195.3 KiB/)
  })

  it('are given up when the disk fills up, when nobody asks for them, and when the agent ends', async () => {
    let free = 1e12
    const stuck: FetchedParts['hypervisor'] = {
      importDisk: (path, _from, _most, signal) => new Promise((_done, fail) => {
        writeFileSync(path, 'half')
        if (signal.aborted) fail(new Error('told to end'))
        signal.addEventListener('abort', () => fail(new Error('told to end')))
      }),
    }
    const at = await host({ hypervisor: stuck, freeBytes: () => Promise.resolve(free) })
    const [first, second] = [put('a.raw', disk('a')), put('b.raw', disk('b'))]
    const full = assert.rejects(at.fetch(first, { floorBytes: 1e9 }), /only 95.3 MiB were free on this host, 953.6 MiB must stay free/)
    assert.ok(await until(clock, 10_000, 5, () => (files().some((f) => f.endsWith('.part')) ? true : undefined)))
    free = 1e8
    await full
    free = 1e12
    assert.deepEqual(files(), [])
    assert.equal((await at.images.ask({ source: second, owner: alice, quotas: {}, floorBytes: 0 })).state, 'under-way')
    assert.ok(await until(clock, 10_000, 5, () => (files().some((f) => f.endsWith('.part')) ? true : undefined)))
    at.time.passed += 61_000
    assert.ok(await until(clock, 10_000, 20, () => (files().length === 0 ? true : undefined)), 'nobody waits for it')
    at.time.passed += 61_000
    assert.equal((await at.images.ask({ source: second, owner: alice, quotas: {}, floorBytes: 0 })).state, 'under-way')
    assert.ok(await until(clock, 10_000, 5, () => (files().some((f) => f.endsWith('.part')) ? true : undefined)))
    await at.images.stop()
    assert.deepEqual(files(), [])
  })

  it('that an agent has left half way are nothing to the next one', async () => {
    const at = await host()
    const source = put('a.raw', disk('a'))
    await at.fetch(source)
    for (const left of ['x.fetched', `${'1'.repeat(64)}.qcow2`, `${'2'.repeat(64)}.qcow2.part`, 'y.json']) writeFileSync(join(folder(), 'fetched', left), '{"format":7}')
    await host()
    assert.deepEqual(files(), [`${source.sha256}.json`, `${source.sha256}.qcow2`])
    truncateSync(join(folder(), 'fetched', `${source.sha256}.qcow2`), 3)
    const next = await host()
    assert.deepEqual(files(), [])
    await next.fetch(source)
    truncateSync(join(folder(), 'fetched', `${source.sha256}.qcow2`), 3)
    await next.fetch(source)
    assert.ok(statSync(join(folder(), 'fetched', `${source.sha256}.qcow2`)).size > 3, 'one that is damaged is fetched again')
  })

  describe('from a server', () => {
    let server: Server
    let answer: (request: IncomingMessage, response: ServerResponse) => void = () => undefined
    let url = ''
    let ca = ''
    let asked = 0

    before(async () => {
      const home = mkdtempSync(join(tmpdir(), 'vtest-'))
      const { am, trust } = await createFederation(join(home, 'f'), { clock, random: realRandom, authority: 'lab.example', hostnames: [] })
      ca = readFileSync(trust, 'utf8')
      server = createServer({ key: readFileSync(am.key), cert: readFileSync(am.certificate) }, (request, response) => {
        asked++
        answer(request, response)
      })
      rmSync(home, { recursive: true })
      await new Promise<void>((listening) => { server.listen(0, '127.0.0.1', listening) })
      url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/images/`
    })
    after(() => {
      server.closeAllConnections()
      server.close()
    })

    it('come whole, and how far they are is told', async () => {
      const content = disk('served', 300_000)
      asked = 0
      let rest: (() => void) | undefined
      answer = (_, response) => {
        response.writeHead(200, { 'content-length': content.length })
        response.write(content.subarray(0, 100_000))
        rest = () => response.end(content.subarray(100_000))
      }
      const at = await host({ ca })
      const source = { url: `${url}web.img`, sha256: digest(content) }
      const all = Promise.all([at.fetch(source), at.fetch(source), at.fetch(source, { owner: bob })])
      const ask = async () => (await at.images.ask({ source, owner: alice, quotas: {}, floorBytes: 0 })) as { how?: string }
      assert.ok(await until(clock, 10_000, 5, async () => ((await ask()).how === '97.6 KiB of 292.9 KiB fetched' ? true : undefined)))
      rest!()
      await all
      assert.equal(asked, 1)
      assert.equal(new LayeredDisk([await at.images.lay(source, 'v.image.qcow2')]).read()!.toString('latin1', 0, 6), 'served')
    })

    it('that cannot be had say what the server has answered, and leave nothing', async () => {
      const content = disk('served', 100_000)
      const at = await host({ ca, mostBytes: 200_000 })
      const cases: [string, typeof answer, RegExp][] = [
        ['gone', (_, r) => r.writeHead(404).end(), /the answer of 127\.0\.0\.1:\d+ is 404 Not Found$/],
        ['moved', (_, r) => r.writeHead(302, { location: 'https://elsewhere.example/x' }).end(), /is 302 Found, which leads to https:\/\/elsewhere\.example\/x: give that place/],
        ['told-large', (_, r) => r.writeHead(200, { 'content-length': 1e9 }).write('x'), /larger than 195.3 KiB/],
        ['large', (_, r) => { r.writeHead(200); r.end(Buffer.alloc(300_000)) }, /larger than 195.3 KiB/],
        ['short', (_, r) => { r.writeHead(200, { 'content-length': 100_000 }); r.write('x', () => r.destroy()) }, /cannot be had: aborted/],
        ['other', (_, r) => r.end('other'), /its digest is [0-9a-f]{64}, not the one asked for/],
      ]
      for (const [name, how, why] of cases) {
        answer = how
        await assert.rejects(at.fetch({ url: `${url}${name}.raw`, sha256: digest(content) }), why, name)
      }
      assert.deepEqual(files(), [])
      answer = (_, r) => r.writeHead(200, { 'content-length': 100_000 }).write('x')
      const stalled = fetchFile({ url: `${url}slow.raw`, sha256: digest(content) }, join(folder(), 'slow'), {
        places: [], mostBytes: 1e6, signal: new AbortController().signal, onBytes: () => undefined, stallMs: 50, ca,
      })
      await assert.rejects(stalled, /nothing has come for 0.05 s/)
      const strangers = await host()
      await assert.rejects(strangers.fetch({ url: `${url}x.raw`, sha256: digest(content) }), /cannot be had: .*certificate/)
    })
  })
})
