// Many live snapshots of four VMs under bank load, one after the other: each is verified from its files, the oldest go, and at the end
// all that are kept are restored, one after another. Beside it the same time without snapshots, for what TCP does by itself.
import { resolve } from 'node:path'
import { distribution, type Distribution } from '../../bench/distribution.js'
import { explain } from '../../base/errors.js'
import { realClock as clock } from '../../base/time.js'
import { demoRequest } from '../../cli/demo/request.js'
import { text } from '../../cli/demo/slice-client.js'
import { FaultRig, type HypervisorKind } from '../faults/rig.js'
import { pausesOf, takeSnapshot } from '../faults/take-snapshot.js'
import { added, between, judged, readTcp, tcpNames, type Figures } from '../workloads/figures.js'
import { Guest } from '../workloads/guest.js'
import { sample, type Sample } from './flat.js'
import { verifySnapshot } from './verify-snapshot.js'

interface Result {
  ok: boolean
  wrong: string[]
  taken: number
  verified: number
  aborted: string[]
  notCovered: number
  restored: number
  kept: number
  figures: { snapshots: Figures; control: Figures }
  /** In which part of the series TCP of a guest waited until its retransmission timer. */
  timeouts: string[]
  seconds: { snapshots: number; control: number }
  pauseMs: Distribution
  skewMs: Distribution
  committedMs: Distribution
  everyMs: Distribution
  samples: Sample[]
}

const nodes = 4
const keep = 20
/** Samples at each end that a median is taken of. */
const window = 10
const allowed = 0.2
const root = resolve(import.meta.dirname, '..', '..')

export async function verified(at: { hypervisor: HypervisorKind; count: number; everyMs: number; say: (line: string) => void }): Promise<Result> {
  const rig = new FaultRig(at.hypervisor)
  const run = new Run(rig, at)
  try {
    await run.all()
  } catch (error) {
    run.result.wrong.push(explain(error))
  }
  run.hangUp()
  const { result } = run
  result.ok = result.wrong.length === 0
  if (result.ok) await rig.close()
  else {
    at.say(`state and logs: ${rig.state}`)
    await rig.abandon()
  }
  for (const line of table(result)) at.say(line)
  for (const wrong of result.wrong) at.say(`NOT OK: ${wrong}`)
  return result
}

class Run {
  readonly result: Result = {
    ok: false, wrong: [], taken: 0, verified: 0, aborted: [], notCovered: 0, restored: 0, kept: 0, figures: { snapshots: {}, control: {} }, timeouts: [],
    seconds: { snapshots: 0, control: 0 }, pauseMs: distribution([]), skewMs: distribution([]), committedMs: distribution([]), everyMs: distribution([]), samples: [],
  }
  private readonly rig: FaultRig
  private readonly at: { count: number; everyMs: number; say: (line: string) => void }
  private guests: Guest[] = []
  private kept: string[] = []
  private readonly timedOut = new Map<string, number>()

  constructor(rig: FaultRig, at: { count: number; everyMs: number; say: (line: string) => void }) {
    this.rig = rig
    this.at = at
  }

  async all(): Promise<void> {
    const { rig, result } = this
    await rig.bringUp(demoRequest(root, nodes).replace(/<violin:rspec_checkpoint[^]*?<\/violin:rspec_checkpoint>/, ''))
    await rig.openBanks()
    this.guests = rig.guests.map((login) => new Guest(login, clock))
    result.figures.snapshots = await this.counted('snapshots', () => this.series())
    this.at.say(`${result.verified} of ${result.taken} verified, pause ms: ${JSON.stringify(result.pauseMs)}, committed ms: ${JSON.stringify(result.committedMs)}`)
    await rig.assertConserved()
    const ms = result.seconds.snapshots * 1000
    this.at.say(`now ${Math.round(ms / 1000)} s without snapshots`)
    result.figures.control = await this.counted('control', () => this.control(ms))
    await rig.assertConserved()
    this.judge()
    this.hangUp()
    await this.restoreAll()
  }

  hangUp(): void {
    for (const guest of this.guests) guest.hangUp()
  }

  private async counted(phase: 'snapshots' | 'control', what: () => Promise<void>): Promise<Figures> {
    const before = await this.look()
    const begun = clock.monotonic()
    await what()
    const after = await this.look()
    this.result.seconds[phase] = Math.round((clock.monotonic() - begun) / 100) / 10
    return between(before, after)
  }

  private async look(): Promise<Figures> {
    return added(...await this.lookAtAll())
  }

  private lookAtAll(): Promise<Figures[]> {
    return Promise.all(this.guests.map(async (guest) => readTcp(await guest.run('cat /proc/net/snmp /proc/net/netstat'))))
  }

  /** As often with snapshots as without: looking is work for a guest as well. */
  private async noteTimeouts(when: string): Promise<void> {
    for (const [i, figures] of (await this.lookAtAll()).entries()) {
      const { name } = this.guests[i]!
      const before = this.timedOut.get(name)
      const now = figures['TCPTimeouts']!
      this.timedOut.set(name, now)
      if (before === undefined || now <= before) continue
      this.result.timeouts.push(`${when}, ${name}: ${now - before}`)
      this.at.say(`${now - before} RTO time-outs of ${name}, ${when}`)
    }
  }

