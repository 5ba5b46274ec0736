// The main job, shown on real VMs through the ordinary AM API: an experiment runs, is snapshotted live, loses a VM, is
// rolled back, suspended and resumed, and its own bookkeeping says each time whether anything was lost.
import { Failure } from '../../base/errors.js'
import { until, type Clock } from '../../base/time.js'
import { violinNs } from '../../rspec/names.js'
import { checkBank } from '../bank/check.js'
import { quiesce } from '../bank/quiesce.js'
import { openBank, type Bank } from '../bank/reader.js'
import { vmPids } from './processes.js'
import { addSums, emptyReport, snapshotLine, snapshotReport, type DemoReport, type RestoreFigures } from './report.js'
import { loginsOf, text, type NodeLogin, type SliceClient } from './slice-client.js'

export interface DemoParts {
  slice: SliceClient
  rspec: string
  mode: string
  user: { urn: string; publicKey: string; privateKey: string }
  clock: Clock
  say(line: string): void
}

const readyMs = 240_000
const operationMs = 90_000
const bankMs = 60_000
/** The bank's life between two looks at it. */
const livesMs = 2_000
/** What the slice is told to do by itself when a VM dies. */
const guarded = `<rspec_checkpoint xmlns="${violinNs}" interval="PT10S" on_failure="rollback"/>`

export class Demo {
  readonly report: DemoReport
  private readonly at: DemoParts
  private readonly begun: number
  private logins: NodeLogin[] = []
  private banks: Bank[] = []
  private seen = new Set<string>()

  constructor(parts: DemoParts) {
    this.at = parts
    this.begun = parts.clock.monotonic()
    this.report = emptyReport(parts.mode)
  }

  /** Runs all of it. `report.ok` says whether everything held; only what keeps it from going on is thrown. */
  async run(): Promise<DemoReport> {
    const { slice } = this.at
    await this.bringUp()
    await this.snapshots()
    await this.check('while it runs on')

    await this.killOne()
    const rolledBack = await this.restore('violin_rollback')
    this.report.rollback = rolledBack
    this.say(`rolled back: running again after ${rolledBack.runningMs} ms, first frames after ${rolledBack.firstFrameMs} ms`)
    await this.at.clock.sleep(livesMs)
    await this.check('after the rollback')

    await slice.action('violin_suspend')
    await slice.waitFor('violin_suspended', operationMs)
    const left = vmPids(this.vms()).size
    if (left > 0) this.fail(`${left} processes of VMs are left after the suspension`)
    this.say('suspended: no process of a VM is left')
    const resumed = await this.restore('violin_resume')
    this.report.resume = resumed
    this.say(`resumed: running again after ${resumed.runningMs} ms, first frames after ${resumed.firstFrameMs} ms`)
    await this.at.clock.sleep(livesMs)
    await this.check('after the resumption')

    await this.recoverByItself()
    await this.at.clock.sleep(livesMs)
    await this.check('after the recovery')

    await this.noteSnapshots()
    return this.finish()
  }

  /** Before: run() has ended. After: the slice is gone. */
  async cleanUp(): Promise<void> {
    this.hangUp()
    await this.at.slice.delete()
    const gone = await until(this.at.clock, operationMs, 200, () => (vmPids(this.vms()).size === 0 ? true : undefined))
    if (!gone) throw new Failure('timed-out', 'VMs are left after Delete')
    this.say('deleted')
  }

  /** Ends the logins; what runs in the VMs goes on. */
  hangUp(): void {
    for (const bank of this.banks) bank.close()
  }

  finish(): DemoReport {
    this.report.ok = this.report.reasons.length === 0
    this.report.seconds = Math.round((this.at.clock.monotonic() - this.begun) / 100) / 10
    return this.report
  }

  fail(reason: string): void {
    this.report.reasons.push(reason)
    this.say(`NOT OK: ${reason}`)
  }

  private async bringUp(): Promise<void> {
    const { slice, user } = this.at
    await slice.allocate(this.at.rspec)
    const provisioned = await slice.provision([{ urn: user.urn, keys: [user.publicKey] }])
    this.logins = loginsOf(text(provisioned, 'geni_rspec'))
    this.say(`provisioned ${this.logins.map((l) => l.clientId).join(', ')}`)
    await slice.waitFor('geni_notready', operationMs)
    await slice.action('geni_start')
    let ready = -1
    await slice.waitFor('geni_ready', readyMs, ['geni_failed'], (slivers) => {
      const now = slivers.filter((s) => s.operational === 'geni_ready').length
      if (now !== ready) this.say(`${now} of ${slivers.length} nodes are ready`)
      ready = now
    })
    this.banks = this.logins.map((l) => openBank({ name: l.clientId, host: l.host, port: l.port, username: l.username, privateKey: user.privateKey }))
    const running = await until(this.at.clock, bankMs, 300, async () => {
      const reports = await Promise.all(this.banks.map((b) => b.report().catch(() => undefined)))
      return reports.every((r) => r?.state === 'running') ? true : undefined
    })
    if (!running) throw new Failure('timed-out', 'the bank did not begin: see /var/log/execute-00.log on the nodes')
    this.say('the bank runs: coins move between all nodes')
  }

