// One VM with a QEMU process: running, cutting and ending it. The order of the commands is the one that was measured to
// be safe with QEMU 7.2 (docs/cut-protocol.md, "What QEMU does").
import { open, readFile, rm, type FileHandle } from 'node:fs/promises'
import { explain, Failure } from '../../../base/errors.js'
import { limits } from '../../../base/limits.js'
import type { Log } from '../../../base/log.js'
import { setUrgency, threadsOf } from '../../../base/priority.js'
import { until, within, type Clock } from '../../../base/time.js'
import type { DeviceWitness } from '../../../overlay/slice-net.js'
import type { CutPlan, Vm, VmInstance } from '../hypervisor.js'
import { Ending } from '../ending.js'
import { nicDevice } from './argv.js'
import { reserve } from './descriptors.js'
import { QemuDisk, type Overlay } from './qemu-disk.js'
import { killProcess, type ProcessRef } from '../process.js'
import { panicReason, tailOf } from './panic.js'
import type { Pacer } from './pacer.js'
import type { Qmp, QmpEvent } from './qmp.js'
import { rescueFrozenGuest } from './rescue.js'

interface Prepared {
  plan: CutPlan
  overlay: Overlay
  sink: FileHandle
  /** The disks have changed layer. */
  flipped: boolean
  migrating: boolean
  saved: Promise<string>
  savedAt?: number
}
/** `makeRoom`: see QemuOptions. */
export interface QemuVmParts { clock: Clock; log: Log; pacer: Pacer; makeRoom: () => Promise<void> }
interface QueueStatus { 'used-idx': number; 'vring-desc': number; 'vring-used': number }

/** Device state and stream overhead beside the RAM itself. */
const streamOverheadBytes = 16 * 1024 * 1024
/** Between two tries of a VM that waits for room. */
const roomMs = 250
const touchedBytes = 4 * 1024 * 1024
/** q35 with 2.75 GiB and more has what is beyond 2 GiB at 4 GiB. */
const splitFromBytes = 0xb000_0000
const lowMemoryBytes = 2 * 1024 ** 3
const highMemoryAt = 4 * 1024 ** 3

export class QemuVm implements Vm {
  readonly instance: VmInstance
  private readonly process: ProcessRef
  private readonly qmp: Qmp
  private readonly clock: Clock
  private readonly log: Log
  private readonly pacer: Pacer
  private readonly makeRoom: () => Promise<void>
  private readonly ending = new Ending()
  private readonly disk: QemuDisk
  private prepared: Prepared | undefined
  /** STOP and RESUME since `stop` was asked for last: a cut is one of each, and nothing between (cut protocol, hole 5). */
  private sinceStop: string[] = []
  /** Threads that write memory, put behind everybody else until the last VM of the cut runs again. */
  private savers: number[] = []
  private released = false
  /** It was told to stop, and has not run since. */
  private standing = false
  private waitingForRoom = false

  constructor(instance: VmInstance, process: ProcessRef, qmp: Qmp, { clock, log, pacer, makeRoom }: QemuVmParts) {
    this.instance = instance
    this.process = process
    this.qmp = qmp
    this.disk = new QemuDisk(instance, qmp)
    this.clock = clock
    this.log = log
    this.pacer = pacer
    this.makeRoom = makeRoom
    qmp.onEvent(({ event, data }) => {
      if (event === 'STOP' || event === 'RESUME') this.sinceStop.push(event)
      if (event === 'RESUME') this.standing = false
      if (event === 'BLOCK_IO_ERROR' && data?.['action'] === 'stop') void this.runOnWithRoom()
      if (event === 'GUEST_PANICKED') this.ending.foresee(panicReason(data, tailOf(instance.console))) // QEMU ends by itself after it (argv.ts)
    })
    qmp.onClose(() => { if (!this.released) this.ending.tellSoon('its QEMU process ended') })
  }

  get ended(): string | undefined { return this.ending.reason }
  onEnd(listener: (reason: string) => void): void { this.ending.onEnd(listener) }

  end(reason: string): void { this.ending.tell(reason) }

  async isRunning(): Promise<boolean> {
    return (await this.qmp.call<{ running: boolean }>('query-status')).running
  }

  async openLogin(): Promise<void> {
    const rule = `hostfwd_add management tcp:127.0.0.1:${this.instance.spec.loginPort}-10.0.2.15:22`
    const answer = await this.qmp.call<string>('human-monitor-command', { 'command-line': rule })
    if (answer.trim() !== '') throw new Failure('failed', `port ${this.instance.spec.loginPort} cannot be opened for logins: ${answer.trim()}`)
  }

