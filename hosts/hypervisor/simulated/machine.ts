// A simulated VM without its process: a guest, its network devices and disk, and the life of a machine: it runs, stands, is
// cut, is saved and loaded. No socket and no timer is in here.
import { Failure } from '../../../base/errors.js'
import type { DeviceWitness } from '../../../overlay/slice-net.js'
import type { VmSpec } from '../../../slices/vm-spec.js'
import { Guest, type GuestMemory } from './guest/guest.js'
import type { LayeredDisk } from './layer-file.js'
import { Nic, type NicState } from './nic.js'

/** What a memory file holds. */
export interface MachineImage { format: 'violin-simulated-memory-1'; guest: GuestMemory; guestMs: number; nics: NicState[]; hostKey: string }

export interface MachineParts {
  spec: VmSpec
  disk: LayeredDisk
  /** Private key of its SSH server, for a boot. */
  hostKey: string
  /** Monotonic, ms, of the host. */
  now(): number
  /** Puts a frame on the wire. */
  send(nic: number, frame: Buffer): void
}

/** Frames for the guest in one turn, from each device: more wait, as in a ring. */
const framesPerTurn = 64

export class Machine {
  readonly hostKey: string
  private readonly at: MachineParts
  private readonly nics: Nic[]
  private readonly guest: Guest
  /** Guest time up to the last stop, and when it last began to run. */
  private guestMs: number
  private since: number | undefined
  /** How often it has begun to run. */
  lives = 0

  /** Boots and runs, or is loaded and stands. */
  constructor(parts: MachineParts, image?: MachineImage) {
    if (image && image.format !== 'violin-simulated-memory-1') throw new Failure('damaged', 'this is no memory file of a simulated VM')
    this.at = parts
    this.hostKey = image?.hostKey ?? parts.hostKey
    this.guestMs = image?.guestMs ?? 0
    this.nics = parts.spec.nics.map((nic, i) => new Nic(nic.port, image?.nics[i]))
    // what a request executes, it does once in the life of the node; a disk that came with an image is another node's
    const bootedBefore = !image && parts.disk.read() !== undefined && (parts.disk.writtenBy ?? parts.spec.vm) === parts.spec.vm
    this.guest = new Guest(bootedBefore ? { ...parts.spec, execute: [] } : parts.spec, {
      now: () => this.now(),
      transmit: (nic, frame) => {
        this.nics[nic]!.sent()
        parts.send(nic, frame)
      },
      readDisk: () => parts.disk.read(),
      writeDisk: (block) => parts.disk.write(block),
    }, image?.guest)
    if (!image) this.resume()
  }

  get running(): boolean { return this.since !== undefined }

  /** A frame came over the wire. False: no more, please, before the next turn. */
  wire(nic: number, frame: Buffer): boolean {
    return this.nics[nic]!.take(frame)
  }

  hasRoom(nic: number): boolean { return this.nics[nic]!.hasRoom }

  /** What is due in the guest. Nothing happens while it stands. */
  turn(): void {
    if (!this.running) return
    for (const [i, nic] of this.nics.entries()) {
      for (let n = 0; n < framesPerTurn; n++) {
        const frame = nic.receive()
        if (!frame) break
        this.guest.receive(i, frame)
      }
    }
    this.guest.tick()
  }

  command(line: string): { code: number; out: string; err: string } {
    return this.guest.command(line)
  }

  resume(): void {
    if (this.since !== undefined) return
    this.since = this.at.now()
    this.lives++
  }

  /** After: it stands, its disk is as the guest wrote it, and what the devices had taken for it is gone. */
  stop(): void {
    if (this.since === undefined) return
    this.guestMs = this.now()
    this.since = undefined
    for (const nic of this.nics) nic.purge()
    this.at.disk.flush()
  }

  witnesses(): DeviceWitness[] { return this.nics.map((nic) => nic.witness()) }

  /** Before: it stands. */
  image(): MachineImage {
    return {
      format: 'violin-simulated-memory-1', guest: this.guest.memory(), guestMs: this.guestMs, nics: this.nics.map((nic) => nic.state()), hostKey: this.hostKey,
    }
  }

  private now(): number {
    return this.guestMs + (this.since === undefined ? 0 : this.at.now() - this.since)
  }
}