  private async control(ms: number): Promise<void> {
    const end = clock.monotonic() + ms
    const everyMs = ms / this.at.count
    for (let n = 1; n <= this.at.count; n++) {
      await clock.sleep(Math.min(everyMs, Math.max(0, end - clock.monotonic())))
      await this.noteTimeouts(`in part ${n} of the control`)
    }
  }

  private async series(): Promise<void> {
    const { rig, at, result } = this
    const figures = { pauses: [] as number[], skews: [] as number[], committed: [] as number[], gaps: [] as number[] }
    let begun = -Infinity
    await this.noteTimeouts('before')
    for (let n = 1; n <= at.count; n++) {
      await clock.sleep(Math.max(0, begun + at.everyMs - clock.monotonic()))
      if (n > 1) figures.gaps.push(clock.monotonic() - begun)
      begun = clock.monotonic()
      const { id, entry, why } = await takeSnapshot(rig)
      result.taken++
      if (!entry) {
        result.aborted.push(why)
        at.say(`snapshot ${n} was aborted: ${why}`)
        continue
      }
      await this.noteTimeouts(`at snapshot ${n} with pauses of ${pausesOf(entry).join(', ')} ms`)
      const verdict = await verifySnapshot(rig.state, rig.sliceUuid, id)
      if (verdict.wrong.length === 0) result.verified++
      else result.wrong.push(...verdict.wrong.map((wrong) => `snapshot ${n}: ${wrong}`))
      if (verdict.notCovered.length > 0) result.notCovered++
      figures.pauses.push(...pausesOf(entry))
      figures.skews.push(Number(text(entry, 'skew_ms')))
      figures.committed.push(Number(text(entry, 'committed_ms')))
      this.kept.push(id)
      await this.prune()
      result.samples.push(sample(rig, n, Math.max(...pausesOf(entry))))
      if (n % 10 === 0) at.say(`${n} taken, ${result.verified} verified; ${JSON.stringify(result.samples.at(-1))}`)
    }
    Object.assign(result, {
      pauseMs: distribution(figures.pauses), skewMs: distribution(figures.skews), committedMs: distribution(figures.committed), everyMs: distribution(figures.gaps),
    })
  }

  private async prune(): Promise<void> {
    for (const old of this.kept.splice(0, Math.max(0, this.kept.length - keep))) {
      await this.rig.whenFree(() => this.rig.slice.action('violin_delete', { violin_snapshot: old }))
    }
  }

  private async restoreAll(): Promise<void> {
    const { rig, result } = this
    result.kept = this.kept.length
    for (const id of this.kept) {
      await rig.rollBack(id)
      await rig.assertMoving()
      await rig.assertConserved()
      result.restored++
      this.at.say(`restored ${result.restored} of ${result.kept}, nothing lost`)
    }
  }

  private judge(): void {
    const { result } = this
    const { snapshots, control } = result.figures
    for (const name of judged) {
      if (snapshots[name]! > control[name]!) result.wrong.push(`${name}: ${snapshots[name]} with snapshots, ${control[name]} in the control`)
    }
    if (result.aborted.length > 0) result.wrong.push(`${result.aborted.length} of ${result.taken} snapshots were aborted`)
    for (const { what, first, last, ok } of growth(result.samples)) if (!ok) result.wrong.push(`${what} grew from ${first} to ${last}`)
  }
}

interface Growth { what: string; first: number; last: number; ok: boolean }

/** Once as many snapshots are kept as ever will be. */
function growth(samples: Sample[]): Growth[] {
  const steady = samples.slice(Math.min(keep, Math.max(0, samples.length - 2 * window)))
  const row = (what: string, of: (s: Sample) => number): Growth => {
    const median = (part: Sample[]) => distribution(part.map(of)).median
    const [first, last] = [median(steady.slice(0, window)), median(steady.slice(-window))]
    return { what, first, last, ok: !(last > first * (1 + allowed)) }
  }
  return [
    row('open files, all processes', (s) => s.files), row('open files, one VM', (s) => s.vmFiles), row('memory of our processes, MiB', (s) => s.memoryMiB),
    row('layers of one disk', (s) => s.layers),
  ]
}

function table(result: Result): string[] {
  const { snapshots, control } = result.figures
  const round = (ms: number) => Math.round(ms * 10) / 10
  const spread = (what: string, d: Distribution) => `| ${what} | ${[d.median, d.p90, d.p99, d.max].map(round).join(' | ')} | ${d.n} |`
  return [
    '', `${result.taken} taken, ${result.verified} verified, ${result.aborted.length} aborted, ${result.notCovered} with something that the proof does not cover; ` +
      `${result.restored} of ${result.kept} kept ones restored`,
    '', '| ms | median | p90 | p99 | max | n |', '| --- | --- | --- | --- | --- | --- |', spread('pause', result.pauseMs), spread('skew', result.skewMs),
    spread('until committed', result.committedMs), spread('from one to the next', result.everyMs),
    '', `| | ${result.seconds.snapshots} s with snapshots | ${result.seconds.control} s without |`, '| --- | --- | --- |',
    ...tcpNames.map((name) => `| ${name} | ${snapshots[name] ?? '?'} | ${control[name] ?? '?'} |`),
    '', '| | first | last | |', '| --- | --- | --- | --- |', ...growth(result.samples).map((g) => `| ${g.what} | ${g.first} | ${g.last} | ${g.ok ? 'ok' : '**no**'} |`), '',
  ]
}
