// What cells of some kinds need around them: an aggregate with its slice, and for some kinds a slice beside it, calls that can be made to
// fail, or a disk of its own. Cells share it until one of them fails.
import { cpSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bank } from '../../cli/bank/reader.js'
import { openBystander } from './bystander.js'
import { FailingCalls, type Call } from './failing-calls.js'
import { diskFull, failing, killed, standing, type Fault } from './fault.js'
import type { Kind, Struck } from './kinds.js'
import { FaultRig, type HypervisorKind } from './rig.js'
import { SmallDisk } from './small-disk.js'

const calls: Partial<Record<Kind, Call>> = { 'no-sync': 'sync', 'no-name': 'name', 'no-sink': 'sink' }
/** So that QEMU has begun to write and the guest's memory is protected: then a failure is one half way. */
const sinkTakesBytes = 2 * 1024 * 1024

export class Stage {
  private readonly hypervisor: HypervisorKind
  private readonly kinds: Kind[]
  private readonly withBystander: boolean
  private opened: FaultRig | undefined
  private bystander: Bank[] = []
  private failing: FailingCalls | undefined
  private disk: SmallDisk | undefined

  constructor(hypervisor: HypervisorKind, kinds: Kind[], withBystander = kinds.includes('stand')) {
    this.hypervisor = hypervisor
    this.kinds = kinds
    this.withBystander = withBystander
  }

  get state(): string { return this.opened?.state ?? '?' }

  async rig(): Promise<FaultRig> {
    if (this.opened) return this.opened
    if (this.kinds.includes('full-disk')) this.disk = new SmallDisk()
    const rig = this.opened = new FaultRig(this.hypervisor, this.disk?.folder)
    if (this.kinds.some((kind) => calls[kind])) Object.assign(rig.upEnv, (this.failing = new FailingCalls()).env)
    await rig.open('on_failure="rollback" retries="100"')
    if (this.withBystander) this.bystander = await openBystander(rig)
    return rig
  }

  /** Before: the rig is there. */
  fault(kind: Kind, victim: Struck): Fault {
    const rig = this.opened!
    if (victim === 'disk') return diskFull(rig, this.disk!)
    if (kind === 'stand') return standing(rig, victim, this.bystander)
    const call = calls[kind]
    if (call) return failing(rig, victim, call, this.failing!, call === 'sink' && this.hypervisor === 'qemu' ? sinkTakesBytes : 0)
    return killed(rig, [victim])
  }

  /** After: nothing is left, or this says what is. */
  async close(): Promise<void> {
    this.leaveBystander()
    await this.opened?.close()
    this.clear()
  }

  /** After a cell that failed: no process is left; the next cell gets all anew. The state stays for whoever looks into it, but for that on a disk of its own. */
  async abandon(): Promise<void> {
    this.leaveBystander()
    await this.opened?.abandon()
    if (this.disk) cpSync(join(this.state, 'log'), mkdtempSync(join(tmpdir(), 'vfault-logs-')), { recursive: true })
    this.clear()
  }

  private leaveBystander(): void {
    for (const bank of this.bystander) bank.close()
    this.bystander = []
  }

  private clear(): void {
    this.failing?.remove()
    this.disk?.remove()
    this.opened = this.failing = this.disk = undefined
  }
}