  /** `cont` is refused for some ms after a migration ("not finalized yet"), so it is asked again. */
  async resume(): Promise<void> {
    let last: unknown
    const running = await until(this.clock, limits.resumeMs, 5, async () => {
      try {
        await this.qmp.call('cont')
        return this.waitingForRoom || (await this.isRunning()) ? true : undefined // for want of room it stands again, and runs on by itself (below)
      } catch (error) {
        last = error
        if (this.ended !== undefined) throw error
        return undefined
      }
    })
    if (!running) throw new Failure('timed-out', `${this.instance.spec.clientId} cannot be resumed`, { cause: last })
  }

  async prepareCut(plan: CutPlan): Promise<void> {
    if (this.prepared) await this.abandonCut()
    await this.earlierSaveEnds()
    const overlay = await this.disk.addOverlay(plan.overlay)
    let sink: FileHandle | undefined
    try {
      sink = await open(plan.memoryFile, 'wx', 0o600)
      reserve(sink.fd, this.instance.spec.memoryMiB * 1024 * 1024 + streamOverheadBytes, plan.memoryFile)
      await this.setBackground(plan.background)
      await this.qmp.passDescriptor('snap', sink.fd)
      if (plan.background) await this.touchMemory()
    } catch (error) {
      await this.disk.dropOverlay(overlay)
      await sink?.close()
      await rm(plan.memoryFile, { force: true })
      throw error
    }
    const prepared: Prepared = { plan, overlay, sink, flipped: false, migrating: false, saved: this.migrationEnd() }
    this.prepared = prepared
    prepared.saved.then(() => { prepared.savedAt = this.clock.now() }, () => undefined)
  }

  async witnesses(): Promise<DeviceWitness[]> {
    return this.witnessesOf(await this.qmp.batch(this.queueQueries()))
  }

  async stop(): Promise<{ stoppedAt: number; witnesses: DeviceWitness[] }> {
    const stopped = this.nextEvent('STOP', limits.qmpMs)
    stopped.catch(() => undefined)
    this.sinceStop = []
    this.standing = true
    setUrgency(threadsOf(this.process.pid), 'urgent') // until it runs again: see save() and letRun()
    const [, ...answers] = await this.qmp.batch([{ execute: 'stop' }, ...this.queueQueries()])
    return { stoppedAt: (await stopped).at, witnesses: this.witnessesOf(answers) }
  }

  async save(): Promise<{ resumedAt: number | undefined }> {
    const prepared = this.prepared!
    const { plan } = prepared
    const resumed = plan.background ? this.nextEvent('RESUME', limits.resumeMs) : undefined
    resumed?.catch(() => undefined)
    this.mustHaveStood()
    prepared.migrating = true
    const before = threadsOf(this.process.pid)
    await this.qmp.batch([
      this.disk.flip(prepared.overlay),
      { execute: 'migrate', arguments: { uri: 'fd:snap' } },
    ])
    prepared.flipped = true
    this.disk.flipped(prepared.overlay)
    if (resumed) {
      const savers = this.savers = threadsOf(this.process.pid).filter((thread) => !before.includes(thread))
      setUrgency(savers, 'soon') // first it protects the memory, which is waited for; what lets the VM run must get past it
      const { at } = await resumed
      this.mustHaveStood('RESUME')
      setUrgency(before, 'ordinary')
      this.standBack(prepared, savers)
      return { resumedAt: at }
    }
    setUrgency(threadsOf(this.process.pid), 'ordinary') // it stands until all is written: that is no matter of milliseconds
    const end = await within(limits.saveMs, prepared.saved, () => new Failure('timed-out', 'its memory was not written in time'))
    if (end !== 'completed') throw new Failure('failed', `writing its memory ${end}`)
    if (plan.stayStopped) return { resumedAt: undefined }
    const cont = this.nextEvent('RESUME', limits.resumeMs)
    cont.catch(() => undefined)
    await this.resume()
    return { resumedAt: (await cont).at }
  }

  /** Between `stop` and here nobody has let it run: else what is saved is not what was flipped. */
  private mustHaveStood(...then: string[]): void {
    const seen = this.sinceStop.join(' ')
    if (seen !== ['STOP', ...then].join(' ')) throw new Failure('aborted', `${this.instance.spec.clientId} did not stand through its cut: ${seen}`)
  }

