// Values to XML-RPC text, in the subset that every GENI client understands: int of 32 bits, boolean, string, array,
// struct, and nothing but ASCII (Python 2 clients break on the rest). What XML cannot carry is refused before a byte
// is written, because a half-written answer would leave the caller with a dead connection.
import { printable } from '../../base/ascii.js'
import { Failure } from '../../base/errors.js'
import { forbiddenMember, maxMemberName, type Value } from './value.js'

const declaration = '<?xml version="1.0"?>\n'
const int32 = 2 ** 31
/** Three elements per level: so our own decoder, with its bound on depth, takes all that is written here. */
const maxNesting = 16

/** The body of a call. */
export function encodeCall(method: string, params: Value[]): Buffer {
  const written = params.map((param, i) => `<param>${encodeValue(param, `param ${i + 1}`)}</param>`).join('')
  const name = escapeText(method, 'the method name')
  return ascii(`${declaration}<methodCall><methodName>${name}</methodName><params>${written}</params></methodCall>\n`)
}

/** The body of an answer. */
export function encodeResponse(value: Value): Buffer {
  const written = encodeValue(value, 'answer')
  return ascii(`${declaration}<methodResponse><params><param>${written}</param></params></methodResponse>\n`)
}

/** The body of a fault: only for what is no proper call, never for an error of the application (rule 8a). */
export function encodeFault(code: number, message: string): Buffer {
  const written = encodeValue({ faultCode: code, faultString: printable(message) }, 'fault')
  return ascii(`${declaration}<methodResponse><fault>${written}</fault></methodResponse>\n`)
}

/** `text` for an element or attribute: ASCII only, the rest as character references. Throws on what XML forbids. */
export function escapeText(text: string, where: string): string {
  if (plain.test(text)) return text
  const bad = forbidden.exec(text)
  if (bad) throw new Failure('failed', `${where} holds ${codePoint(bad[0])}, which XML cannot carry`)
  return text.replace(/[&<>"\r\x7f-\u{10ffff}]/gu, (c) => named[c] ?? `&#x${c.codePointAt(0)!.toString(16).toUpperCase()};`)
}

/** `text` with what XML 1.0 cannot carry turned into U+FFFD: for what others wrote, as a guest on its console. */
export function xmlSafe(text: string): string {
  return forbidden.test(text) ? text.replace(allForbidden, '\ufffd') : text
}

const plain = /^[\t\n\x20-\x25\x27-\x3b\x3d\x3f-\x7e]*$/
const forbidden = /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Cs}/u // eslint-disable-line no-control-regex
const allForbidden = new RegExp(forbidden, 'gu')
const named: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#13;' }

function encodeValue(value: Value, where: string, depth = 0): string {
  if (depth > maxNesting) throw new Failure('failed', `${where} is nested deeper than ${maxNesting}`)
  if (typeof value === 'string') return `<value><string>${escapeText(value, where)}</string></value>`
  if (typeof value === 'boolean') return `<value><boolean>${value ? 1 : 0}</boolean></value>`
  if (typeof value === 'number') {
    if (Number.isInteger(value) && value >= -int32 && value < int32) return `<value><int>${value}</int></value>`
    throw new Failure('failed', `${where} is ${value}, which is no integer of 32 bits`)
  }
  if (Array.isArray(value)) return encodeArray(value, where, depth)
  if (typeof value === 'object' && value !== null) return encodeStruct(value, where, depth)
  throw new Failure('failed', `${where} is ${value === null ? 'null' : typeof value}, which XML-RPC cannot carry`)
}

function encodeArray(items: Value[], where: string, depth: number): string {
  const written = items.map((item, i) => encodeValue(item, `${where}[${i}]`, depth + 1))
  return `<value><array><data>${written.join('')}</data></array></value>`
}

function encodeStruct(members: Record<string, Value>, where: string, depth: number): string {
  const written = Object.keys(members).map((name) => {
    const here = `${where}.${name}`
    if (name === forbiddenMember || name.length > maxMemberName) throw new Failure('failed', `${here} is no name for a member`)
    return `<member><name>${escapeText(name, here)}</name>${encodeValue(members[name]!, here, depth + 1)}</member>`
  })
  return `<value><struct>${written.join('')}</struct></value>`
}

function codePoint(character: string): string {
  return `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`
}

function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
