// A host's side of a restore: the new run is made beside the present one, paused, with its recorded frames queued. Only
// when the outcome says GO does the old run end; until then it is not touched (cut protocol, "Restore").
import { readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { makeFolder, removeDurably, writeDurably } from '../base/durable.js'
import { explain, Failure, Refusal } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { limits } from '../base/limits.js'
import { readableOr, readRecord } from '../base/records.js'
import { until } from '../base/time.js'
import { Turns } from '../base/turns.js'
import { noRun } from '../overlay/run.js'
import { readOutcome, writeOutcome, type OutcomeRecord } from '../snapshots/image-store.js'
import type { Part, RestoreHeader, RestoreOrder, WentReport } from '../snapshots/messages.js'
import type { CutHostParts } from './cut-host.js'
import { restoreJournalForm, verifyPart, wentForm, type Journal, type Ready } from './restore-journal.js'
import type { Vm } from './hypervisor/hypervisor.js'
import type { SliceMarks } from './slice-marks.js'
import { takeOver } from './take-over.js'

export interface RestoreHostParts extends Omit<CutHostParts, 'watchRoom'> { marks: SliceMarks }

const firstFrameMs = 1_000
const loginMs = 2_000

export class RestoreHost {
  private readonly ready = new Map<string, Ready>()
  /** Layers of restores of which journal or outcome cannot be read. */
  private readonly leftAlone: string[] = []
  private readonly turns = new Turns()
  private readonly folder: string
  private readonly at: RestoreHostParts

  constructor(folder: string, parts: RestoreHostParts) {
    this.folder = folder
    this.at = parts
  }

  /** After an agent's death: a restore that was decided goes on, any other one is given up. */
  async recover(): Promise<void> {
    await makeFolder(this.folder)
    for (const file of (await readdir(this.folder)).filter((f) => f.endsWith('.json'))) {
      const op = file.slice(0, -'.json'.length)
      const read = async (): Promise<[Journal, OutcomeRecord]> => {
        const journal = (await readRecord(this.path(op), restoreJournalForm))!
        return [journal, await this.outcomeOf(journal.order, 'the agent was restarted')]
      }
      const found = await readableOr(read, (why) => this.at.log.error({ op, why }, 'journal or outcome of a restore cannot be read: it is left alone'))
      if (found) await this.recoverOne(...found)
      else this.leftAlone.push(...(await readdir(this.at.layers.folder)).filter((name) => name.endsWith(`.${op}.qcow2`)))
    }
  }

  private async recoverOne(journal: Journal, { outcome }: OutcomeRecord): Promise<void> {
    const { order } = journal
    const vms: Vm[] = []
    const lost: Ready['lost'] = []
    for (const instance of journal.instances) {
      const vm = this.inPlace(order, instance.spec.vm) ?? await takeOver(this.at, instance)
      if ('why' in vm) lost.push({ instance, why: vm.why })
      else vms.push(vm)
    }
    const readyAt = this.at.clock.monotonic() - limits.restoreMs // what fails now is tried again at the next look, and keeps no agent from starting
    this.ready.set(order.op, { journal, vms, replayed: 0, readyAt, lost, placed: new Set() })
    const notYet = (error: unknown) => this.at.log.error({ op: order.op, why: explain(error) }, 'a decided restore does not come to its end: tried again')
    if (outcome === 'commit') await this.go(order).catch(notYet) // without those that have died: GO holds, and others of it may run already (hole 48)
    else await this.abort(order).catch((error: unknown) => this.stillToBeGivenUp(order, error))
  }

  /** READY and no word for longer than a restore takes: the outcome decides, and where there is none it becomes abort. */
  async checkOutcomes(): Promise<void> {
    for (const { journal, readyAt, givenUp } of [...this.ready.values()]) {
      if (givenUp) {
        await this.abort(journal.order).catch((error: unknown) => this.stillToBeGivenUp(journal.order, error))
        continue
      }
      if (readyAt === 0 || this.at.clock.monotonic() - readyAt < limits.restoreMs) continue
      const decide = () => this.outcomeOf(journal.order, 'no word came')
      const held = await readableOr(decide, (why) => this.at.log.error({ op: journal.order.op, why }, 'an outcome cannot be read: its restore waits'))
      if (held?.outcome === 'commit') await this.go(journal.order)
      else if (held) await this.abort(journal.order)
    }
  }

  /**
   * A restore that was decided and failed on its way goes to its end before anything else is done with its slice: else it would go on
   * later, over what was done meanwhile (hole 47).
   */
  async settle(slice: string): Promise<void> {
    for (const { journal: { order } } of [...this.ready.values()].filter((r) => r.journal.order.slice === slice)) {
      const decided = await readOutcome(join(this.at.store, slice, 'restores', `${order.op}.outcome`))
      if (decided?.outcome === 'commit') await this.go(order)
    }
  }

  /** Layers of a restore that is not over belong to nobody's record yet. */
  layersInUse(): string[] {
    return [...this.disks().flatMap((disk) => disk.layers), ...this.leftAlone]
  }

  /** Of VMs that are being made. */
  pids(): number[] {
    return [...this.ready.values()].flatMap(({ vms }) => vms.flatMap(({ instance: { pid } }) => pid ?? []))
  }

  /** Is there a restore of this VM whose journal or outcome cannot be read? Its layers tell. */
  isUnreadable(vm: string): boolean {
    return this.leftAlone.some((layer) => layer.startsWith(`${vm}.`))
  }

  /** The disks of VMs that are being made. */
  disks(): { diskMiB: number; layers: string[] }[] {
    return [...this.ready.values()].flatMap((r) => r.journal.instances.map((i) => ({ diskMiB: i.spec.diskMiB, layers: i.layers })))
  }

  /** Is a restore of this slice under way? */
  isRestoring(slice: string): boolean {
    return [...this.ready.values()].some(({ journal }) => journal.order.slice === slice)
  }

  /** One thing at a time for a slice: what an earlier worker has begun is ended before the next begins. */
  prepare(order: RestoreOrder): Promise<{ replayed: number }> {
    return this.turns.run(order.slice, () => this.prepareNow(order))
  }

  go(header: RestoreHeader): Promise<WentReport> {
    return this.turns.run(header.slice, () => this.goNow(header))
  }

  abort(header: RestoreHeader): Promise<null> {
    return this.turns.run(header.slice, () => this.abortNow(header))
  }

  private async prepareNow(order: RestoreOrder): Promise<{ replayed: number }> {
    const before = this.ready.get(order.op)
    if (before?.givenUp) throw new Failure('aborted', `restore ${order.op} was given up`)
    if (before) return { replayed: before.replayed }
    for (const { vm } of order.vms) this.at.registry.refuseUnreadable(vm)
    await this.at.switchLink.whenBack()
    const marks = await this.at.marks.fence(order.slice, order.token)
    if (order.run <= marks.run) throw new Refusal('refused', `run ${order.run} is not later than ${marks.run}, seen before`)
    await this.supersede(order)
    await this.at.marks.raise(order.slice, { run: order.run, k: order.epoch, token: order.token })
    const journal: Journal = { format: 1, order, instances: [] }
    const vms: Vm[] = []
    const lost: Ready['lost'] = []
    const placed = new Set<string>()
    this.ready.set(order.op, { journal, vms, replayed: 0, readyAt: 0, lost, placed })
    try {
      const present = new Map(order.vms.map((sealed) => [sealed.vm, this.at.layers.present(sealed.layers)])) // for both: what is loaded is what is verified
      const ends = await Promise.allSettled([this.verify(order, present), this.load(journal, vms, present)])
      for (const end of ends) if (end.status === 'rejected') throw end.reason
      faultPoint('agent.restore.loaded')
      const replayed = await this.connect(order, vms)
      faultPoint('agent.restore.replayed')
      this.tell(order, 'restore prepared', { snapshot: order.snapshot, replayed })
      this.ready.set(order.op, { journal, vms, replayed, readyAt: this.at.clock.monotonic(), lost, placed })
      return { replayed }
    } catch (error) {
      this.tell(order, 'restore cannot be prepared', { why: explain(error) })
      await this.abortNow(order).catch((again: unknown) => this.stillToBeGivenUp(order, again))
      throw error
    }
  }

  /** What an earlier worker had prepared for this slice and not decided is given up; what it had decided is done first. */
  private async supersede(order: RestoreOrder): Promise<void> {
    for (const { journal } of [...this.ready.values()].filter((r) => r.journal.order.slice === order.slice)) {
      const outcome = await this.outcomeOf(journal.order, 'a later restore began')
      if (outcome.outcome === 'commit') await this.goNow(journal.order)
      else await this.abortNow(journal.order)
    }
  }

  private async goNow(header: RestoreHeader): Promise<WentReport> {
    const restore = this.ready.get(header.op)
    if (!restore) return this.wentBefore(header)
    if (restore.journal.went) return this.remembered(restore, restore.journal.went)
    const { order } = restore.journal
    this.tell(order, 'restore goes')
    faultPoint('agent.restore.going')
    const old = await this.at.marks.get(order.slice)
    const { placed } = restore
    await Promise.all(order.vms.filter(({ vm }) => !placed.has(vm) && !this.inPlace(order, vm)).map(({ vm }) => this.endOld(vm)))
    if (old.current !== noRun && old.current !== order.run) {
      await this.at.switchLink.ask('closeRun', { slice: order.slice, run: old.current })
    }
    faultPoint('agent.restore.old-ended')
    await this.at.marks.raise(order.slice, { current: order.run })
    faultPoint('agent.restore.current')
    await this.connectAgain(restore)
    await Promise.all(restore.vms.map((vm) => this.resumeOrMourn(vm)))
    faultPoint('agent.restore.resumed')
    await Promise.all(order.vms.map(({ vm }) => this.at.switchLink.ask('thaw', { slice: order.slice, run: order.run, k: order.epoch, op: order.op, vm })))
    faultPoint('agent.restore.running')
    const runningAt = this.at.clock.now()
    await Promise.all(restore.vms.filter((vm) => vm.ended === undefined).map((vm) => this.openLogin(vm)))
    await this.putInPlace(restore)
    if (restore.uncounted) await this.at.registry.calibrateSlice(order.slice)
    const frame = await this.firstFrames(order)
    const went: WentReport = { runningAt, ...(frame !== undefined ? { firstFrameMs: frame } : {}) }
    restore.journal.went = went
    this.tell(order, 'restore done', went)
    return this.remembered(restore, went)
  }

  /** Each has a record, alive or dead. Once: what has become of it since is not undone, only written down. */
  private async putInPlace({ journal: { order }, vms, lost, placed }: Ready): Promise<void> {
    const { registry } = this.at
    for (const vm of vms) {
      const { spec } = vm.instance
      if (placed.has(spec.vm) || this.inPlace(order, spec.vm)) await registry.disks.note(spec.vm)
      else {
        placed.add(spec.vm)
        await registry.replace(spec.vm, spec, vm)
      }
      faultPoint('agent.restore.replaced')
    }
    for (const { instance, why } of lost.filter((l) => !placed.has(l.instance.spec.vm))) {
      await registry.mourn(instance, why)
      placed.add(instance.spec.vm)
    }
  }

  /** What cannot be written down now is not over: it would be taken for one that has still to go, and long after. */
  private async remembered({ journal: { order } }: Ready, went: WentReport): Promise<WentReport> {
    await this.remember(order.op, went)
    this.ready.delete(order.op)
    return went
  }

  private async abortNow(header: RestoreHeader): Promise<null> {
    const restore = this.ready.get(header.op)
    if (restore) restore.givenUp = true
    faultPoint('agent.restore.giving-up')
    for (const vm of restore?.vms ?? []) await vm.kill()
    faultPoint('agent.restore.killed')
    await this.at.switchLink.ask('closeRun', { slice: header.slice, run: header.run })
    for (const instance of restore?.journal.instances ?? []) {
      await rm(instance.layers.at(-1)!, { force: true })
      for (const path of [instance.monitor, ...instance.nicSockets]) await rm(path, { force: true })
    }
    faultPoint('agent.restore.unmade')
    await removeDurably(this.path(header.op))
    this.ready.delete(header.op) // last: what has failed on the way is done again (checkOutcomes)
    if (restore) this.tell(header, 'restore given up')
    return null
  }

  private stillToBeGivenUp({ op }: RestoreHeader, error: unknown): void {
    this.at.log.warn({ op, why: explain(error) }, 'a restore is still to be given up')
  }

  /** By its operation, as cuts are told: one word finds it in the logs of all processes. */
  private tell({ op, slice, run }: RestoreHeader, line: string, more: object = {}): void {
    this.at.log.info({ op, slice, run, ...more }, line)
  }

  /** GO holds: one that has died since READY is a VM of the new run that has died, and the others run. It cannot be waited for. */
  private async resumeOrMourn(vm: Vm): Promise<void> {
    try {
      await vm.resume()
    } catch (error) {
      if (vm.ended === undefined) throw error
      this.at.log.warn({ vm: vm.instance.spec.vm, why: explain(error) }, 'it has died before it could run')
    }
  }

  /** A login that cannot be opened is told and costs no more: the VM runs. */
  private async openLogin(vm: Vm): Promise<void> {
    let why = ''
    const opened = await until(this.at.clock, loginMs, 20, () => vm.openLogin().then(() => true, (error: unknown) => {
      why = explain(error)
      return undefined
    }))
    if (!opened) this.at.log.error({ vm: vm.instance.spec.vm, why }, 'it runs without a management login')
  }

  private async load(journal: Journal, vms: Vm[], present: Map<string, Part[]>): Promise<void> {
    const { order } = journal
    journal.instances.push(...order.vms.map((sealed) => {
      const frozen = present.get(sealed.vm)!.map((l) => this.at.layers.path(l.name))
      return this.at.registry.instanceOf(sealed.spec, order.run, [...frozen, this.at.layers.path(`${sealed.vm}.${order.op}.qcow2`)])
    }))
    const made = await Promise.allSettled([
      this.write(journal), // names what is being made: whoever finds it removes it
      ...journal.instances.map(({ layers, spec }) => this.at.layers.create(basename(layers.at(-1)!), { base: layers.at(-2)!, sizeMiB: spec.diskMiB })),
    ])
    for (const end of made) if (end.status === 'rejected') throw end.reason
    faultPoint('agent.restore.layers')
    const ends = await Promise.allSettled(order.vms.map(async (sealed, i) => {
      const vm = await this.at.hypervisor.load(journal.instances[i]!, this.part(order, sealed.memory))
      vms.push(vm)
    }))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
    await this.write(journal) // now with pids: the next agent finds the processes
  }

  private async verify(order: RestoreOrder, present: Map<string, Part[]>): Promise<void> {
    await Promise.all([
      ...[...order.vms.map((sealed) => sealed.memory), order.channels].map((part) => verifyPart(this.part(order, part), part)),
      ...[...present.values()].map((layers) => this.at.layers.verify(layers)),
    ])
  }

  private async connect(order: RestoreOrder, vms: Vm[], ran: Vm[] = []): Promise<number> {
    const { slice, run } = order
    await this.at.switchLink.ask('openRun', { slice, run, epoch: order.epoch })
    const counting = new Map(order.ports.map((p) => [p.port, {
      seq: p.seq, gated: true, ...(p.witnessed ? { base: { usedRx: p.usedRx, usedTx: p.usedTx, vring: p.vring } } : {}),
    }]))
    for (const vm of vms) {
      if (ran.includes(vm)) await this.at.registry.connectAgain(vm)
      else await this.at.registry.connect(vm.instance, counting)
    }
    faultPoint('agent.restore.connected')
    const { frames } = await this.at.switchLink.ask('replay', { slice, run, file: this.part(order, order.channels) })
    return frames
  }

  /**
   * A switch that was restarted since READY knows nothing of the new run: ports and recorded frames again. GO may have come as far as
   * letting VMs run before: those have had their frames, and what they have sent since is counted by nobody (cut protocol, hole 44).
   */
  private async connectAgain(restore: Ready): Promise<void> {
    const { order } = restore.journal
    const known = await this.at.switchLink.ask('stats', { slice: order.slice, run: order.run }).then(({ ports }) => ports, (error: unknown) => {
      if (error instanceof Refusal && error.code === 'not-found') return undefined
      throw error
    })
    const lacks = (vm: Vm) => vm.instance.spec.nics.some((nic) => !known?.some((p) => p.port === nic.port && p.replayed !== false))
    const vms = restore.vms.filter((vm) => vm.ended === undefined)
    if (known && !vms.some(lacks)) return
    const runs = await Promise.all(vms.map((vm) => vm.isRunning()))
    const ran = vms.filter((_, i) => runs[i])
    if (ran.length > 0) restore.uncounted = true
    await this.connect(order, vms, ran)
  }

  /** The VM of the new run, where it has taken its place already: an agent may die after that, and the next one goes on from there. */
  private inPlace(order: RestoreOrder, name: string): Vm | undefined {
    return this.at.registry.runningOf(order.slice).find((vm) => vm.instance.spec.vm === name && vm.instance.run === order.run)
  }

  private async endOld(vm: string): Promise<void> {
    try {
      await this.at.registry.stop(vm, 'rolled back')
    } catch (error) {
      if (!(error instanceof Refusal)) throw error // a resumed or forked VM has no older life here
    }
  }

  /** ms from now until the switch has read a frame from every VM. */
  private async firstFrames(order: RestoreOrder): Promise<number | undefined> {
    const begun = this.at.clock.monotonic()
    const all = await until(this.at.clock, firstFrameMs, 4, async () => {
      const { ports } = await this.at.switchLink.ask('stats', { slice: order.slice, run: order.run })
      return order.vms.every((v) => ports.some((p) => p.vm === v.vm && p.framesRead > 0)) ? true : undefined
    }).catch((error: unknown) => {
      this.at.log.warn({ why: explain(error) }, 'the first frames could not be seen')
      return undefined
    })
    return all ? this.at.clock.monotonic() - begun : undefined
  }

  private async wentBefore(header: RestoreHeader): Promise<WentReport> {
    const went = await readRecord(`${this.path(header.op)}.went`, wentForm)
    if (!went) throw new Refusal('not-found', `restore ${header.op} is not prepared on this host`)
    return went
  }

  private async remember(op: string, went: WentReport): Promise<void> {
    faultPoint('agent.restore.before-went')
    await writeDurably(`${this.path(op)}.went`, JSON.stringify({ format: 1, ...went }))
    faultPoint('agent.restore.went')
    await removeDurably(this.path(op))
  }

  private async write(journal: Journal): Promise<void> {
    faultPoint('agent.restore.before-journal')
    await writeDurably(this.path(journal.order.op), JSON.stringify(journal))
    faultPoint('agent.restore.journal')
  }

  /** What was decided; where nothing was, it is abort from here on. The folder is the worker's, and may not have outlived a crash of its host. */
  private async outcomeOf({ slice, op }: { slice: string; op: string }, why: string): Promise<OutcomeRecord> {
    const folder = join(this.at.store, slice, 'restores')
    await makeFolder(folder)
    return writeOutcome(join(folder, `${op}.outcome`), { format: 1, outcome: 'abort', why })
  }

  private part(order: RestoreOrder, part: Part): string {
    return join(this.at.store, order.slice, order.snapshot, part.name)
  }

  private path(op: string): string {
    return join(this.folder, `${op}.json`)
  }
}