  /** It runs on, and first pages that it writes wait for who saves them. */
  private standBack({ saved }: Prepared, savers: number[]): void {
    if (!this.pacer.paces) return setUrgency(savers, 'behind')
    this.pacer.add(savers)
    const over = () => this.pacer.remove(savers)
    saved.then(over, over)
  }

  async saveAtFullSpeed(): Promise<void> {
    if (!this.pacer.paces) setUrgency(this.savers, 'ordinary')
    this.savers = []
  }

  async finishSave(): Promise<{ bytes: number; savedAt?: number }> {
    const prepared = this.prepared!
    const end = await within(limits.saveMs, prepared.saved, () => new Failure('timed-out', 'its memory was not written in time'))
    if (end !== 'completed') throw new Failure('failed', `writing its memory ${end}`)
    const bytes = await offsetOf(prepared.sink)
    await prepared.sink.truncate(bytes)
    await prepared.sink.sync()
    await prepared.sink.close()
    this.prepared = undefined
    if (prepared.plan.background) await this.setBackground(false)
    return { bytes, ...(prepared.savedAt !== undefined ? { savedAt: prepared.savedAt } : {}) }
  }

  async abandonCut(): Promise<void> {
    const prepared = this.prepared
    if (this.ended !== undefined) {
      await prepared?.sink.close().catch(() => undefined)
      this.prepared = undefined
      return
    }
    await this.letRun()
    if (!prepared) return
    // A migration is never cancelled (that freezes the guest): its file is reserved, so it ends by itself.
    if (prepared.migrating) await this.saveEnds(prepared)
    await this.letRun()
    if (!prepared.flipped) await this.disk.dropOverlay(prepared.overlay)
    await this.setBackground(false).catch((error: unknown) => this.log.warn({ err: error }, 'background-snapshot stays on'))
    await prepared.sink.close().catch(() => undefined)
    await rm(prepared.plan.memoryFile, { force: true })
    this.prepared = undefined // last: what has failed on the way is done again
  }

  async replaceLayers(layers: string[], by: string): Promise<void> {
    if (this.prepared) throw new Failure('failed', `a cut of ${this.instance.spec.clientId} is under way`)
    await this.disk.replace(layers, by)
  }

  async freezeDisk(path: string): Promise<void> {
    if (this.prepared) throw new Failure('failed', `a cut of ${this.instance.spec.clientId} is under way`)
    const overlay = await this.disk.addOverlay(path)
    try {
      await this.qmp.batch([this.disk.flip(overlay)]) // QEMU writes out what it has of the disk first, and stops nothing
    } catch (error) {
      await this.disk.dropOverlay(overlay) // an answer that came too late is no refusal: QEMU is asked
      throw error
    }
    this.disk.flipped(overlay)
  }

  learnLayers(): Promise<void> { return this.disk.learn() }

  async kill(why?: string): Promise<void> {
    if (why !== undefined) this.ending.foresee(why)
    await killProcess(this.process, this.clock)
    this.end('it was stopped')
    this.qmp.close()
    await this.prepared?.sink.close().catch(() => undefined)
  }

  async setLogins(): Promise<void> { /* its guest looks at the configuration disk (images/init) */ }

  release(): void {
    this.released = true
    this.qmp.close()
  }

  /** The rescue comes first: a QEMU that is frozen inside `stop` answers nothing before it. */
  async letRun(): Promise<void> {
    setUrgency(threadsOf(this.process.pid), 'ordinary')
    try {
      if (await this.isRunning()) return
    } catch {
      await rescueFrozenGuest(this.process.pid)
    }
    await this.resume()
  }

  /** Its disk could not be written, so QEMU has stopped it, and does that write again when it runs on. Whoever has stopped it as well lets it run. */
  private async runOnWithRoom(): Promise<void> {
    if (this.waitingForRoom) return
    this.waitingForRoom = true
    this.log.error({ vm: this.instance.spec.vm }, 'it stands: its disk cannot be written; it runs on as soon as there is room')
    try {
      await this.makeRoom()
      for (let runs = false; !runs && !this.standing && !this.released && this.ended === undefined;) {
        await this.qmp.call('cont').catch(() => undefined)
        await this.clock.sleep(roomMs)
        runs = await this.isRunning().catch(() => false)
      }
    } catch (error) {
      this.log.error({ vm: this.instance.spec.vm, why: explain(error) }, 'no room could be made')
    } finally {
      this.waitingForRoom = false
    }
  }

