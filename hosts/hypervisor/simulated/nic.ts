// A simulated network device, with what makes the real one hard to cut: frames that the hypervisor has taken and the guest
// has not, which a stop throws away, and used indexes of 16 bits that say how many the guest had (cut protocol, hole 1).
import type { DeviceWitness } from '../../../overlay/slice-net.js'

/** As many as a virtio ring of QEMU: what is beyond waits in the socket. */
const ringFrames = 256

export interface NicState { usedRx: number; usedTx: number }

export class Nic {
  readonly port: number
  private usedRx: number
  private usedTx: number
  private taken: Buffer[] = []

  constructor(port: number, state: NicState = { usedRx: 0, usedTx: 0 }) {
    this.port = port
    this.usedRx = state.usedRx
    this.usedTx = state.usedTx
  }

  /** Takes a frame from the wire. False: take no more before `receive` has made room. */
  take(frame: Buffer): boolean {
    this.taken.push(frame)
    return this.hasRoom
  }

  get hasRoom(): boolean { return this.taken.length < ringFrames }

  /** The next frame for the guest. */
  receive(): Buffer | undefined {
    const frame = this.taken.shift()
    if (frame) this.usedRx = (this.usedRx + 1) & 0xffff
    return frame
  }

  sent(): void {
    this.usedTx = (this.usedTx + 1) & 0xffff
  }

  /** What a stop does to the frames that the guest has not got. */
  purge(): void {
    this.taken = []
  }

  state(): NicState { return { usedRx: this.usedRx, usedTx: this.usedTx } }
  witness(): DeviceWitness { return { port: this.port, ...this.state(), vring: 'simulated' } }
}
