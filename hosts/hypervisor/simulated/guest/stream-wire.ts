// The stream between neighbours on the wire. The real bank uses TCP; in its place the simulated one has numbered records in
// UDP datagrams, acknowledged and sent again. Each segment belongs to one connection, named by a number its opener chose.

export const streamPort = 7002
/** So many records may be on their way at once. Both ends know it: a number beyond it can only come from another past. */
export const windowRecords = 64

export type SegmentKind = 'open' | 'opened' | 'data' | 'ack' | 'reset'

export interface Segment {
  kind: SegmentKind
  connection: number
  /** open: the first record to come. data: this record. opened, ack: the last record that came in order. reset: 0. */
  number: number
  /** data only. */
  record?: Buffer
}

/** Text for people, of what broke; the count goes on where the texts end. */
export interface StreamFaults { broken: number; errors: string[] }

const kinds: SegmentKind[] = ['open', 'opened', 'data', 'ack', 'reset']
const magic = 0x53545245
const recordMagic = 0x42414e4b
const headerBytes = 16
const recordBytes = 64
const maxErrors = 16

export function streamError(faults: StreamFaults, text: string): void {
  faults.broken++
  if (faults.errors.length < maxErrors) faults.errors.push(text)
}

/** The content of a record follows from its number, so what was not acknowledged need not be kept. */
export function makeRecord(number: number): Buffer {
  const record = Buffer.alloc(recordBytes)
  for (let i = 8; i < recordBytes; i++) record[i] = (number + i) & 0xff
  record.writeUInt32BE(recordMagic, 0)
  record.writeUInt32BE(number, 4)
  return record
}

export function encodeSegment(segment: Segment): Buffer {
  const head = Buffer.alloc(headerBytes)
  head.writeUInt32BE(magic, 0)
  head.writeUInt32BE(kinds.indexOf(segment.kind) + 1, 4)
  head.writeUInt32BE(segment.connection, 8)
  head.writeUInt32BE(segment.number, 12)
  return segment.record ? Buffer.concat([head, segment.record]) : head
}

/** Undefined when it is no segment. */
export function decodeSegment(payload: Buffer): Segment | undefined {
  if (payload.length < headerBytes || payload.readUInt32BE(0) !== magic) return undefined
  const kind = kinds[payload.readUInt32BE(4) - 1]
  if (!kind || payload.length !== headerBytes + (kind === 'data' ? recordBytes : 0)) return undefined
  const segment: Segment = { kind, connection: payload.readUInt32BE(8), number: payload.readUInt32BE(12) }
  return kind === 'data' ? { ...segment, record: payload.subarray(headerBytes) } : segment
}
