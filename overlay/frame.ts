// A coloured frame, and how it is written where it leaves the switch: in channel logs and on tunnels.
//
//  0  'VF' 1 0      magic, version, flags
//  4  slice         16 bytes, the slice's UUID
//  20 run           u64
//  28 epoch         u32, never wraps
//  32 source port   u32
//  36 seq           u48, per source port and run
//  42 length        u32
//  46 Ethernet frame
import { Failure } from '../base/errors.js'

export interface Frame {
  run: string
  epoch: number
  /** Port number of the sender, unique in the slice. */
  source: number
  /** Counts the frames of that port in this run, from 1. */
  seq: number
  bytes: Buffer
}

export const headerBytes = 46
/** What QEMU's stream protocol can carry; jumbo frames fit, a damaged length does not pass. */
export const maxFrameBytes = 69_632

const magic = 0x5646_0100

export function encodeFrame(slice: string, frame: Frame): Buffer {
  const out = Buffer.allocUnsafe(headerBytes + frame.bytes.length)
  out.writeUInt32BE(magic, 0)
  out.write(slice.replaceAll('-', ''), 4, 16, 'hex')
  out.write(frame.run, 20, 8, 'hex')
  out.writeUInt32BE(frame.epoch, 28)
  out.writeUInt32BE(frame.source, 32)
  out.writeUIntBE(frame.seq, 36, 6)
  out.writeUInt32BE(frame.bytes.length, 42)
  frame.bytes.copy(out, headerBytes)
  return out
}

/** How many bytes the frame at `offset` has, header and all; one that claims too many is left to `decodeFrame`. */
export const frameBytes = (from: Buffer, offset: number): number => headerBytes + Math.min(from.readUInt32BE(offset + 42), maxFrameBytes)

/** The frame at `offset` and the offset behind it. Fails on anything that `encodeFrame` did not write for this slice. */
export function decodeFrame(slice: string, from: Buffer, offset: number): { frame: Frame; next: number } {
  const bad = (what: string) => new Failure('damaged', `frame at byte ${offset}: ${what}`)
  if (from.length < offset + headerBytes) throw bad('header is cut off')
  if (from.readUInt32BE(offset) !== magic) throw bad('no frame begins here')
  if (from.toString('hex', offset + 4, offset + 20) !== slice.replaceAll('-', '')) throw bad('it is of another slice')
  const length = from.readUInt32BE(offset + 42)
  const next = offset + headerBytes + length
  if (length > maxFrameBytes || next > from.length) throw bad('it is cut off')
  const frame = {
    run: from.toString('hex', offset + 20, offset + 28),
    epoch: from.readUInt32BE(offset + 28),
    source: from.readUInt32BE(offset + 32),
    seq: from.readUIntBE(offset + 36, 6),
    bytes: Buffer.from(from.subarray(offset + headerBytes, next)),
  }
  return { frame, next }
}
