// A user's first hour at the command line: the real `violin`, a whole aggregate with simulated VMs, and nothing prepared.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { realClock, until } from '../../base/time.js'

const root = resolve(import.meta.dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')
const request = join(root, 'examples', 'two-nodes.rspec')

interface Said { code: number | null; out: string; err: string }
interface Row { id: string; name: string; note: string; current: boolean; parent: string }

describe('violin slice', function () {
  this.timeout(120_000) // a killed worker's job is taken up again after some ten seconds
  const state = mkdtempSync(join(tmpdir(), 'vcli-'))
  const orders = mkdtempSync(join(tmpdir(), 'vcli-orders-'))
  let up: ChildProcess

  function start(...words: string[]): ChildProcess {
    return spawn(process.execPath, [main, ...words], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, VIOLIN_STATE: state, VIOLIN_FAULTS: orders } })
  }
  async function ended(child: ChildProcess): Promise<Said> {
    const said = { out: '', err: '' }
    child.stdout!.on('data', (chunk: Buffer) => { said.out += chunk.toString() })
    child.stderr!.on('data', (chunk: Buffer) => { said.err += chunk.toString() })
    const code = await new Promise<number | null>((done) => child.once('close', done))
    return { code, ...said }
  }
  const violin = (...words: string[]) => ended(start(...words))
  async function well(...words: string[]): Promise<string> {
    const said = await violin(...words)
    assert.equal(said.code, 0, `violin ${words.join(' ')}: ${said.out}${said.err}`)
    return said.out
  }
  const list = async () => (JSON.parse(await well('slice', 'list', '--json')) as { snapshots: Row[] }).snapshots

  before(async () => {
    assert.ok(existsSync(main), 'build first: ./violin --version')
    up = start('up', '--hypervisor', 'simulated', '--listen', '127.0.0.1:0')
    let said = ''
    up.stderr!.on('data', (chunk: Buffer) => { said += chunk.toString() })
    await new Promise<void>((ready, fail) => {
      up.once('exit', () => fail(new Error(`up ended: ${said}`)))
      up.stdout!.on('data', (chunk: Buffer) => { if (/^ready /m.test(chunk.toString())) ready() })
    })
  })
  after(async () => {
    if (up.exitCode === null) {
      const gone = new Promise((done) => up.once('exit', done))
      up.kill('SIGTERM')
      await gone
    }
    for (const folder of [state, orders]) rmSync(folder, { recursive: true, force: true })
  })

  it('makes user, credential and slice with one command, and a login works', async () => {
    const early = await violin('slice', 'status')
    assert.deepEqual([early.code, early.out], [1, ''])
    assert.match(early.err, /^violin: there is no user in .*: "violin slice create NAME FILE" makes one/)
    const created = await violin('slice', 'create', 'myslice', request)
    assert.equal(created.code, 0, created.err)
    assert.match(created.err, /made the user .*\n.*made a credential of .* for the slice myslice/)
    assert.match(created.out, /^the slice myslice is up; log in with\n {2}a {2}violin slice ssh a --slice myslice/)
    assert.match(await well('slice', 'status'), /\na +geni_ready +\S+@127\.0\.0\.1:\d+ .*\nb +geni_ready /)
    assert.equal(await well('slice', 'ssh', 'b', '--', 'hostname'), 'b\n')
  })

  it('takes a snapshot with a note, goes back to it and keeps what was before', async () => {
    await well('slice', 'snapshot', '--name', 'before', '--note', 'größer als\nzuvor')
    assert.match(await well('slice', 'list'), /\n\* +s-\S+ +before +\S+ \S+ +user .* größer als zuvor\n$/)
    const back = await well('slice', 'rollback', 'before', '--snapshot-first', '--name', 'kept', '--note', 'the work since')
    assert.match(back, /^kept what was before as snapshot kept \(s-.*\)\nrolled back to snapshot s-.*: running again after \d+ ms.*kept as snapshot kept\n$/)
    const [before, kept, ...none] = await list()
    assert.deepEqual([none.length, before!.name, before!.note, before!.current, kept!.name, kept!.note, kept!.current, kept!.parent],
      [0, 'before', 'größer als\nzuvor', true, 'kept', 'the work since', false, before!.id])
    assert.equal(await well('slice', 'ssh', 'a', '--', 'hostname'), 'a\n')
    await well('slice', 'rollback', 'kept')
    await well('slice', 'delete-snapshot', 'before')
    assert.deepEqual((await list()).map((s) => [s.name, s.current]), [['kept', true]])
  })

  it('a worker that dies in a rollback with a snapshot first takes none twice, and never rolls back without one', async () => {
    const armed = async (point: string) => {
      const { processes } = JSON.parse(await well('status', '--json')) as { processes: Record<string, number> }
      writeFileSync(join(orders, point), String(processes['worker']))
    }
    const names = async () => (await list()).map((s) => s.name).join(' ')
    await armed('worker.rollback.kept')
    assert.match(await well('slice', 'rollback', 'kept', '--snapshot-first', '--name', 'between'), /kept what was before as snapshot between/)
    assert.ok(existsSync(join(orders, 'worker.rollback.kept.hit')))
    assert.deepEqual([await names(), (await list()).find((s) => s.current)!.name], ['kept between', 'kept'])
    await armed('worker.before-outcome')
    const failed = await violin('slice', 'rollback', 'between', '--snapshot-first', '--name', 'never')
    assert.match(failed.err, /violin: the rollback has failed: the snapshot s-\S+ of the present has failed, so nothing was rolled back: the worker that led it ended/)
    assert.ok(existsSync(join(orders, 'worker.before-outcome.hit')))
    assert.deepEqual([await names(), (await list()).find((s) => s.current)!.name], ['kept between', 'kept'])
    assert.equal(await well('slice', 'ssh', 'a', '--', 'hostname'), 'a\n')
    await well('slice', 'delete-snapshot', 'between')
  })

  it('says no with the sentence of the aggregate, and as JSON with its code', async () => {
    const twice = await violin('slice', 'snapshot', '--name', 'kept')
    assert.deepEqual(twice, { code: 1, out: '', err: 'violin: the slice has a snapshot named kept already\n' })
    const json = await violin('slice', 'resume', '--json')
    const { error, code } = JSON.parse(json.out) as { error: string; code: number }
    assert.deepEqual([json.code, json.err, code], [1, '', 13])
    assert.match(error, /a is geni_ready, it must be violin_suspended/)
    const usage = await violin('slice', 'renew', '--json')
    assert.deepEqual([usage.code, JSON.parse(usage.out)], [1, { error: "missing required argument 'time'", code: 1 }])
  })

  it('suspends and resumes; Ctrl-C only stops the waiting', async () => {
    await well('slice', 'suspend', '--note', 'over the weekend')
    const asleep = await violin('slice', 'rollback', 'kept', '--snapshot-first')
    assert.match(asleep.err, /a is violin_suspended, only a slice whose nodes are all geni_ready can be snapshotted/)
    const resuming = start('slice', 'resume')
    const said = ended(resuming)
    const begun = await until(realClock, 20_000, 50, async () => ((await well('slice', 'status')).includes('violin_suspended') ? undefined : true))
    assert.ok(begun)
    resuming.kill('SIGINT') // it may have ended by then: then this changes nothing
    assert.ok([0, 130].includes((await said).code ?? -1), JSON.stringify(await said))
    const up = await until(realClock, 20_000, 100, async () => (/\na +geni_ready.*\nb +geni_ready/.test(await well('slice', 'status')) ? true : undefined))
    assert.ok(up, await well('slice', 'status'))
    assert.match(await well('slice', 'list'), / suspend .* over the weekend\n$/)
  })

  it('stops, starts and renews; events and consoles tell', async () => {
    assert.equal(await well('slice', 'stop', 'a'), 'a: stopped\n')
    assert.equal(await well('slice', 'start'), 'a, b: up\n')
    assert.match(await well('slice', 'renew', '2d'), /^the slice myslice lives until /)
    assert.match(await well('slice', 'events'), /snapshot-committed .*kept/)
    assert.match(await well('slice', 'console', 'a'), /simulated: booted/)
    assert.match(await well('status'), /\nprocesses +up \d+, redis \d+, switch \d+, agent \d+, worker \d+, am \d+\n[^]*\nmyslice +\S+ +a geni_ready, b geni_ready +2, /)
  })

  it('shows the operator whose slices there are, and takes one away from its user', async () => {
    await well('slice', 'create', 'theirs', request)
    assert.match(await well('slices'), /\nmyslice +\S+ +2 +[^]*\ntheirs +\S+ +2 +2 geni_ready/)
    assert.match(await well('slivers', 'theirs'), /\nv-\S+ +theirs +a +geni_ready +local +128 MiB/)
    assert.match(await well('who'), /user\+\S+ +myslice, theirs +4 +512 MiB/)
    assert.match(await well('shutdown', 'theirs'), /slice\+theirs is shut down/)
    const mine = await violin('slice', 'start', '--slice', 'theirs')
    assert.deepEqual([mine.code, /was shut down: ask the operator/.test(mine.err)], [1, true], mine.err)
    await well('expire', 'theirs')
    const gone = await until(realClock, 30_000, 200, async () => (/\ntheirs +\S+ +0 .*shut down/.test(await well('slices')) ? true : undefined))
    assert.ok(gone, await well('slices'))
    const credentials = join(state, 'federation', 'slices') // the user has one slice again, so that it needs not be named
    for (const file of readdirSync(credentials)) if (file.startsWith('theirs.')) rmSync(join(credentials, file))
  })

  it('deletes; when the aggregate has ended, commands say how to start it', async () => {
    assert.equal(await well('slice', 'delete'), 'the slice myslice and its snapshots are deleted\n')
    assert.equal((JSON.parse((await violin('slice', 'status', '--json')).out) as { code: number }).code, 12)
    const gone = new Promise((done) => up.once('exit', done))
    up.kill('SIGTERM')
    await gone
    assert.match((await violin('slice', 'status')).err, /^violin: no aggregate is up on .*: start one with "violin up"/)
    const status = await violin('status')
    assert.equal(status.code, 1)
    assert.match(status.out, /^no aggregate is up on /)
  })
})