  private async snapshots(): Promise<void> {
    const { slice } = this.at
    const first = await slice.waitForSnapshot((s) => text(s, 'origin') === 'policy', operationMs)
    this.note(first)
    const [answer] = await this.untilFree(() => slice.action('violin_snapshot', { violin_name: 'demo' }))
    const urn = text(answer!, 'violin_snapshot')
    this.note(await slice.waitForSnapshot((s) => text(s, 'urn') === urn, operationMs))
    await slice.waitFor('geni_ready', operationMs)
  }

  private kill(victim: string): number {
    const pid = vmPids([victim]).get(victim)
    if (pid === undefined) throw new Failure('failed', `${victim} has no process`)
    process.kill(pid, 'SIGKILL')
    return pid
  }

  /** With a policy that says so, nobody calls anything. */
  private async recoverByItself(): Promise<void> {
    const { slice, clock } = this.at
    await slice.action('violin_set_policy', { violin_policy: guarded })
    await slice.waitFor('geni_ready', operationMs)
    const pid = this.kill(this.vms()[1]!)
    const begun = clock.monotonic()
    const back = await until(clock, operationMs, 50, async () => {
      const slivers = await slice.status()
      return slivers.every((s) => s.operational === 'geni_ready' && s.resourceStatus.includes('recovered by itself')) ? slivers[0] : undefined
    })
    if (!back) {
      this.fail('a VM was killed under on_failure="rollback", and the slice has not recovered by itself')
      return
    }
    this.report.recovery = { runningMs: Math.round(clock.monotonic() - begun) }
    this.say(`killed ${this.logins[1]!.clientId} (kill -9 ${pid}) under on_failure="rollback", and called nothing: ${back.resourceStatus}`)
  }

  private async killOne(): Promise<void> {
    const victim = this.vms()[0]!
    const pid = this.kill(victim)
    const status = await until(this.at.clock, 30_000, 100, async () =>
      (await this.at.slice.status()).find((s) => s.urn.endsWith(victim) && s.operational === 'geni_failed'))
    if (!status) this.fail(`${victim} was killed, and Status does not say so`)
    else this.say(`killed the VM ${this.logins[0]!.clientId} (kill -9 ${pid}): Status says ${status.operational}, ${status.error}`)
  }

  /** An action that restores, and its figures from the sliver states' text. */
  private async restore(action: 'violin_rollback' | 'violin_resume'): Promise<RestoreFigures> {
    const { slice } = this.at
    await this.untilFree(() => slice.action(action))
    const slivers = await slice.waitFor('geni_ready', operationMs)
    const figures = /running again after (\d+) ms(?:, first frames after (\d+) ms)?/.exec(slivers[0]!.resourceStatus)
    return { runningMs: Number(figures?.[1] ?? '0'), firstFrameMs: Number(figures?.[2] ?? '0') }
  }

  /** Stops the bank for counting, judges it, lets it go on. */
  private async check(when: string): Promise<void> {
    const reports = await quiesce(this.banks, this.at.clock)
    const check = checkBank(reports)
    this.report.check = addSums(this.report.check, check)
    for (const finding of check.findings) this.fail(`${when}: ${finding}`)
    if (check.ok) {
      const moved = reports.reduce((sum, r) => sum + r.report.channels.reduce((n, c) => n + c.sent, 0), 0)
      this.say(`checked ${when}: ${moved} coin messages sent, none lost, doubled or early; TCP whole; disk = RAM`)
    }
    for (const bank of this.banks) await bank.go()
  }

  private async noteSnapshots(): Promise<void> {
    for (const snapshot of await this.at.slice.snapshots()) this.note(snapshot)
  }

  private note(snapshot: Parameters<typeof snapshotReport>[0]): void {
    const report = snapshotReport(snapshot)
    if (this.seen.has(report.id)) return
    this.seen.add(report.id)
    this.report.snapshots.push(report)
    this.say(snapshotLine(report))
  }

  /** Asks again while the slice is busy for a moment (code 14). */
  private async untilFree<T>(ask: () => Promise<T>): Promise<T> {
    let last: unknown
    const done = await until(this.at.clock, 30_000, 300, async () => {
      try {
        return { value: await ask() }
      } catch (error) {
        last = error
        if ((error as { geniCode?: number }).geniCode !== 14) throw error
        return undefined
      }
    })
    if (!done) throw last
    return done.value
  }

  private vms(): string[] {
    return this.logins.map((l) => l.sliver.split('+').at(-1)!)
  }

  private say(line: string): void {
    const seconds = (this.at.clock.monotonic() - this.begun) / 1000
    this.at.say(`[${seconds.toFixed(1).padStart(6)} s] ${line}`)
  }
}
