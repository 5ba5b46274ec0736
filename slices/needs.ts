// What slices/ asks others to supply. jobs/ implements VmHosts by talking to the host agents.
import type { DigestedSource } from '../base/source.js'
import type { DiskImage } from './disk-image.js'
import type { Quotas } from './quota.js'
import type { VmSpec } from './vm-spec.js'

export interface HostCapacity {
  host: string
  /** hypervisor accelerator in use, after the boot probe: 'kvm' or 'tcg' */
  accelerator: string
  memoryMiB: number
  memoryFreeMiB: number
  storeFreeBytes: number
  images: string[]
  /** Those that were made of disks of nodes, in whatever state. Absent in records of an earlier version. */
  diskImages?: DiskImage[]
}

/** An image of the disk of one VM. */
export interface ImageAsk {
  slice: string
  token: number
  vm: string
  image: Pick<DiskImage, 'id' | 'name' | 'owner' | 'global' | 'sliver'>
  quotas: Quotas
  /** So much must stay free. */
  floorBytes: number
}

/** A disk image from elsewhere, on behalf of a user. */
export interface FetchAsk {
  source: DigestedSource
  owner: string
  quotas: Quotas
  /** So much must stay free. */
  floorBytes: number
}
/** `how`: how far it is, for people. */
export type FetchState = { state: 'there' } | { state: 'under-way'; how: string }

/** running: its virtual CPUs run. ready: the guest answers on its login port. dead: it ended, `reason` says how. */
export type VmCondition = 'defined' | 'booting' | 'ready' | 'paused' | 'stopped' | 'dead'
export interface VmReport { vm: string; slice: string; condition: VmCondition; reason: string; pid?: number }

/** The operation that asks: its slice (UUID) and its fencing token. */
export interface Mandate { slice: string; token: number }

/** A host, as the worker sees it. Every method may be called twice with the same arguments. */
export interface VmHosts {
  hosts(): string[]
  capacity(host: string): Promise<HostCapacity>
  /** Before: nothing. After: disks and configuration exist, no process runs. On failure: nothing is left. */
  defineVm(host: string, spec: VmSpec): Promise<void>
  /** Before: defined or stopped. After: booting; becomes ready by itself (a vmChanged report tells). */
  startVm(host: string, vm: string, run: { run: string; epoch: number }): Promise<void>
  /** After: these are the accounts of the VM, running or not; a running guest has them within seconds. */
  setLogins(host: string, vm: string, logins: VmSpec['logins']): Promise<void>
  /** After: no process; disks stay. Whoever was replaced by `by` is refused from now on: a restore of his would bring it back. */
  stopVm(host: string, vm: string, by?: Mandate): Promise<void>
  /** After: nothing of the VM is left but layers that snapshots need. `by`: as of stopVm. */
  destroyVm(host: string, vm: string, by?: Mandate): Promise<void>
  /** The end of what the VM has written on its console, at most so many bytes; '' where it has none yet. */
  console(host: string, vm: string, bytes: number): Promise<string>
  /**
   * After: what is on its disk now is frozen, and an image of it is being made, whatever becomes of the VM. On failure: no image.
   */
  createImage(host: string, ask: ImageAsk): Promise<DiskImage>
  /** After: it is not there any more; VMs that were made of it keep their disks. */
  removeImage(host: string, id: string): Promise<void>
  /**
   * Asked again and again until the image is there; nobody who waits for it asks less often than every half minute, and a fetch that nobody
   * asks for is given up. Fails, with the reason, when it could not be had. After 'there': VMs can be defined of it for a minute at least.
   */
  fetchImage(host: string, ask: FetchAsk): Promise<FetchState>
  /** Every VM the host knows, of all slices. */
  reports(host: string): Promise<VmReport[]>
}
