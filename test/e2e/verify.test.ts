// `violin verify` on what a whole aggregate with simulated VMs has left, in each mode: from the files alone, the aggregate being gone.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { seededFractions } from '../../base/random.js'
import { certificatesOf, disksOf } from '../../cli/verify/find.js'
import { verifySnapshot } from '../../snapshots/verify.js'
import type { Inventory } from '../../snapshots/inventory.js'

const root = resolve(import.meta.dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')
const seed = 'single bytes of files'

interface Said { code: number | null; out: string; err: string }
interface Judged { ok: boolean; id: string; mode: string; folder: string; consistent: { problems: string[] }; lossless: { problems: string[] }; notCovered: string[] }

class Aggregate {
  readonly state = mkdtempSync(join(tmpdir(), 'vverify-'))
  private up: ChildProcess | undefined

  async open(...words: string[]): Promise<void> {
    assert.ok(existsSync(main), 'build first: ./violin --version')
    const up = this.start('up', '--hypervisor', 'simulated', '--listen', '127.0.0.1:0', ...words)
    this.up = up
    let said = ''
    up.stderr!.on('data', (chunk: Buffer) => { said += chunk.toString() })
    await new Promise<void>((ready, fail) => {
      up.once('exit', () => fail(new Error(`up ended: ${said}`)))
      up.stdout!.on('data', (chunk: Buffer) => { if (/^ready /m.test(chunk.toString())) ready() })
    })
    await this.well('slice', 'create', 'proven', join(root, 'examples', 'three-nodes.rspec'))
  }

  async close(): Promise<void> {
    if (this.up?.exitCode !== null) return
    const gone = new Promise((done) => this.up!.once('exit', done))
    this.up.kill('SIGTERM')
    await gone
  }

  start(...words: string[]): ChildProcess {
    return spawn(process.execPath, [main, ...words], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, VIOLIN_STATE: this.state } })
  }

  async violin(...words: string[]): Promise<Said> {
    const child = this.start(...words)
    const said = { out: '', err: '' }
    child.stdout!.on('data', (chunk: Buffer) => { said.out += chunk.toString() })
    child.stderr!.on('data', (chunk: Buffer) => { said.err += chunk.toString() })
    const code = await new Promise<number | null>((done) => child.once('close', done))
    return { code, ...said }
  }

  async well(...words: string[]): Promise<string> {
    const said = await this.violin(...words)
    assert.equal(said.code, 0, `violin ${words.join(' ')}: ${said.out}${said.err}`)
    return said.out
  }

  async judged(word: string): Promise<Judged> {
    const { out } = await this.violin('verify', word, '--json')
    return (JSON.parse(out) as { snapshots: Judged[] }).snapshots[0]!
  }
}

