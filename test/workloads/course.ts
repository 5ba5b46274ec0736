// The course of a run: snapshots at intervals, VMs killed and the slice rolled back, suspended and resumed, with a look at all counters
// before each, and a check of the software's own state after each restore. Then the same time without anything of this.
import { explain, Failure } from '../../base/errors.js'
import type { Random } from '../../base/random.js'
import type { Clock } from '../../base/time.js'
import { text } from '../../cli/demo/slice-client.js'
import type { FaultRig } from '../faults/rig.js'
import { pausesOf, takeSnapshot } from '../faults/take-snapshot.js'
import { added, between, Lives, type Figures } from './figures.js'
import { Guest } from './guest.js'
import { within } from './patience.js'
import type { Workload } from './workload.js'

export interface CoursePlan { snapshots: number; rollbacks: number; suspends: number; suspendMs: number; everyMs: number; keep: number }
export type Step = 'snapshot' | 'rollback' | 'suspend'
export interface Phase { seconds: number; figures: Figures }
export interface Outcome {
  snapshots: { id: string; pausesMs: number[]; skewMs: number; committedMs: number }[]
  /** Why they were. */
  aborted: string[]
  rollbacks: number
  suspends: number
  findings: string[]
  course: Phase
  /** What of it came about from before a snapshot until it was committed, and from before the snapshot until some time after a restore. */
  around: { snapshots: Figures; restores: Figures }
  control: Phase
}
interface Kept { id: string; n: number }

const operationMs = 180_000
const progressMs = 120_000

/** Rollbacks and suspensions, spread evenly among the snapshots; never before the first of them. */
export function stepsOf({ snapshots, rollbacks, suspends }: CoursePlan): Step[] {
  const due = (n: number, of: number) => Math.ceil((n * snapshots) / of)
  const steps: Step[] = []
  let [backs, rests] = [0, 0]
  for (let n = 1; n <= snapshots; n++) {
    steps.push('snapshot')
    for (; backs < rollbacks && due(backs + 1, rollbacks) <= n; backs++) steps.push('rollback')
    for (; rests < suspends && due(rests + 1, suspends) <= n; rests++) steps.push('suspend')
  }
  return steps
}

export class Course {
  readonly outcome: Outcome = {
    snapshots: [], aborted: [], rollbacks: 0, suspends: 0, findings: [], course: { seconds: 0, figures: {} },
    around: { snapshots: {}, restores: {} }, control: { seconds: 0, figures: {} },
  }
  private readonly rig: FaultRig
  private readonly workload: Workload
  private readonly plan: CoursePlan
  private readonly at: { clock: Clock; random: Random; say(line: string): void }
  private readonly guests: Guest[]
  private kept: Kept[] = []
  private lives!: Lives
  private runningSince = 0
  private runningMs = 0

  constructor(rig: FaultRig, workload: Workload, plan: CoursePlan, at: { clock: Clock; random: Random; say(line: string): void }) {
    this.rig = rig
    this.workload = workload
    this.plan = plan
    this.at = at
    this.guests = rig.guests.map((login) => new Guest(login, at.clock))
  }

  async run(): Promise<Outcome> {
    const { at, outcome } = this
    await this.workload.begin(this.guests)
    at.say(`${this.workload.name} runs on ${this.guests.map((g) => g.name).join(', ')}`)
    this.lives = new Lives(await this.look())
    this.runningSince = at.clock.monotonic()
    for (const step of stepsOf(this.plan)) {
      await at.clock.sleep(this.plan.everyMs)
      if (step === 'snapshot') await this.snapshot()
      else if (step === 'rollback') await this.rollBack()
      else await this.suspend()
    }
    const last = await this.look()
    this.stand()
    outcome.course = { seconds: Math.round(this.runningMs / 1000), figures: this.lives.total(last) }
    await this.check('at the end of the course', [], [])
    await this.control()
    return outcome
  }

  hangUp(): void {
    for (const guest of this.guests) guest.hangUp()
  }

  /** As long as the course ran, with the same looks, marks and checks in the same order (each makes connections), and nothing else. */
  private async control(): Promise<void> {
    const { clock } = this.at
    this.at.say(`now ${Math.round(this.runningMs / 1000)} s without snapshots`)
    const first = await this.look()
    const begun = clock.monotonic()
    const left = () => this.runningMs - (clock.monotonic() - begun)
    for (const [n, step] of stepsOf(this.plan).entries()) {
      await clock.sleep(this.plan.everyMs)
      await this.look()
      if (step !== 'rollback') await this.workload.mark(this.guests, `control-${n}`)
      if (step === 'snapshot') await this.workload.mark(this.guests, `control-after-${n}`)
      else await this.check(`in the control, step ${n + 1}`, [], [])
    }
    let last = await this.look()
    while (left() > 0) {
      await clock.sleep(Math.min(this.plan.everyMs, left()))
      last = await this.look()
    }
    this.outcome.control = { seconds: Math.round((clock.monotonic() - begun) / 1000), figures: between(first, last) }
    await this.check('at the end of the control', [], [])
  }