  /**
   * Has QEMU read all of the guest's memory once while the guest runs. QEMU does it again inside the pause, before it
   * write-protects the pages; where the host is itself virtual the first read of each page after an earlier snapshot is a
   * fault (0.6 us: 20 ms for 128 MiB, measured), and this takes the faults beforehand. In pieces, so that nothing waits long.
   */
  private async touchMemory(): Promise<void> {
    const bytes = this.instance.spec.memoryMiB * 1024 * 1024
    for (let done = 0; done < bytes; done += touchedBytes) {
      const address = bytes < splitFromBytes || done < lowMemoryBytes ? done : highMemoryAt + done - lowMemoryBytes
      await this.qmp.call('pmemsave', { val: address, size: Math.min(touchedBytes, bytes - done), filename: '/dev/null' })
    }
  }

  /** An agent that died in a cut leaves a VM that is still being saved. It ends by itself; a failed one is rescued. */
  private async earlierSaveEnds(): Promise<void> {
    const status = await until(this.clock, limits.prepareMs, 50, async () => {
      const now = (await this.qmp.call<{ status?: string }>('query-migrate')).status ?? 'none'
      return ['setup', 'active', 'device', 'cancelling'].includes(now) ? undefined : now
    })
    if (status === undefined) throw new Failure('timed-out', 'an earlier snapshot of it is still being written')
    if (status === 'failed') await rescueFrozenGuest(this.process.pid)
  }

  private async saveEnds(prepared: Prepared): Promise<void> {
    const end = await within(limits.saveMs, prepared.saved, () => new Failure('timed-out', 'unfinished')).catch(() => 'unfinished')
    if (end === 'completed' || !prepared.plan.background) return
    await rescueFrozenGuest(this.process.pid)
    this.log.warn({ vm: this.instance.spec.vm, end }, 'the background snapshot did not complete: the guest was rescued')
  }

  private queueQueries(): { execute: string; arguments: object }[] {
    return this.instance.spec.nics.flatMap((_, i) => [0, 1].map((queue) => ({
      execute: 'x-query-virtio-queue-status', arguments: { path: `/machine/peripheral/${nicDevice(i)}/virtio-backend`, queue },
    })))
  }

  private witnessesOf(answers: unknown[]): DeviceWitness[] {
    const status = answers as QueueStatus[]
    return this.instance.spec.nics.map((nic, i) => {
      const rx = status[2 * i]!
      const tx = status[2 * i + 1]!
      return {
        port: nic.port, usedRx: rx['used-idx'], usedTx: tx['used-idx'],
        vring: [rx['vring-desc'], rx['vring-used'], tx['vring-desc'], tx['vring-used']].join(' '),
      }
    })
  }

  private setBackground(state: boolean): Promise<unknown> {
    return this.qmp.call('migrate-set-capabilities', { capabilities: [{ capability: 'background-snapshot', state }] })
  }

  /** How the next migration ends: completed, failed or cancelled. */
  private migrationEnd(): Promise<string> {
    return this.eventWhere((e) => {
      const status = e.event === 'MIGRATION' ? String(e.data?.['status']) : ''
      return ['completed', 'failed', 'cancelled'].includes(status) ? status : undefined
    })
  }

  private nextEvent(name: string, timeoutMs: number): Promise<QmpEvent> {
    const seen = this.eventWhere((e) => (e.event === name ? e : undefined))
    return within(timeoutMs, seen, () => new Failure('timed-out', `${this.instance.spec.clientId}: no ${name} within ${timeoutMs} ms`))
  }

  private eventWhere<T>(pick: (event: QmpEvent) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const off = this.qmp.onEvent((event) => {
        const found = pick(event)
        if (found === undefined) return
        off()
        notClosed()
        resolve(found)
      })
      const notClosed = this.qmp.onClose(() => {
        reject(new Failure('failed', `${this.instance.spec.clientId}: ${this.ended ?? 'its monitor was closed'}`))
      })
    })
  }
}

/** The file position, which we share with QEMU: it got our open file, not a copy. */
async function offsetOf(file: FileHandle): Promise<number> {
  const position = /^pos:\s+(\d+)/m.exec(await readFile(`/proc/self/fdinfo/${file.fd}`, 'utf8'))
  return Number(position![1])
}
