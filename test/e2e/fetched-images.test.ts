// Disk images from elsewhere, through the whole program and the command line: a node finds on its disk what somebody has made of files and
// put on a server, whatever becomes of the server afterwards, and of the agent in the middle.
import assert from 'node:assert/strict'
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { realRandom } from '../../base/random.js'
import { realClock as clock, until } from '../../base/time.js'
import { createFederation } from '../../certs/issue.js'
import { layoutOf } from '../../cli/up/layout.js'

const root = resolve(import.meta.dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')

for (const kind of ['simulated', 'qemu'] as const) {
  describe(`disk images from elsewhere: ${kind}`, function () {
    this.timeout(240_000)
    const home = mkdtempSync(join(tmpdir(), 'vfetched-'))
    const [state, orders, files] = ['state', 'orders', 'files'].map((name) => join(home, name)) as [string, string, string]
    let up: ChildProcess
    let server: Server
    let url = ''

    const start = (...words: string[]): ChildProcess => spawn(process.execPath, [main, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, VIOLIN_STATE: state, VIOLIN_FAULTS: orders, NODE_EXTRA_CA_CERTS: join(home, 'ca.pem') },
    })
    async function violin(...words: string[]): Promise<{ code: number | null; said: string }> {
      const child = start(...words)
      let said = ''
      for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk: Buffer) => { said += chunk.toString() })
      return { code: await new Promise<number | null>((done) => child.once('close', done)), said }
    }
    async function well(...words: string[]): Promise<string> {
      const { code, said } = await violin(...words)
      assert.equal(code, 0, `violin ${words.join(' ')}: ${said}`)
      return said
    }

    before(async () => {
      assert.ok(existsSync(main), 'build first: ./violin --version')
      for (const folder of [orders, files]) mkdirSync(folder)
      const { am, trust } = await createFederation(join(home, 'f'), { clock, random: realRandom, authority: 'files.example', hostnames: [] })
      writeFileSync(join(home, 'ca.pem'), readFileSync(trust))
      server = createServer({ key: readFileSync(am.key), cert: readFileSync(am.certificate) }, ({ url: path }, response) => {
        const file = join(files, path!.replaceAll(/[^a-z0-9.-]/g, ''))
        if (existsSync(file)) response.end(readFileSync(file))
        else response.writeHead(404).end()
      })
      await new Promise<void>((listening) => { server.listen(0, '127.0.0.1', listening) })
      url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`
      up = start('up', '--hypervisor', kind, '--accelerator', 'tcg', '--listen', '127.0.0.1:0', '--sources', `file://${files}/,${url}`, '--image-cache', '64M')
      let said = ''
      up.stderr!.on('data', (chunk: Buffer) => { said += chunk.toString() })
      await new Promise<void>((ready, fail) => {
        up.once('exit', () => fail(new Error(`up ended: ${said}`)))
        up.stdout!.on('data', (chunk: Buffer) => { if (/^ready /m.test(chunk.toString())) ready() })
      })
    })
    after(async () => {
      server.closeAllConnections()
      server.close()
      if (up.exitCode === null) {
        const gone = new Promise((done) => up.once('exit', done))
        up.kill('SIGTERM')
        await gone
      }
      rmSync(home, { recursive: true, force: true })
    })

    /** An image with this note on it, as a file below `files`: what a guest of this kind reads. Its digest. */
    function put(name: string, note: string): string {
      const path = join(files, name)
      if (kind === 'simulated') writeFileSync(path, Buffer.concat([Buffer.from(`VIOLNOTE${note}`), Buffer.alloc(100_000)]))
      else {
        const content = mkdtempSync(join(home, 'content-'))
        writeFileSync(join(content, 'note'), note)
        execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', content, `${path}.made`, '8M'])
        if (name.endsWith('.qcow2')) execFileSync('qemu-img', ['convert', '-c', '-f', 'raw', '-O', 'qcow2', `${path}.made`, path])
        else renameSync(`${path}.made`, path)
      }
      return createHash('sha256').update(readFileSync(path)).digest('hex')
    }
    const second = kind === 'simulated' ? 'second.img' : 'second.qcow2'
    const noteOf = async (node: string, slice: string) =>
      (await well('slice', 'ssh', node, '--slice', slice, '--', ...(kind === 'qemu' ? ['cat', '/data/note'] : ['disk', 'read']))).trim()
    function request(images: string[]): string {
      const nodes = images.map((image, i) => `<node client_id="n${i}"><sliver_type name="default-vm"><disk_image ${image}/></sliver_type></node>`)
      const file = join(home, 'request.rspec')
      writeFileSync(file, `<rspec type="request" xmlns="http://www.geni.net/resources/rspec/3" xmlns:violin="urn:geni-violin:rspec:ext:checkpoint:1">${nodes.join('')}</rspec>`)
      return file
    }
    const cached = () => readdirSync(join(state, 'host', 'fetched-images')).filter((name) => name.endsWith('.json')).length

    it('are what nodes find on their disks, from a folder and from a server, and in every rollback', async () => {
      const [a, b] = [put('first.raw', 'from the folder'), put(second, 'from the server')]
      await well('slice', 'create', 'web', request([`url="file://${files}/first.raw" violin:sha256="${a}"`, `name="${url}${second}#sha256=${b}"`]))
      for (const name of ['first.raw', second]) rmSync(join(files, name))
      assert.deepEqual([await noteOf('n0', 'web'), await noteOf('n1', 'web')], ['from the folder', 'from the server'])
      assert.equal(cached(), 2)
      await well('slice', 'snapshot', '--slice', 'web', '--name', 'kept')
      await well('slice', 'rollback', 'kept', '--slice', 'web')
      assert.deepEqual([await noteOf('n0', 'web'), await noteOf('n1', 'web')], ['from the folder', 'from the server'])
      await well('slice', 'delete', '--slice', 'web')
      const layers = join(state, 'host', 'layers')
      assert.ok(await until(clock, 30_000, 100, () => (readdirSync(layers).length === 0 ? true : undefined)), readdirSync(layers).join(' '))
      assert.equal(cached(), 2)
    })

    it('that the operator puts into a folder are there for everybody, without a restart', async () => {
      put('local.raw', 'from the operator')
      renameSync(join(files, 'local.raw'), join(state, 'images.d', 'local.raw'))
      const made = await until(clock, 60_000, 500, async () => {
        const { code, said } = await violin('slice', 'create', 'local', request(['name="Local"']))
        if (code !== 0) assert.match(said, /asks for the disk image "Local", which is not here/)
        return code === 0 ? true : undefined
      })
      assert.ok(made, readdirSync(join(state, 'host', 'local-images')).join(' '))
      assert.equal(await noteOf('n0', 'local'), 'from the operator')
      await well('slice', 'delete', '--slice', 'local')
    })

    it('that cannot be had are refused, or leave a node that says which and why', async () => {
      const digest = put('first.raw', 'something else')
      const refused = await violin('slice', 'create', 'bad', request([`url="file:///etc/passwd.raw#sha256=${digest}"`]))
      assert.match(refused.said, /line 1: <disk_image> is of "file:\/\/\/etc\/passwd\.raw#\S+", which is not below file:/)
      const other = await violin('slice', 'create', 'bad', request([`url="file://${files}/first.raw#sha256=${'0'.repeat(64)}"`]))
      assert.notEqual(other.code, 0)
      assert.match(other.said, new RegExp(`the disk image file://${files}/first.raw cannot be had: its digest is ${digest}, not the one asked for`))
      assert.match(await well('slice', 'status', '--slice', 'bad'), /n0 +geni_failed/)
      await well('slice', 'delete', '--slice', 'bad')
      const gone = await violin('slice', 'create', 'gone', request([`url="${url}none.raw#sha256=${digest}"`]))
      assert.match(gone.said, /none\.raw cannot be had: the answer of 127\.0\.0\.1:\d+ is 404 Not Found/)
      await well('slice', 'delete', '--slice', 'gone')
    })

    if (kind === 'simulated') {
      for (const point of ['agent.image.fetched', 'agent.image.imported']) {
        it(`are fetched anew when the agent dies on the way: ${point}`, async () => {
          const name = point.split('.').at(-1)!
          const digest = put(`${name}.raw`, name)
          writeFileSync(join(orders, point), readFileSync(layoutOf(state).agentPid, 'utf8').split(' ')[0]!.trim())
          await well('slice', 'create', name, request([`url="file://${files}/${name}.raw#sha256=${digest}"`]))
          assert.ok(existsSync(join(orders, `${point}.hit`)), 'the agent died')
          assert.equal(await noteOf('n0', name), name)
          await well('slice', 'delete', '--slice', name)
        })
      }
    }
  })
}