  private async snapshot(): Promise<void> {
    const { rig, workload, outcome } = this
    const n = outcome.snapshots.length + outcome.aborted.length + 1
    await workload.mark(this.guests, `before-${n}`)
    const figures = await this.look()
    const { id, entry, why } = await takeSnapshot(rig)
    if (!entry) {
      outcome.aborted.push(why)
      this.at.say(`snapshot ${n} was aborted: ${why}`)
      return
    }
    outcome.around.snapshots = added(outcome.around.snapshots, between(figures, await this.look()))
    await workload.mark(this.guests, `after-${n}`)
    this.lives.beforeSnapshot(id, figures)
    this.kept.push({ id, n })
    outcome.snapshots.push({ id, pausesMs: pausesOf(entry), skewMs: Number(text(entry, 'skew_ms')), committedMs: Number(text(entry, 'committed_ms')) })
    this.at.say(`snapshot ${n}: pause ms ${pausesOf(entry).join(', ')}`)
    for (const old of this.kept.splice(0, Math.max(0, this.kept.length - this.plan.keep))) {
      await rig.whenFree(() => rig.slice.action('violin_delete', { violin_snapshot: old.id }))
    }
    await rig.ready()
  }

  /** A VM is killed, and the slice goes back to one of the snapshots that are kept. */
  private async rollBack(): Promise<void> {
    const { rig, at } = this
    const to = this.pick(this.kept)
    const last = await this.look()
    this.stand()
    this.hangUp()
    const victim = this.pick(rig.vmPids())
    process.kill(victim, 'SIGKILL')
    await within('Status says that a VM has died', 30_000, async () => (await rig.slice.status()).some((s) => s.operational === 'geni_failed'))
    await rig.whenFree(() => rig.slice.action('violin_rollback', { violin_snapshot: to.id }))
    await rig.slice.waitFor('geni_ready', operationMs, [])
    await this.restored(to.id, last)
    this.outcome.rollbacks++
    at.say(`rollback ${this.outcome.rollbacks}: killed process ${victim}, back to snapshot ${to.n}`)
    await this.check(`after rollback ${this.outcome.rollbacks}`, [`before-${to.n}`], [`after-${to.n}`])
  }

  private async suspend(): Promise<void> {
    const { rig, at } = this
    const last = await this.look()
    const mark = `suspend-${this.outcome.suspends + 1}`
    await this.workload.mark(this.guests, mark)
    this.hangUp()
    this.lives.beforeSnapshot(mark, last)
    await rig.whenFree(() => rig.slice.action('violin_suspend'))
    await rig.slice.waitFor('violin_suspended', operationMs)
    this.stand()
    if (rig.vmPids().length > 0) throw new Failure('failed', 'VMs are left after the suspension')
    at.say(`suspended for ${this.plan.suspendMs / 1000} s: no VM is left`)
    await at.clock.sleep(this.plan.suspendMs)
    await rig.whenFree(() => rig.slice.action('violin_resume'))
    await rig.slice.waitFor('geni_ready', operationMs, [])
    await this.restored(mark, last)
    this.outcome.suspends++
    at.say('resumed')
    await this.check(`after suspension ${this.outcome.suspends}`, [mark], [])
  }

  private stand(): void {
    this.runningMs += this.at.clock.monotonic() - this.runningSince
  }

  private async restored(id: string, last: Figures): Promise<void> {
    const { outcome, at } = this
    this.runningSince = at.clock.monotonic()
    const look = this.lives.restored(id, last)
    await at.clock.sleep(this.plan.everyMs)
    outcome.around.restores = added(outcome.around.restores, between(look, await this.look()))
  }

  /** The software's own state is whole, and it goes on. */
  private async check(when: string, present: string[], absent: string[]): Promise<void> {
    const before = await this.look()
    let findings: string[]
    try {
      findings = await this.workload.check(this.guests, present, absent)
    } catch (error) {
      findings = [explain(error)]
    }
    await within(`${this.workload.name} goes on ${when}`, progressMs, async () => (await this.look())['acknowledged']! > before['acknowledged']!)
      .catch((error: unknown) => { findings.push(explain(error)) })
    for (const finding of findings) this.at.say(`NOT OK: ${when}: ${finding}`)
    if (findings.length === 0) this.at.say(`checked ${when}: ${before['acknowledged']!} acknowledged, all there`)
    this.outcome.findings.push(...findings.map((finding) => `${when}: ${finding}`))
  }

  private look(): Promise<Figures> {
    return this.workload.figures(this.guests)
  }

  private pick<T>(from: T[]): T {
    if (from.length === 0) throw new Failure('failed', 'there is no snapshot to go back to, or no VM')
    return from[this.at.random.bytes(2).readUInt16BE() % from.length]!
  }
}
