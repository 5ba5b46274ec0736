// The channel state of one cut at one host: the frames that were in transit across it, in the order of delivery.
// Written as a part of the snapshot; at a restore the frames are replayed to the ports they were on the way to.
import { Failure } from '../base/errors.js'
import { decodeFrame, encodeFrame, frameBytes, headerBytes, type Frame } from './frame.js'

const portBytes = 4

export interface LoggedFrame { to: number; frame: Frame }

export class ChannelLog {
  readonly k: number
  readonly frames: LoggedFrame[] = []
  private closed = false
  constructor(k: number) { this.k = k }

  add(to: number, frame: Frame): void {
    if (this.closed) throw new Error(`a frame for the closed log of cut ${this.k}`)
    this.frames.push({ to, frame })
  }

  get open(): boolean { return !this.closed }
  close(): void { this.closed = true }
}

/** File form: each frame behind the u32 number of the port that it was on the way to. */
export function encodeLog(slice: string, frames: LoggedFrame[]): Buffer {
  const parts: Buffer[] = []
  for (const { to, frame } of frames) {
    const port = Buffer.allocUnsafe(4)
    port.writeUInt32BE(to)
    parts.push(port, encodeFrame(slice, frame))
  }
  return Buffer.concat(parts)
}

export function decodeLog(slice: string, from: Buffer): LoggedFrame[] {
  const frames: LoggedFrame[] = []
  let offset = 0
  while (offset < from.length) {
    if (from.length < offset + 4) throw new Failure('damaged', `channel log: cut off at byte ${offset}`)
    const to = from.readUInt32BE(offset)
    const { frame, next } = decodeFrame(slice, from, offset + 4)
    frames.push({ to, frame })
    offset = next
  }
  return frames
}

/** The frames of a log that comes in pieces of any size; of the bytes no more is kept than one piece and one frame. */
export async function* readLog(slice: string, pieces: AsyncIterable<Buffer>): AsyncGenerator<LoggedFrame> {
  let rest: Buffer = Buffer.alloc(0)
  let read = 0
  const next = (): LoggedFrame | undefined => {
    if (rest.length < portBytes + headerBytes) return undefined
    const wanted = portBytes + frameBytes(rest, portBytes)
    if (rest.length < wanted) return undefined
    const frame = decodeFrame(slice, rest, portBytes).frame
    const to = rest.readUInt32BE(0)
    rest = rest.subarray(wanted)
    return { to, frame }
  }
  for await (const piece of pieces) {
    rest = rest.length > 0 ? Buffer.concat([rest, piece]) : piece
    try {
      for (let found = next(); found; found = next()) {
        read++
        yield found
      }
    } catch (cause) {
      throw new Failure('damaged', `channel log, after ${read} frames`, { cause })
    }
  }
  if (rest.length > 0) throw new Failure('damaged', `channel log: it is cut off after ${read} frames`)
}
