// What an operator hears of an aggregate while it runs: metrics, the webhook, and one call in the logs of all processes. Real
// processes, simulated VMs; the worker is killed in the middle.
import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { realClock as clock, until } from '../../base/time.js'
import { freePort } from '../../cli/up/aggregate.js'

const root = resolve(import.meta.dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')

interface Told { slice: string; uuid: string; at: string; kind: string; text: string; op: string; who: string; node: string }

describe('an operator', function () {
  this.timeout(120_000)
  const state = mkdtempSync(join(tmpdir(), 'vtell-'))
  const env = { ...process.env, VIOLIN_STATE: state }
  const told: Told[] = []
  let hook: Server
  let up: ChildProcess
  let metricsPort = 0

  const violin = (...words: string[]) => new Promise<string>((done, fail) => {
    execFile(process.execPath, [main, ...words], { env }, (error, out, err) => { if (error) fail(new Error(`violin ${words.join(' ')}: ${out}${err}`)); else done(out) })
  })
  const metrics = async () => (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
  const workerPid = async () => (JSON.parse(await violin('status', '--json')) as { processes: Record<string, number> }).processes['worker']!

  before(async () => {
    assert.ok(existsSync(main), 'build first: ./violin --version')
    hook = createServer((request, response) => {
      let body = ''
      request.setEncoding('utf8').on('data', (chunk: string) => { body += chunk })
      request.on('end', () => {
        told.push(JSON.parse(body) as Told)
        response.end()
      })
    })
    await new Promise<void>((done) => hook.listen(0, '127.0.0.1', done))
    metricsPort = await freePort('127.0.0.1')
    up = spawn(process.execPath, [main, 'up', '--hypervisor', 'simulated', '--listen', '127.0.0.1:0', '--metrics', String(metricsPort),
      '--webhook', `http://127.0.0.1:${(hook.address() as AddressInfo).port}/hook`], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise<void>((ready, fail) => {
      up.once('exit', () => fail(new Error('up ended')))
      up.stdout!.on('data', (chunk: Buffer) => { if (/^ready /m.test(chunk.toString())) ready() })
    })
    await violin('slice', 'create', 'heard', join(root, 'examples', 'two-nodes.rspec'))
  })
  after(async () => {
    if (up.exitCode === null) {
      const gone = new Promise((done) => up.once('exit', done))
      up.kill('SIGTERM')
      await gone
    }
    hook.close()
    hook.closeAllConnections()
    rmSync(state, { recursive: true, force: true })
  })

  it('is told that the address of the metrics is taken before anything is started', async () => {
    const other = mkdtempSync(join(tmpdir(), 'vtell-'))
    const taken = `127.0.0.1:${metricsPort} cannot be listened on: stop what listens there, or choose another address with --metrics`
    await assert.rejects(violin('up', '--hypervisor', 'simulated', '--state', other, '--listen', '127.0.0.1:0', '--metrics', String(metricsPort)),
      (error: Error) => error.message.includes(taken))
    rmSync(other, { recursive: true, force: true })
  })

  it('sees figures of what has been done and of what there is', async () => {
    await violin('slice', 'snapshot')
    const seen = await until(clock, 10_000, 100, async () => ((await metrics()).includes('violin_snapshots 1\n') ? metrics() : undefined))
    assert.ok(seen, await metrics())
    for (const line of [
      'violin_slices 1', 'violin_slivers{state="geni_ready"} 2', 'violin_operations_total{kind="snapshot",end="done"} 1', 'violin_hosts{alive="true"} 1',
      'violin_snapshot_pause_seconds_count 2',
    ]) assert.ok(seen.includes(`${line}\n`), `${line} is not in ${seen}`)
  })

  it('hears of every event once, those of a time without worker too', async () => {
    process.kill(await workerPid(), 'SIGKILL')
    await violin('slice', 'renew', '2d') // by the AM alone
    await violin('slice', 'rollback')
    const { events } = JSON.parse(await violin('slice', 'events', '--json')) as { events: Omit<Told, 'slice' | 'uuid'>[] }
    const all = await until(clock, 20_000, 50, () => (told.length >= events.length ? told : undefined))
    assert.ok(all, `${told.length} of ${events.length} came`)
    assert.deepEqual(all.map((t) => [t.at, t.kind, t.text, t.op, t.who, t.node]), events.map((e) => [e.at, e.kind, e.text, e.op, e.who, e.node]))
    assert.deepEqual([new Set(all.map((t) => t.slice)).size, new Set(all.map((t) => t.uuid)).size], [1, 1])
    assert.ok(['lease-renewed', 'snapshot-committed'].every((kind) => all.some((t) => t.kind === kind)))
    assert.ok(await until(clock, 10_000, 100, async () => ((await metrics().catch(() => '')).includes('violin_rollback_seconds_count 1\n') ? true : undefined)))
  })

  it('finds a call in the logs of AM, audit and worker, and its operation in the agent\'s', () => {
    const lines = readdirSync(join(state, 'log')).filter((n) => n.endsWith('.log') && n !== 'redis.log').flatMap((name) =>
      readFileSync(join(state, 'log', name), 'utf8').split('\n').filter((text) => text !== '').map((text) => ({ name, text })))
    for (const [kind, tells] of [['snapshot', 'cut sealed -> ending'], ['rollback', 'restore done']] as const) {
      const begun = lines.find(({ name, text }) => name === 'am.log' && text.includes('operation begun') && text.includes(`"kind":"${kind}"`))
      const { call, op } = JSON.parse(begun!.text) as { call: string; op: string }
      const naming = (word: string) => lines.filter(({ text }) => text.includes(word))
      assert.deepEqual([...new Set(naming(call).map((l) => l.name))].sort(), ['am.log', 'audit.log', 'worker.log'])
      assert.ok(naming(op).some((l) => l.name === 'agent.log' && l.text.includes(tells)), `${tells} of ${op}`)
    }
  })
})
