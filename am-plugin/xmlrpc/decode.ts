// XML-RPC text to values. The text comes from anybody who can open a TLS connection, before we know who it is, so the
// parser is strict, knows no DOCTYPE, and everything that can grow is bounded. It throws a Refusal and nothing else.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { SaxesParser, type SaxesTagPlain } from 'saxes'
import { Refusal } from '../../base/errors.js'
import { limits } from '../../base/limits.js'
import { printable } from '../../base/ascii.js'
import { Building, type Bounds, type Frame } from './building.js'
import { isStruct, type Answer, type Value } from './value.js'

export interface DecodeLimits extends Bounds { bytes: number }
export interface Call { method: string; params: Value[] }

/** A hundred thousand values: an answer about a thousand slivers has a few thousand. */
const standard: DecodeLimits = { bytes: limits.bodyBytes, depth: limits.xmlDepth, values: 100_000, text: limits.bodyBytes, members: 100_000 }
/** Nobody calls with more. The longest string is a request RSpec, and that may be bad in ways that rspec/ should tell of. */
const ofCalls: DecodeLimits = { ...standard, text: 2 * limits.rspecBytes, members: 10_000 }
const chunk = 64 * 1024
const methodForm = /^[A-Za-z0-9_.:/]{1,256}$/

/** The call in `body`. Throws a Refusal that says what is wrong with it: 'too-big' where only its size is. */
export function decodeCall(body: Uint8Array, bounds: Partial<DecodeLimits> = {}): Call {
  return callIn(atOnce(parse(body, 'methodCall', { ...ofCalls, ...bounds })))
}

/** The same, and lets others have the processor between the parts of a long body. */
export async function decodeCallInTurns(body: Uint8Array): Promise<Call> {
  const parsing = parse(body, 'methodCall', ofCalls)
  for (;;) {
    const step = parsing.next()
    if (step.done) return callIn(step.value)
    await nextTurn()
  }
}

function callIn(call: Frame): Call {
  const method = call.method?.trim() ?? ''
  if (!methodForm.test(method)) throw bad('the call has no valid <methodName>')
  return { method, params: call.params ?? [] }
}

/** The answer in `body`: a value or a fault. Throws a Refusal when it is neither. */
export function decodeResponse(body: Uint8Array, bounds: Partial<DecodeLimits> = {}): Answer {
  const answer = atOnce(parse(body, 'methodResponse', { ...standard, ...bounds }))
  if (answer.fault === undefined) {
    if (answer.params?.length !== 1) throw bad('the answer does not hold exactly one value')
    return { kind: 'value', value: answer.params[0]! }
  }
  const { faultCode, faultString } = isStruct(answer.fault) ? answer.fault : {}
  if (typeof faultCode !== 'number' || typeof faultString !== 'string') throw bad('the fault has no faultCode and faultString')
  return { kind: 'fault', code: faultCode, message: faultString }
}

function atOnce<T>(steps: Generator<void, T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** Stops after each part of a long text. */
function* parse(body: Uint8Array, root: string, bounds: DecodeLimits): Generator<void, Frame> {
  if (body.length > bounds.bytes) throw new Refusal('too-big', `the XML is larger than ${bounds.bytes} bytes`)
  const text = toText(body)
  // One version only: XML 1.1 would let control characters in.
  const parser = new SaxesParser({ xmlns: false, position: true, defaultXMLVersion: '1.0', forceXMLVersion: true })
  const building = new Building(root, bounds)
  parser.on('error', (error) => { throw bad(`this is not well-formed XML: ${printable(error.message)}`) })
  parser.on('doctype', () => { throw bad('a DOCTYPE is not allowed') })
  parser.on('opentag', (tag: SaxesTagPlain) => building.open(tag.name, parser.line))
  parser.on('text', (more) => building.text(more, parser.line))
  parser.on('cdata', (more) => building.text(more, parser.line))
  parser.on('closetag', () => building.close(parser.line))
  try {
    for (let at = 0; at < text.length; at += chunk) {
      if (at > 0) yield
      parser.write(text.slice(at, at + chunk))
    }
    parser.close()
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw bad('this is not well-formed XML', { cause: error })
  }
  return building.result()
}

const declared = /^<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']/
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The body as text: UTF-8 unless it declares one of the few other encodings that clients use. */
function toText(body: Uint8Array): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const encoding = declared.exec(bytes.toString('latin1', 0, 256))?.[1]?.toLowerCase() ?? 'utf-8'
  if (encoding === 'iso-8859-1' || encoding === 'latin1') return bytes.toString('latin1')
  if (!['utf-8', 'utf8', 'us-ascii', 'ascii'].includes(encoding)) throw bad(`the encoding ${encoding} is not supported; send UTF-8`)
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    throw bad('the XML is not valid UTF-8', { cause })
  }
}

function bad(message: string, options?: ErrorOptions): Refusal {
  return new Refusal('bad-arguments', message, options)
}
