// The text of a typed XML-RPC value, as lenient as real clients need (geni-lib sends base64 and ints where strings are
// meant) and no more: `12abc` is no 12.
import { Refusal } from '../../base/errors.js'
import { printable } from '../../base/ascii.js'
import type { Value } from './value.js'

const decimal = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$/
const base64 = /^[A-Za-z0-9+/]*={0,2}$/
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const readers: Record<string, (text: string) => Value> = {
  'string': (text) => text,
  'int': readInt,
  'i4': readInt,
  'i8': readInt,
  'ex:i8': readInt,
  'boolean': readBoolean,
  'double': readDouble,
  'base64': readBase64,
  'dateTime.iso8601': (text) => text.trim(),
  'nil': () => '',
  'ex:nil': () => '',
}

export const scalarTypes = Object.keys(readers)

/** The value of `<type>text</type>`. Refuses what the type does not allow. */
export function readScalar(type: string, text: string): Value {
  return readers[type]!(text)
}

function readInt(text: string): number {
  const trimmed = text.trim()
  const value = /^[+-]?\d{1,20}$/.test(trimmed) ? Number(trimmed) : NaN
  if (!Number.isSafeInteger(value)) throw malformed('int', trimmed)
  return value + 0 === 0 ? 0 : value
}

function readBoolean(text: string): boolean {
  const trimmed = text.trim().toLowerCase()
  if (trimmed === '1' || trimmed === 'true') return true
  if (trimmed === '0' || trimmed === 'false') return false
  throw malformed('boolean', trimmed)
}

function readDouble(text: string): number {
  const trimmed = text.trim()
  const value = trimmed.length < 400 && decimal.test(trimmed) ? Number(trimmed) : NaN
  if (!Number.isFinite(value)) throw malformed('double', trimmed)
  return value
}

function readBase64(text: string): string {
  const packed = text.replace(/[ \t\r\n]+/g, '')
  if (!base64.test(packed)) throw new Refusal('bad-arguments', 'a <base64> value is not base64')
  try {
    return utf8.decode(Buffer.from(packed, 'base64'))
  } catch (cause) {
    throw new Refusal('bad-arguments', 'a <base64> value does not hold UTF-8 text', { cause })
  }
}

function malformed(type: string, text: string): Refusal {
  return new Refusal('bad-arguments', `"${printable(text.slice(0, 40))}" is no <${type}>`)
}
