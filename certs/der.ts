// DER, as much of it as is needed: the parts of a CRL that were signed, the key inside a public key, and writing PKCS#12.
import { Refusal } from '../base/errors.js'

export interface Tlv {
  tag: number
  /** With tag and length: the very bytes. */
  raw: Buffer
  content: Buffer
}

/** The element that begins at `at`. Refuses what is cut off or not DER. */
export function readDer(bytes: Buffer, at = 0): Tlv {
  const first = bytes[at + 1] ?? 0x80
  const wide = first >= 0x80 ? first - 0x80 : 0
  const begin = at + 2 + wide
  const length = first < 0x80 ? first : wide >= 1 && wide <= 4 && begin <= bytes.length ? bytes.readUIntBE(at + 2, wide) : NaN
  if (!(begin + length <= bytes.length)) throw new Refusal('bad-arguments', 'ASN.1 that is cut off or not DER')
  return { tag: bytes[at]!, raw: bytes.subarray(at, begin + length), content: bytes.subarray(begin, begin + length) }
}

/** The elements that follow each other in `content`. */
export function derChildren(content: Buffer): Tlv[] {
  const found: Tlv[] = []
  for (let at = 0; at < content.length; at += found[found.length - 1]!.raw.length) found.push(readDer(content, at))
  return found
}

/** One element with this tag that holds `parts`. */
export function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content])
  const size = Buffer.alloc(4)
  size.writeUInt32BE(content.length)
  const length = size.subarray(size.findIndex((byte) => byte !== 0))
  return Buffer.concat([Buffer.from([tag, 0x80 + length.length]), length, content])
}

export const sequence = (...parts: readonly Buffer[]): Buffer => der(0x30, ...parts)
export const octets = (bytes: Buffer): Buffer => der(0x04, bytes)
export const derNull = Buffer.from([5, 0])

/** A whole number from 0 to 2^31 - 1. */
export function integer(n: number): Buffer {
  const hex = n.toString(16)
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  return der(0x02, bytes[0]! < 0x80 ? bytes : Buffer.concat([Buffer.of(0), bytes]))
}

/** A dotted object identifier. */
export function objectId(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split('.').map(Number)
  const bytes = [first! * 40 + second!, ...rest].flatMap((n) => {
    const groups = [n % 128]
    for (let left = Math.floor(n / 128); left > 0; left = Math.floor(left / 128)) groups.unshift(128 + (left % 128))
    return groups
  })
  return der(0x06, Buffer.from(bytes))
}
