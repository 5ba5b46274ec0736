// The other end of a port in tests: a link that takes what it is told to take, and frames whose text says what they are.
import type { PortLink } from '../../../overlay/vm-link.js'

export class Wire implements PortLink {
  connected = true
  ready = true
  isDrained = true
  isEmptied = true
  readonly got: Buffer[] = []
  /** Takes so many more frames, then is not ready any more. */
  room = Infinity

  send(bytes: Buffer): void {
    this.got.push(bytes)
    if (--this.room <= 0) this.ready = false
  }

  drained(): boolean { return this.isDrained }
  emptied(): boolean { return this.isEmptied }
  close(): void { this.connected = false }
  get texts(): string[] { return this.got.map((b) => b.toString('latin1', 14)) }
}

export const macOf = (n: number): Buffer => Buffer.from([0x52, 0x54, 0, 0, 0, n])
export const everybody = Buffer.alloc(6, 0xff)

export function ethernet(to: Buffer, from: Buffer, text: string): Buffer {
  return Buffer.concat([to, from, Buffer.from([0x88, 0xb5]), Buffer.from(text, 'latin1')])
}
