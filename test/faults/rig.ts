// A whole aggregate with one slice under bank load, in which processes are killed at named points, and the questions that
// must be answered well after every fault.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import ssh2 from 'ssh2'
import { takeLock } from '../../base/lock.js'
import { realRandom } from '../../base/random.js'
import { newSshKeys } from '../../base/ssh-key.js'
import { realClock as clock, until } from '../../base/time.js'
import { issueSlice, issueUser, openFederation } from '../../certs/issue.js'
import { AmError, makeAmClient } from '../../cli/am-client.js'
import { checkBank } from '../../cli/bank/check.js'
import { quiesce } from '../../cli/bank/quiesce.js'
import { openBank, type Bank } from '../../cli/bank/reader.js'
import type { BankReport } from '../../cli/bank/report.js'
import { vmPids } from '../../cli/demo/processes.js'
import { loginsOf, SliceClient, text, type NodeLogin } from '../../cli/demo/slice-client.js'
import { freePort } from '../../cli/up/aggregate.js'
import { layoutOf } from '../../cli/up/layout.js'
import { Orders } from './orders.js'
import { assertTidy } from './tidy-state.js'

export type HypervisorKind = 'qemu' | 'simulated'
export const victims = ['worker', 'agent', 'switch', 'am', 'redis', 'up', 'vm'] as const
export type Victim = (typeof victims)[number]
/** Those that die at the same moment. */
export type Victims = Victim[]

