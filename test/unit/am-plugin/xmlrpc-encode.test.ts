import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decodeCall, decodeResponse } from '../../../am-plugin/xmlrpc/decode.js'
import { encodeCall, encodeFault, encodeResponse } from '../../../am-plugin/xmlrpc/encode.js'
import type { Value } from '../../../am-plugin/xmlrpc/value.js'

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

/** Text that XML can carry: no controls but tab, newline, return; no halves of surrogate pairs; no U+FFFE, U+FFFF. */
const xmlText = fc.string({ unit: fc.oneof(
  fc.constantFrom('\t', '\n', '\r', '<', '>', '&', '"', "'", ']]>', ' ', '\x7f', '\x85', '\u2028', '\u{1F600}'),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).filter((c) => /^[^\x00-\x1f\ufffe\uffff]$/u.test(c)), // eslint-disable-line no-control-regex
), maxLength: 30 })
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const { value: anyValue } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof({ maxDepth: 5 }, xmlText, int32, fc.boolean(), fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(xmlText.filter((name) => name !== '__proto__'), tie('value'), { maxKeys: 5 })),
}))

describe('encoding XML-RPC', () => {
  it('whatever is encoded is decoded to the same', () => {
    fc.assert(fc.property(anyValue, (value) => {
      const answer = decodeResponse(encodeResponse(value))
      assert.ok(answer.kind === 'value')
      assert.deepEqual(plain(answer.value), plain(value))
    }), { numRuns: 500 })
  })

  it('a call is decoded to the same method and parameters', () => {
    fc.assert(fc.property(fc.array(anyValue, { maxLength: 4 }), (params) => {
      const call = decodeCall(encodeCall('PerformOperationalAction', params))
      assert.deepEqual(plain(call), { method: 'PerformOperationalAction', params: plain(params) })
    }), { numRuns: 100 })
  })

  it('only ASCII leaves, whatever the text', () => {
    fc.assert(fc.property(anyValue, (value) => encodeResponse(value).every((byte) => byte < 0x80)))
  })

  it('a carriage return is written as a reference, or a parser would turn it into a newline', () => {
    assert.match(encodeResponse('a\r\nb').toString(), /a&#13;\nb/)
  })

  it('what XML cannot carry is refused before anything is written, and the place is named', () => {
    for (const text of ['\0', 'a\x1bb', '\ud800', '\udc00x', '\ufffe', '\uffff']) {
      assert.throws(() => encodeResponse({ output: [text] }), /^Failure: answer\.output\[0\] holds U\+[0-9A-F]{4}, which XML cannot carry$/)
      assert.throws(() => encodeResponse({ [text]: '' }), { name: 'Failure' })
    }
  })

  it('numbers that are no integers of 32 bits are refused', () => {
    for (const n of [2 ** 31, -(2 ** 31) - 1, 1.5, NaN, Infinity]) assert.throws(() => encodeResponse(n), { name: 'Failure' })
    assert.match(encodeResponse(-(2 ** 31)).toString(), /<int>-2147483648<\/int>/)
  })

  it('null, undefined and functions are refused, not guessed', () => {
    for (const v of [null, undefined, () => 1, 1n]) {
      assert.throws(() => encodeResponse({ v } as unknown as Value), { name: 'Failure' })
    }
  })

  it('a member called __proto__ is never written', () => {
    assert.throws(() => encodeResponse(JSON.parse('{"__proto__":1}') as Value), { name: 'Failure' })
  })

  it('a value that holds itself is refused', () => {
    const loop: Value[] = []
    loop.push(loop)
    assert.throws(() => encodeResponse(loop), /nested deeper/)
  })

  it('a fault can say anything: what is not printable becomes a question mark', () => {
    assert.deepEqual(decodeResponse(encodeFault(-32700, 'bad \0 gr\u00fcn <x>')), { kind: 'fault', code: -32700, message: 'bad ? gr?n <x>' })
  })
})
