// `up` on state folders of other times: new, of today without its stamp, of a newer program, damaged in one place. Simulated VMs,
// so that it needs no QEMU.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { realRandom } from '../../base/random.js'
import { realClock as clock, until } from '../../base/time.js'
import { issueSlice, issueUser, openFederation, type Slice, type User } from '../../certs/issue.js'
import { makeAmClient } from '../../cli/am-client.js'
import { SliceClient } from '../../cli/demo/slice-client.js'
import { layoutOf } from '../../cli/up/layout.js'

const root = resolve(import.meta.dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')
const pem = (file: string) => readFileSync(file, 'utf8')

interface Up { process: ChildProcess; url: string | undefined; said: () => string; ended: Promise<unknown> }

/** After: it serves, or it has ended. */
async function startUp(state: string): Promise<Up> {
  const child = spawn(process.execPath, [main, 'up', '--hypervisor', 'simulated', '--state', state, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { said += chunk.toString() })
  const ended = new Promise((done) => child.once('exit', done))
  const found = await until(clock, 60_000, 20, () => /^ready (\S+)$/m.exec(said)?.[1] ?? (child.exitCode !== null ? 'ended' : undefined))
  assert.ok(found, said)
  return { process: child, url: found === 'ended' ? undefined : found, said: () => said, ended }
}

describe('up on the state of another time', function () {
  this.timeout(180_000)
  const state = mkdtempSync(join(tmpdir(), 'vold-'))
  const format = join(state, 'format')
  const vms = join(state, 'host', 'vms')
  const vmRecords = () => readdirSync(vms).filter((f) => f.endsWith('.json'))
  let running: Up | undefined
  let user: User
  let issued: Slice
  before(() => assert.ok(existsSync(main), 'build first: ./violin --version'))
  afterEach(stop)
  after(() => rmSync(state, { recursive: true, force: true }))

  async function stop(): Promise<void> {
    if (running?.process.exitCode === null) running.process.kill('SIGTERM')
    await running?.ended
    running = undefined
  }
  async function serves(): Promise<SliceClient> {
    running = await startUp(state)
    assert.ok(running.url, running.said())
    const folder = join(state, 'federation')
    const { trust } = await openFederation(folder)
    const tools = { clock, random: realRandom }
    user ??= await issueUser(folder, 'alice', tools)
    issued ??= await issueSlice(folder, 'alice', 'old', { ...tools, lifeMs: 24 * 3_600_000 })
    return new SliceClient(makeAmClient({ url: running.url, key: pem(user.key), cert: pem(user.certificate), ca: pem(trust) }), issued.urn, pem(issued.credential), clock)
  }
  async function refuses(sentence: RegExp): Promise<void> {
    const { run } = layoutOf(state)
    running = await startUp(state)
    assert.equal(running.url, undefined, running.said())
    assert.equal(await running.ended, 1)
    assert.match(running.said(), sentence)
    assert.ok(!existsSync(run), `${run} is left`)
  }

  it('stamps a new one', async () => {
    await serves()
    assert.equal((JSON.parse(pem(format)) as { format: number }).format, 1)
  })

  it('refuses one of a newer program, and leaves it as it was', async () => {
    const newer = '{"format":99,"software":"9.9.9"}'
    const stamp = pem(format)
    const before = readdirSync(state, { recursive: true }).sort()
    writeFileSync(format, newer)
    await refuses(/has format 99 \(geni-violin 9\.9\.9 has used it\), this program .* understands 1: start it with that program or a newer one, or .*--state/)
    assert.equal(pem(format), newer)
    assert.deepEqual(readdirSync(state, { recursive: true }).sort(), before)
    writeFileSync(format, stamp)
  })

  it('refuses and keeps the sockets of VMs that an earlier `up` has left running', async () => {
    const { run } = layoutOf(state)
    const stamp = pem(format)
    mkdirSync(run, { mode: 0o700 })
    writeFileSync(join(run, 'v-1.qmp'), '')
    writeFileSync(format, '{"format":99,"software":"9.9.9"}')
    running = await startUp(state)
    assert.equal(await running.ended, 1)
    assert.deepEqual(readdirSync(run), ['v-1.qmp'])
    rmSync(run, { recursive: true })
    writeFileSync(format, stamp)
  })

  it('stamps one that was made before there was a stamp, and knows its slices', async () => {
    const slice = await serves()
    await slice.allocate(pem(join(root, 'examples', 'two-nodes.rspec')))
    await slice.provision([{ urn: user.urn, keys: [] }])
    await slice.waitFor('geni_notready', 60_000)
    assert.ok(await until(clock, 60_000, 20, () => (vmRecords().length === 2 ? true : undefined)), 'its host has made both VMs') // AM says so before
    await stop()
    rmSync(format)
    assert.deepEqual((await (await serves()).status()).map((s) => s.allocation), ['geni_provisioned', 'geni_provisioned'])
    assert.match(running!.said(), /from format 0 to 1/)
    assert.equal((JSON.parse(pem(format)) as { format: number }).format, 1)
  })

  it('refuses one without a stamp in which a record cannot be read, names it, and does not stamp it', async () => {
    const stamp = pem(format)
    rmSync(format)
    const alien = join(state, 'host', 'slices', 'alien.json')
    writeFileSync(alien, '{"format":2}')
    await refuses(/host\/slices\/alien\.json has format 2, this program understands 1/)
    assert.ok(!existsSync(format))
    rmSync(alien)
    writeFileSync(format, stamp)
  })

  it('serves where the record of one VM is of a later format: that VM is not touched and says why, the other one runs', async () => {
    const [first] = vmRecords()
    const whole = pem(join(vms, first!))
    writeFileSync(join(vms, first!), '{"format":2}')
    const slice = await serves()
    await slice.action('geni_start')
    const name = first!.replace('.json', '')
    const settled = await until(clock, 60_000, 100, async () => {
      const all = await slice.status()
      return all.every((s) => ['geni_ready', 'geni_failed'].includes(s.operational)) ? all : undefined
    })
    assert.deepEqual(settled?.map((s) => [s.urn.endsWith(name), s.operational]).sort(), [[false, 'geni_ready'], [true, 'geni_failed']])
    assert.match(settled.find((s) => s.urn.endsWith(name))!.error, new RegExp(`nothing is done with the VM ${name}.*${name}\\.json has format 2`))
    assert.equal(pem(join(vms, first!)), '{"format":2}')
    await stop()
    writeFileSync(join(vms, first!), whole)
    const mended = await serves()
    await mended.action('geni_restart')
    await mended.waitFor('geni_ready', 60_000)
  })

  it('says what Redis says where Redis cannot read its data, and ends at once', async () => {
    const folder = join(state, 'redis', 'appendonlydir')
    const tail = readdirSync(folder).find((f) => f.endsWith('.incr.aof'))!
    appendFileSync(join(folder, tail), 'this is no command\r\n')
    await refuses(/Redis does not start on .*redis, which is as it was\. .*Bad file format reading the append only file/)
  })
})