const root = resolve(import.meta.dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')
const readyMs = 120_000
const recoverMs = 10_000
/** What its command line says, for each process that is not a VM. */
const marks: Record<Exclude<Victim, 'up' | 'vm'>, string> = {
  worker: 'jobs/main.js', agent: 'hosts/main.js', switch: 'switch/main.js', am: 'am-plugin/main.js', redis: 'redis-server',
}

export class FaultRig {
  readonly state: string
  /** Orders for fault points. */
  readonly orders = new Orders()
  /** More options of `up`. */
  readonly upOptions: string[] = []
  /** More of the environment of `up`. */
  readonly upEnv: Record<string, string> = {}
  /** Where `up` tells; in the state folder without it. */
  upLog: string | undefined
  /** VMs of slices that are not ours. */
  others = 0
  slice!: SliceClient
  am!: ReturnType<typeof makeAmClient>
  user = { urn: '', keys: [] as string[] }
  /** Where it serves, and the root that vouches for it. */
  url = ''
  trust = ''
  private readonly hypervisor: HypervisorKind
  private readonly keys = newSshKeys()
  private up!: ChildProcess
  private port = 0
  private uuid = ''
  private vms: string[] = []
  private banks: Bank[] = []
  private logins: NodeLogin[] = []

  /** `within`: the folder that gets the state. */
  constructor(hypervisor: HypervisorKind, within = tmpdir()) {
    this.hypervisor = hypervisor
    this.state = mkdtempSync(join(within, 'vfault-'))
  }

  /** After: the slice runs under load. `policy`: attributes of its checkpoint policy. `vm`: of its VMs. `property`: of its LAN. */
  async open(policy: string, vm = '', property = ''): Promise<void> {
    await this.bringUp(readFileSync(join(root, 'examples', 'three-nodes.rspec'), 'utf8')
      .replace(/<violin:rspec_checkpoint[^]*?<\/violin:rspec_checkpoint>/, `<violin:rspec_checkpoint ${policy}/>`)
      .replace('<link_type', `${property}<link_type`)
      .replaceAll('<sliver_type name="default-vm"/>', `<sliver_type name="default-vm"><violin:vm ${vm}/></sliver_type>`))
    await this.openBanks()
  }

  /** After: an aggregate serves, and all nodes of the request can be logged in on. */
  async bringUp(request: string): Promise<void> {
    assert.ok(existsSync(main), 'build first: ./violin --version')
    const url = this.url = await this.startUp()
    this.port = Number(new URL(url).port)
    const tools = { clock, random: realRandom }
    const folder = join(this.state, 'federation')
    const { trust } = await openFederation(folder)
    this.trust = trust
    const user = await issueUser(folder, 'alice', tools)
    this.user = { urn: user.urn, keys: [this.keys.public] }
    const issued = await issueSlice(folder, 'alice', 'faults', { ...tools, lifeMs: 24 * 3_600_000 })
    this.uuid = issued.uuid
    const pem = (file: string) => readFileSync(file, 'utf8')
    const am = this.am = makeAmClient({ url, key: pem(user.key), cert: pem(user.certificate), ca: pem(trust) })
    this.slice = new SliceClient(am, issued.urn, pem(issued.credential), clock)
    await this.slice.allocate(request)
    const logins = loginsOf(text(await this.slice.provision([this.user]), 'geni_rspec'))
    this.logins = logins
    this.vms = logins.map((l) => l.sliver.split('+').at(-1)!)
    await this.whenFree(() => this.slice.action('geni_start'))
    await this.slice.waitFor('geni_ready', readyMs)
  }

  /** Before: the request has nodes execute `bank start`. After: all banks run. */
  async openBanks(): Promise<void> {
    this.banks = this.logins.map((l) => openBank({ name: l.clientId, host: l.host, port: l.port, username: l.username, privateKey: this.keys.private }))
    const running = await until(clock, readyMs, 300, async () =>
      (await Promise.all(this.banks.map((b) => b.report().catch(() => undefined)))).every((r) => r?.state === 'running') ? true : undefined)
    assert.ok(running, 'the bank does not begin')
  }

  async close(): Promise<void> {
    for (const bank of this.banks) bank.close()
    const ended = new Promise((done) => this.up.once('exit', done))
    this.up.kill('SIGTERM')
    await ended
    assert.deepEqual(this.pids(''), [], 'nothing is left')
    const { run, lock } = layoutOf(this.state)
    assert.ok(!existsSync(run), `${run} is left`)
    takeLock(lock, this.state)() // refuses where it is held
    for (const port of [this.port, ...this.logins.map((l) => l.port)]) await freePort('127.0.0.1', port)
    rmSync(this.state, { recursive: true, force: true })
    this.orders.remove()
  }

  /** How users log in, in the order of the nodes, and with which key. */
  get nodeLogins(): readonly NodeLogin[] { return this.logins }
  get key(): string { return this.keys.private }

  pidOf(victim: Victim): number {
    if (victim === 'up') return this.up.pid!
    if (victim === 'vm') return vmPids(this.vms).get(this.vms[1]!)!
    const [pid] = this.pidsOf(victim)
    assert.ok(pid !== undefined, `there is no ${victim}`)
    return pid
  }

  pidsOf(victim: Exclude<Victim, 'up' | 'vm'>): number[] { return this.pids(marks[victim]) }

  /** The banks of all nodes, or of all but the one that is the victim `vm`. */
  banksBut(victim?: 'vm'): Bank[] { return this.banks.filter((_, i) => victim === undefined || i !== 1) }

  /** The pid of each VM, as far as it has one. */
  vmPids(): number[] {
    const pids = vmPids(this.vms)
    return this.vms.flatMap((vm) => pids.get(vm) ?? [])
  }

  /** Kills the victims when a process comes to this point. */
  arm(point: string, victims: Victims): void {
    this.orders.give(point, victims.map((victim) => String(this.pidOf(victim))))
  }

  /** The same, but the victim is only stopped: SIGCONT lets it go on. */
  armStop(point: string, victim: Victim): void {
    this.orders.give(point, [`${this.pidOf(victim)} SIGSTOP`])
  }

  struck(point: string): Promise<void> { return this.orders.struck(point) }

  /** After a killed `up`: the next one. Else nothing. */
  async mend(victims: Victims): Promise<void> {
    if (victims.includes('up')) await this.startAgain()
  }

  /** Before: `up` was killed. After: the next one serves. */
  async startAgain(): Promise<void> {
    assert.ok(await until(clock, 10_000, 10, () => (this.up.exitCode !== null || this.up.signalCode !== null ? true : undefined)))
    await this.startUp()
  }

  /** What each node has sent; undefined where it does not say. */
  async sent(): Promise<(number | undefined)[]> {
    return (await this.reports()).map((report) => report?.channels[0]!.sent)
  }

  reports(): Promise<(BankReport | undefined)[]> {
    return Promise.all(this.banks.map((b) => b.report().catch(() => undefined)))
  }

  /** Every VM's counters move within 10 s, but for one that was killed itself: its slice is back by then, or being brought back. */
  async assertMoving(): Promise<void> {
    const sent = async () => (await this.sent()).map((n) => n ?? -1)
    const begun = clock.monotonic()
    let before = await sent()
    const moving = await until(clock, recoverMs, 50, async () => {
      const now = await sent()
      const all = now.every((n, i) => n >= 0 && before[i]! >= 0 && n !== before[i]!)
      before = before.map((n, i) => (n < 0 ? now[i]! : n))
      return all ? true : undefined
    })
    assert.ok(moving, `a VM stands still ${Math.round(clock.monotonic() - begun)} ms after the fault: ${before.join(', ')}`)
  }

  async ready(): Promise<void> {
    await this.call(() => this.slice.waitFor('geni_ready', 60_000, []))
    assert.ok(await until(clock, 30_000, 50, async () => ((await this.call(() => this.slice.status())).every((s) => !s.resourceStatus.includes('under way')) ? true : undefined)))
  }

  /** Waits until the policy has brought the slice back, and gives what Status says of it. Before: a snapshot, or another call, was the last. */
  async recovered(): Promise<string> {
    let last = ''
    const back = await until(clock, 60_000, 100, async () => {
      const slivers = await this.call(() => this.slice.status(), [14])
      last = slivers.map((s) => `${s.operational} ${s.resourceStatus}`).join('; ')
      return slivers.every((s) => s.operational === 'geni_ready' && s.resourceStatus.includes('recovered by itself')) ? slivers[0]!.resourceStatus : undefined
    })
    assert.ok(back, `the slice has not recovered by itself: ${last}`)
    return back
  }

  /** As its folder below snapshots/ is called. */
  get sliceUuid(): string { return this.uuid }

  /** How to log in on each node, in the order of the request. */
  get guests(): (NodeLogin & { privateKey: string })[] {
    return this.logins.map((login) => ({ ...login, privateKey: this.keys.private }))
  }

  /** Runs a command in a guest, until it ends or the guest does. */
  async run(clientId: string, command: string): Promise<void> {
    const { host, port, username } = this.logins.find((l) => l.clientId === clientId)!
    const client = new ssh2.Client()
    const over = new Promise<void>((done) => client.on('error', () => done()).once('close', () => done()))
    await new Promise<void>((begun, fail) => {
      client.once('error', fail).once('ready', () => client.exec(command, (error, stream) => {
        if (error) return fail(error)
        stream.resume().on('close', () => client.end())
        begun()
      })).connect({ host, port, username, privateKey: this.keys.private })
    })
    await over
  }

  /** Only whole snapshots are listed, nothing else is in their folder, and each VM has one process. */
  async assertClean(): Promise<void> {
    const listed = async () => (await this.call(() => this.slice.snapshots())).map((s) => text(s, 'id')).sort()
    const folder = join(this.state, 'snapshots', this.uuid)
    const kept = () => readdirSync(folder).filter((name) => name !== 'restores').sort()
    const agree = await until(clock, 10_000, 100, async () => (String(await listed()) === String(kept()) ? true : undefined))
    assert.ok(agree, `listed ${String(await listed())}, on disk ${String(kept())}`)
    for (const id of kept()) {
      assert.equal((JSON.parse(readFileSync(join(folder, id, 'outcome'), 'utf8')) as { outcome: string }).outcome, 'commit')
      assert.deepEqual(readdirSync(join(folder, id)).filter((name) => name.endsWith('.part')), [])
    }
    assert.deepEqual([...vmPids(this.vms).keys()].sort(), [...this.vms].sort())
    const copies = this.pids('').filter((pid) => /qemu-system|simulated\/main\.js/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))).length
    assert.equal(copies, this.vms.length + this.others, 'one process for each VM')
    await assertTidy(layoutOf(this.state), copies)
  }

  /** Takes a snapshot and waits for it. */
  async snapshot(): Promise<string> {
    const [answer] = await this.whenFree(() => this.slice.action('violin_snapshot'))
    const urn = text(answer!, 'violin_snapshot')
    await this.slice.waitForSnapshot((s) => text(s, 'urn') === urn, 30_000)
    await this.ready()
    return urn.split('+').at(-1)!
  }

  async rollBack(snapshot: string): Promise<void> {
    await this.whenFree(() => this.slice.action('violin_rollback', { violin_snapshot: snapshot }))
    await this.ready()
  }

  async removeAllBut(snapshot: string): Promise<void> {
    for (const id of (await this.slice.snapshots()).map((s) => text(s, 'id')).filter((id) => id !== snapshot)) {
      await this.whenFree(() => this.slice.action('violin_delete', { violin_snapshot: id }))
    }
    await this.ready()
  }

  /** After a cell that failed: its state stays for whoever looks into it, its processes do not. */
  async abandon(): Promise<void> {
    for (const bank of this.banks) bank.close()
    await this.killAll()
  }

  /** kill -9 of every process of the aggregate, VMs too. */
  async killAll(): Promise<void> {
    for (let pids = this.pids(''); pids.length > 0; pids = this.pids('')) {
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          continue // it has ended meanwhile
        }
      }
      await clock.sleep(50)
    }
  }

  /** As after a reboot of the machine: no process, and nothing where sockets are. */
  async reboot(): Promise<void> {
    await this.killAll()
    rmSync(layoutOf(this.state).run, { recursive: true, force: true })
    await this.startAgain()
  }

  /** The bank finds nothing lost, doubled or early. */
  async assertConserved(): Promise<void> {
    assert.deepEqual(checkBank(await quiesce(this.banks, clock)).findings, [])
    for (const bank of this.banks) await bank.go()
  }

  /** Asks again while the slice is busy for a moment, and while the AM is being started again. */
  whenFree<T>(ask: () => Promise<T>): Promise<T> {
    return this.call(ask, [13, 14])
  }

  call<T>(ask: () => Promise<T>, codes: number[] = []): Promise<T> {
    return (async () => {
      let last: unknown
      const done = await until(clock, 40_000, 150, async () => {
        try {
          return { value: await ask() }
        } catch (error) {
          last = error
          if (error instanceof AmError ? !codes.includes(error.geniCode) : !/ECONN|socket|EPIPE|hang up/i.test(String((error as Error).cause ?? error))) throw error
          return undefined
        }
      })
      if (!done) throw last
      return done.value
    })()
  }

  private async startUp(): Promise<string> {
    const log = openSync(this.upLog ?? join(this.state, 'up.log'), 'a')
    this.up = spawn(process.execPath, [main, 'up', '--state', this.state, '--listen', `127.0.0.1:${this.port}`, '--hypervisor', this.hypervisor, ...this.upOptions], {
      stdio: ['ignore', 'pipe', log], env: { ...process.env, ...this.upEnv, VIOLIN_FAULTS: this.orders.folder },
    })
    return new Promise((ready, fail) => {
      let said = ''
      const ended = (code: number | null) => fail(new Error(`up ended with ${code ?? '?'}: ${this.upLog ?? readFileSync(join(this.state, 'up.log'), 'utf8').trim().slice(-1000)}`))
      this.up.once('exit', ended)
      this.up.stdout!.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        const url = /^ready (\S+)$/m.exec(said)?.[1]
        if (url === undefined) return
        this.up.off('exit', ended)
        ready(url)
      })
    })
  }

  /** Our processes whose command line has `word`, by the state or run folder in their command line or environment. */
  pids(word: string): number[] {
    const { run } = layoutOf(this.state)
    return readdirSync('/proc').filter((n) => /^\d+$/.test(n) && Number(n) !== process.pid).map(Number).filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        const all = line + readFileSync(`/proc/${pid}/environ`, 'utf8')
        return line !== '' && line.includes(word) && (all.includes(this.state) || all.includes(run))
      } catch {
        return false
      }
    })
  }
}
