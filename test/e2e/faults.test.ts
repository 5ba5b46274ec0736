// kill -9 of worker, agent and switch in the middle of a snapshot, and of everything at once, with the bank as load: the VMs
// run on, no half snapshot is listed, the next one works, and the bank finds nothing lost but what a killed switch held.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import ssh2 from 'ssh2'
import { realRandom } from '../../base/random.js'
import { realClock as clock, until } from '../../base/time.js'
import { issueSlice, issueUser, openFederation } from '../../certs/issue.js'
import { makeAmClient } from '../../cli/am-client.js'
import { checkBank } from '../../cli/bank/check.js'
import { quiesce } from '../../cli/bank/quiesce.js'
import { openBank, type Bank } from '../../cli/bank/reader.js'
import { AmError } from '../../cli/am-client.js'
import { loginsOf, SliceClient, text } from '../../cli/demo/slice-client.js'
import { layoutOf } from '../../cli/up/layout.js'

const root = resolve(import.meta.dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')
const readyMs = 120_000

describe('kill -9 in the middle of a snapshot, on real VMs under load', function () {
  this.timeout(300_000)
  const state = mkdtempSync(join(tmpdir(), 've2e-'))
  const { run } = layoutOf(state)
  const keys = ssh2.utils.generateKeyPairSync('ed25519')
  let up: ChildProcess
  let port = 0
  let slice: SliceClient
  let uuid = ''
  let banks: Bank[] = []

  async function startUp(): Promise<string> {
    up = spawn(process.execPath, [main, 'up', '--state', state, '--listen', `127.0.0.1:${port}`], { stdio: ['ignore', 'pipe', 'inherit'] })
    return new Promise((ready, fail) => {
      let said = ''
      up.once('exit', (code) => fail(new Error(`up ended with ${code ?? '?'}`)))
      up.stdout!.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        const url = /^ready (\S+)$/m.exec(said)?.[1]
        if (url) ready(url)
      })
    })
  }

  /** Our processes whose command line has `word`, by the state or run folder in their command line or environment. */
  function pids(word: string): number[] {
    return readdirSync('/proc').filter((n) => /^\d+$/.test(n) && Number(n) !== process.pid).map(Number).filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        const all = line + readFileSync(`/proc/${pid}/environ`, 'utf8')
        return line.includes(word) && (all.includes(state) || all.includes(run))
      } catch {
        return false
      }
    })
  }

  async function whenFree<T>(ask: () => Promise<T>): Promise<T> {
    const done = await until(clock, 30_000, 200, async () => {
      try {
        return { value: await ask() }
      } catch (error) {
        if (error instanceof AmError && [13, 14].includes(error.geniCode)) return undefined // busy, or still snapshotting
        throw error
      }
    })
    assert.ok(done, 'the slice stays busy')
    return done.value
  }

  async function assertMoving(): Promise<void> {
    const sent = async () => (await Promise.all(banks.map((b) => b.report()))).map((r) => r.channels[0]!.sent)
    const before = await sent()
    const moving = await until(clock, 10_000, 50, async () => ((await sent()).every((n, i) => n > before[i]!) ? true : undefined))
    assert.ok(moving, 'a VM stands still')
  }

  /** Begins a snapshot and resolves once its folder is there: every host is being prepared or further. */
  async function snapshotBegun(): Promise<string> {
    const [answer] = await whenFree(() => slice.action('violin_snapshot'))
    const id = text(answer!, 'violin_snapshot').split('+').at(-1)!
    const folder = join(state, 'snapshots', uuid, id)
    assert.ok(await until(clock, 10_000, 1, () => (existsSync(folder) ? true : undefined)), 'the snapshot does not begin')
    return id
  }

  async function assertWhole(id: string): Promise<void> {
    await slice.waitFor('geni_ready', 30_000, [])
    const listed = (await slice.snapshots()).some((s) => text(s, 'id') === id)
    assert.equal(existsSync(join(state, 'snapshots', uuid, id, 'outcome')), listed, 'listed if and only if it was committed')
    const [next] = await whenFree(() => slice.action('violin_snapshot'))
    const urn = text(next!, 'violin_snapshot')
    await slice.waitForSnapshot((s) => text(s, 'urn') === urn, 30_000)
    await slice.waitFor('geni_ready', 30_000)
  }

  async function assertNothingLost(): Promise<void> {
    assert.deepEqual(checkBank(await quiesce(banks, clock)).findings, [])
    for (const bank of banks) await bank.go()
  }

  before(async () => {
    assert.ok(existsSync(main), 'build first: ./violin --version')
    const url = await startUp()
    port = Number(new URL(url).port)
    const tools = { clock, random: realRandom }
    const folder = join(state, 'federation')
    const { trust } = await openFederation(folder)
    const user = await issueUser(folder, 'alice', tools)
    const issued = await issueSlice(folder, 'alice', 'faults', { ...tools, lifeMs: 3_600_000 })
    uuid = issued.uuid
    const pem = (file: string) => readFileSync(file, 'utf8')
    const am = makeAmClient({ url, key: pem(user.key), cert: pem(user.certificate), ca: pem(trust) })
    slice = new SliceClient(am, issued.urn, pem(issued.credential), clock)
    const request = pem(join(root, 'examples', 'three-nodes.rspec')).replace(/<violin:rspec_checkpoint[^]*?<\/violin:rspec_checkpoint>/, '')
    await slice.allocate(request)
    const logins = loginsOf(text(await slice.provision([{ urn: user.urn, keys: [keys.public] }]), 'geni_rspec'))
    await slice.action('geni_start')
    await slice.waitFor('geni_ready', readyMs)
    banks = logins.map((l) => openBank({ name: l.clientId, host: l.host, port: l.port, username: l.username, privateKey: keys.private }))
    await until(clock, readyMs, 300, async () =>
      (await Promise.all(banks.map((b) => b.report().catch(() => undefined)))).every((r) => r?.state === 'running') ? true : undefined)
  })

  after(async () => {
    for (const bank of banks) bank.close()
    const ended = new Promise((done) => up.once('exit', done))
    up.kill('SIGTERM')
    await ended
    assert.deepEqual(pids(''), [], 'nothing is left')
    rmSync(state, { recursive: true, force: true })
  })

  for (const victim of ['jobs/main.js', 'hosts/main.js']) {
    it(`of ${victim} leaves the VMs running and nothing lost, no half snapshot, and the next one works`, async () => {
      const id = await snapshotBegun()
      const [pid] = pids(victim)
      process.kill(pid!, 'SIGKILL')
      await assertMoving()
      await assertWhole(id)
      await assertNothingLost()
    })
  }

  it('of the switch costs what it held, and the next snapshot works', async () => {
    const id = await snapshotBegun()
    process.kill(pids('switch/main.js')[0]!, 'SIGKILL')
    await assertMoving()
    await assertWhole(id)
  })

  it('of everything at once is told in Status, and a rollback brings the slice back', async () => {
    const latest = (await slice.snapshots()).at(-1)!
    for (const pid of pids('')) process.kill(pid, 'SIGKILL')
    assert.ok(await until(clock, 10_000, 20, () => (pids('').length === 0 ? true : undefined)))
    await startUp()
    const status = await slice.status()
    assert.deepEqual(status.map((s) => s.operational), status.map(() => 'geni_failed'))
    assert.ok(status.every((s) => s.error.includes('violin_rollback')), JSON.stringify(status))
    await slice.action('violin_rollback', { violin_snapshot: text(latest, 'id') })
    await slice.waitFor('geni_ready', readyMs, [])
    await assertMoving()
  })
})