describe('violin verify', function () {
  this.timeout(300_000)
  const open: Aggregate[] = []
  async function aggregate(...words: string[]): Promise<Aggregate> {
    const made = new Aggregate()
    open.push(made)
    await made.open(...words)
    return made
  }
  afterEach(async () => {
    for (const each of open.splice(0)) {
      await each.close()
      rmSync(each.state, { recursive: true, force: true })
    }
  })

  it('finds good snapshots good, in every kind of life, and 100 of 100 single bytes changed in any file of one', async () => {
    const a = await aggregate()
    await a.well('slice', 'snapshot', '--name', 'first')
    await a.well('slice', 'snapshot', '--name', 'second')
    await a.well('slice', 'rollback', 'first')
    await a.well('slice', 'snapshot', '--name', 'third')
    await a.well('slice', 'suspend', '--name', 'asleep')
    assert.equal((await a.violin('verify')).code, 0, 'while it is up')
    await a.close()
    const all = await a.well('verify')
    const names = [...all.matchAll(/^snapshot (\w+) \(/gm)].map((m) => m[1]) // those of the policy have none
    assert.deepEqual(names, ['first', 'second', 'third', 'asleep'])
    assert.equal([...all.matchAll(/^ {2}ok$/gm)].length, [...all.matchAll(/^snapshot /gm)].length, all)
    assert.match(all, / lossless +yes: of [1-9]\d+ frames between nodes before the cut [1-9]\d+ were received, \d+ in transit and recorded.*; 3 of 3 devices /)

    const { folder } = await a.judged('third')
    const flags = { state: a.state }
    const [certificates, disks] = [certificatesOf(flags), disksOf(folder, flags)!]
    const inventory = JSON.parse(readFileSync(join(folder, 'inventory.json'), 'utf8')) as Inventory
    const layers = inventory.hosts.flatMap((h) => h.vms.flatMap((vm) => vm.layers.map((l) => join(disks.folder, l.name))))
    const files = [...readdirSync(folder).map((name) => join(folder, name)), ...layers]
    assert.ok(files.length > 10)
    const fraction = seededFractions(seed)
    const pick = (n: number) => Math.floor(fraction() * n)
    for (let i = 0; i < 100; i++) {
      const file = files[pick(files.length)]!
      const whole = readFileSync(file)
      const at = pick(whole.length)
      const damaged = Buffer.from(whole)
      damaged[at]! ^= 1 + pick(255)
      writeFileSync(file, damaged)
      const { ok } = await verifySnapshot({ folder, certificates, disks })
      writeFileSync(file, whole)
      assert.equal(ok, whole.length === 0, `byte ${at} of ${basename(file)} (seed "${seed}", number ${i})`)
    }

    const older = (await a.judged('first')).folder
    for (const name of ['inventory.json', 'inventory.sig', 'outcome']) cpSync(join(older, name), join(folder, name))
    const replaced = await a.violin('verify', folder)
    assert.deepEqual([replaced.code, /the folder s-\w+ holds the snapshot s-\w+: a valid one, in the place of another/.test(replaced.out)], [1, true], replaced.out)
    assert.equal((await a.violin('verify', 'second')).code, 0)
    assert.match((await a.violin('verify', 'asleep')).out, /its parent s-\w+ is not the snapshot that it was taken after/)
    assert.deepEqual((await a.violin('verify', 'nothing')).code, 2)
    assert.deepEqual((await a.violin('verify', 'second', '--certificate', join(a.state, 'federation', 'ca.pem'))).code, 1)
  })

  it('names the orphans and losses of an uncoordinated snapshot', async () => {
    const a = await aggregate('--snapshot-mode', 'uncoordinated')
    const [orphans, losses] = [[] as string[], [] as string[]]
    for (let i = 0; i < 40 && (orphans.length === 0 || losses.length === 0); i++) {
      await a.well('slice', 'snapshot', '--name', `u${i}`)
      const { ok, consistent, lossless, notCovered } = await a.judged(`u${i}`)
      assert.match(notCovered.join(), /mode uncoordinated, for comparison/)
      assert.equal(ok, consistent.problems.length + lossless.problems.length === 0)
      orphans.push(...consistent.problems)
      losses.push(...lossless.problems)
    }
    assert.match(orphans.join('\n'), /^\w+:\w+ -> \w+:\w+: frame \d+ was received, only \d+ were sent: at least \d+ orphans?/)
    assert.match(losses.join('\n'), /in no part of the snapshot/)
  })

  it('says what a snapshot in mode drop has dropped from the live run, and what it has not recorded', async () => {
    const a = await aggregate('--snapshot-mode', 'drop')
    const losses: string[] = []
    const whole = () => /of a later epoch were dropped from the live run \(\d/.test(losses.join()) && /are in no part of the snapshot/.test(losses.join())
    for (let i = 0; i < 40 && !whole(); i++) {
      await a.well('slice', 'snapshot', '--name', `d${i}`)
      const { consistent, lossless, notCovered } = await a.judged(`d${i}`)
      assert.match(notCovered.join(), /mode drop, for comparison/)
      assert.deepEqual(consistent.problems, [])
      losses.push(...lossless.problems)
    }
    assert.ok(whole(), losses.join('\n'))
  })
})
