// What the agent needs of a hypervisor. One implementation drives QEMU; every method says what must hold before, what
// holds after, and what is left when it fails.
import type { DeviceWitness } from '../../overlay/slice-net.js'
import type { DiskFile } from '../disk-file.js'
import type { VmSpec } from '../../slices/vm-spec.js'

/** One life of a VM: a boot or a restore. Everything needed to find it again after the agent died. */
export interface VmInstance {
  spec: VmSpec
  run: string
  /** Monitor socket; a short path (unix sockets end at 107 bytes). */
  monitor: string
  /** One socket for each NIC, in the order of spec.nics. */
  nicSockets: string[]
  console: string
  /** The configuration disk. */
  config: string
  kernel: string
  initrd: string
  append: string
  /** Disk layers of the data disk, oldest first; the last one is written to. */
  layers: string[]
  pid?: number
  /** Field 22 of /proc/PID/stat: with the pid it names one process for ever. */
  started?: string
}

export interface CutPlan {
  /** The layer that the VM will write to after its cut; made by prepareCut. */
  overlay: string
  memoryFile: string
  /** True: the VM runs on while its memory is written (userfaultfd). False: it stands until all is written. */
  background: boolean
  /** A suspension: the VM stays stopped. */
  stayStopped: boolean
}

/** A VM that has a process. */
export interface Vm {
  readonly instance: VmInstance
  /** Why it ended; undefined while it lives. */
  readonly ended: string | undefined
  onEnd(listener: (reason: string) => void): void
  isRunning(): Promise<boolean>
  /** Opens the management login on the host. Before: no other process has the port. */
  openLogin(): Promise<void>
  /** Its configuration disk has changed: these are its accounts now. A guest that reads that disk by itself needs no more. */
  setLogins(logins: VmSpec['logins']): Promise<void>
  /** Before: paused. After: its virtual CPUs run. */
  resume(): Promise<void>

  /** Before: running. After: overlay and memory file exist and are known to the VM. On failure: neither is left. */
  prepareCut(plan: CutPlan): Promise<void>
  /** What its devices say, while it runs. */
  witnesses(): Promise<DeviceWitness[]>
  /** After: stopped; what its devices say. `stoppedAt` in ms of the host's wall clock, by the VM process itself. */
  stop(): Promise<{ stoppedAt: number; witnesses: DeviceWitness[] }>
  /** Before: stopped, prepared. After: its disks have changed layer; unless stayStopped it runs on (`resumedAt`). */
  save(): Promise<{ resumedAt: number | undefined }>
  /** Every VM of the cut runs again: writing memory need not stand back any more. */
  saveAtFullSpeed(): Promise<void>
  /** After: the memory file is whole, cut to its length and synced. `savedAt`: when QEMU had written it, wall clock, where that is known. */
  finishSave(): Promise<{ bytes: number; savedAt?: number }>
  /** After: the guest runs, whatever state a cut left it in. Safe to call at any time. */
  letRun(): Promise<void>
  /** Gives up a cut at whatever point it is. After: the VM runs, and can be cut again. Safe to call at any time. */
  abandonCut(): Promise<void>

  /**
   * Before: no cut is under way. After: it writes to a new layer at `overlay`, and all that it has written until now is in those below,
   * which change no more. On failure: no file, and its disk as before.
   */
  freezeDisk(overlay: string): Promise<void>

  /**
   * Before: `layers` lie one on the other in its disk, the one that is written to is not among them, and no cut is under way.
   * After: it reads `by`, which holds the same, in their place, and has them open no more. On failure it has its disk as before.
   */
  replaceLayers(layers: string[], by: string): Promise<void>

  /** After: no process. Never fails but on a process that cannot be killed. `why`: what its end is told as, where it is news. */
  kill(why?: string): Promise<void>
  /** The agent lets go; the VM lives on. */
  release(): void
}

/** What a new disk layer lies on: an older layer, or nothing. */
export type LayerOn = { base?: string; sizeMiB: number }

/** Frozen layers that lie one on the other, oldest first, on those of `on`. */
export interface LayersToMerge { layers: string[]; on: string[]; sizeMiB: number }

export interface Hypervisor {
  readonly accelerator: string
  /** What it is, for inventories: program and version, and the machine type that it gives to guests. */
  readonly version: string
  readonly machine: string
  /** Before: no file at `path`. After: an empty disk, or an empty layer on `base`. */
  makeLayer(path: string, on: LayerOn): Promise<void>
  /**
   * Before: no file at `path`. After: one layer there that holds what `layers` hold, on disk; they are as they were. On failure, and
   * when it is told to end: no file.
   */
  mergeLayers(path: string, what: LayersToMerge, signal: AbortSignal): Promise<void>
  /**
   * Before: no file at `path`; `from` has been looked at, and nobody changes it. After: a layer of our own there that holds what it does, on nothing.
   * On failure, when it would be larger than `mostBytes`, and when it is told to end: no file.
   */
  importDisk(path: string, from: DiskFile, mostBytes: number, signal: AbortSignal): Promise<void>
  /** After: running from its kernel. On failure: no process is left. */
  boot(instance: VmInstance): Promise<Vm>
  /** After: paused, with the memory of `memoryFile` loaded. On failure: no process is left. */
  load(instance: VmInstance, memoryFile: string): Promise<Vm>
  /** Takes over a VM that an earlier agent started; undefined when its process is gone. */
  adopt(instance: VmInstance): Promise<Vm | undefined>
}
