import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { decodeCall, decodeCallInTurns, decodeResponse } from '../../../am-plugin/xmlrpc/decode.js'
import { encodeCall } from '../../../am-plugin/xmlrpc/encode.js'
import { Refusal } from '../../../base/errors.js'

const fixtures = new URL('../../fixtures/xmlrpc/', import.meta.url)
const fixture = (name: string) => readFileSync(new URL(name, fixtures))
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
const oneValue = (xml: string) => decodeCall(Buffer.from(
  `<methodCall><methodName>X</methodName><params><param>${xml}</param></params></methodCall>`)).params[0]

describe('decoding XML-RPC', () => {
  it('a call of Python 3 without parameters has none', () => {
    assert.deepEqual(decodeCall(fixture('good/python3-getversion-no-params.xml')), { method: 'GetVersion', params: [] })
  })

  it('a ListResources call of Python 3 arrives as it was sent', () => {
    const { method, params } = decodeCall(fixture('good/python3-listresources.xml'))
    assert.equal(method, 'ListResources')
    assert.deepEqual(plain(params), [
      [{
        geni_type: 'geni_sfa', geni_version: '3',
        geni_value: '<?xml version="1.0"?>\n<signed-credential>&amp; "q" \'a\'</signed-credential>\n',
      }],
      { geni_rspec_version: { type: 'GENI', version: '3' }, geni_compressed: true, geni_available: false },
    ])
  })

  it('every type that Python 3 can send is understood', () => {
    const { params } = decodeCall(fixture('good/python3-all-types.xml'))
    assert.deepEqual(plain(params), [{
      int: -2147483648, double: 1.5, yes: true, no: false, text: 'a < b & c > d \u00e9\u20ac\u{1F600}', empty: '',
      blank: '  two  ', date: '20261124T14:00:05', bytes: '<rspec/> \u00e9', none: '', list: [1, [2, []], {}], __class__: 'x',
    }])
  })

  it('text in ISO 8859-1 is understood when it is declared', () => {
    assert.deepEqual(decodeCall(fixture('good/python3-latin1.xml')).params, ['gr\u00fcn'])
  })

  it('answers and faults of Python 3 are told apart', () => {
    const answer = decodeResponse(fixture('good/python3-response.xml'))
    assert.deepEqual(plain(answer), { kind: 'value', value: { code: { geni_code: 0 }, value: [], output: '' } })
    const fault = decodeResponse(fixture('good/python3-fault.xml'))
    assert.deepEqual(fault, { kind: 'fault', code: -32601, message: 'no such method "x"' })
  })

  it('untyped values, CDATA, nil, i8, loose booleans and any order of name and value are accepted', () => {
    const { method, params } = decodeCall(fixture('good/untyped-and-lenient.xml'))
    assert.equal(method, 'Lenient')
    assert.deepEqual(plain(params), [
      'plain & untyped', '', '<node/>', true, 7, 9007199254740991, '', '<rspec/>', { order: 1 }, '20261124T14:00:05+02:00',
    ])
  })

  for (const name of readdirSync(new URL('bad/', fixtures))) {
    it(`a bad call is refused in one sentence: ${name}`, () => {
      assert.throws(() => decodeCall(fixture(`bad/${name}`)), (error) => {
        assert.ok(error instanceof Refusal, String(error))
        assert.equal(error.code, name.startsWith('too-') ? 'too-big' : 'bad-arguments')
        assert.match(error.message, /^[\x20-\x7e]{10,200}$/)
        return true
      })
    })
  }

  it('structs have no prototype, so a member is there only when it was sent', () => {
    const value = oneValue('<value><struct></struct></value>')
    assert.equal(Object.getPrototypeOf(value), null)
  })

  it('minus zero is zero', () => {
    assert.ok(Object.is(oneValue('<value><int>-0</int></value>'), 0))
  })

  it('a body over the bound is refused as too big before it is parsed', () => {
    assert.throws(() => decodeCall(Buffer.alloc(101), { bytes: 100 }), { name: 'Refusal', code: 'too-big' })
  })

  it('the length of a string and the members of an array and of a struct are bounded, and that is told apart from bad XML', () => {
    const call = (xml: string) => Buffer.from(`<methodCall><methodName>X</methodName><params><param><value>${xml}</value></param></params></methodCall>`)
    const list = (n: number) => call(`<array><data>${'<value/>'.repeat(n)}</data></array>`)
    const struct = (n: number) => call(`<struct>${Array.from({ length: n }, (_, i) => `<member><name>m${i}</name><value/></member>`).join('')}</struct>`)
    for (const most of [call('<string>12345</string>'), call('12345'), list(3), struct(3)]) assert.equal(decodeCall(most, { text: 5, members: 3 }).params.length, 1)
    for (const more of [call('<string>123456</string>'), call('1234<![CDATA[56]]>'), call('12345&#54;')]) {
      assert.throws(() => decodeCall(more, { text: 5 }), { code: 'too-big', message: /^line 1: a string is longer than 5 characters$/ })
    }
    for (const more of [list(4), struct(4)]) {
      assert.throws(() => decodeCall(more, { members: 3 }), { code: 'too-big', message: /^line 1: an array or struct has more than 3 members$/ })
    }
  })

  it('a long call lets others run while it is read, and is read the same', async () => {
    const long = encodeCall('Allocate', ['x'.repeat(1_000_000), Array.from({ length: 5_000 }, (_, i) => i)])
    let turns = 0
    const counting = setInterval(() => { turns++ }, 0)
    const call = await decodeCallInTurns(long)
    clearInterval(counting)
    assert.deepEqual(call, decodeCall(long))
    assert.ok(turns > 0)
    await assert.rejects(decodeCallInTurns(Buffer.from('<methodCall/>')), { name: 'Refusal', code: 'bad-arguments' })
  })

  it('the number of values is bounded', () => {
    const body = encodeCall('X', [Array.from({ length: 50 }, () => '')])
    assert.throws(() => decodeCall(body, { values: 50 }), /more than 50 values/)
    assert.equal(decodeCall(body, { values: 51 }).params.length, 1)
  })

  it('the sentence names the line', () => {
    const body = '<methodCall>\n<methodName>X</methodName>\n<params>\n<param/></params></methodCall>'
    assert.throws(() => decodeCall(Buffer.from(body)), /^Refusal: line 4: a <param> is empty$/)
  })

  it('no bytes whatsoever make the decoder throw anything but a refusal', () => {
    const good = encodeCall('Allocate', ['urn', [{ geni_type: 'geni_sfa' }], { n: 1, yes: true, list: ['<', '&'] }])
    const spoilt = fc.tuple(fc.nat(good.length - 1), fc.uint8Array({ maxLength: 8 }), fc.nat(8)).map(([at, bytes, drop]) =>
      Buffer.concat([good.subarray(0, at), bytes, good.subarray(at + drop)]))
    const tags = fc.array(fc.constantFrom('<value>', '</value>', '<struct>', '</struct>', '<member>', '</member>', '<name>',
      '</name>', '<int>', '</int>', '<array>', '</array>', '<data>', '</data>', '1', ' ', '<nil/>', '<!--', '-->'), { maxLength: 12 })
      .map((parts) => Buffer.from(`<methodCall><methodName>X</methodName><params><param>${parts.join('')}`))
    fc.assert(fc.property(fc.oneof(fc.uint8Array(), spoilt, tags), (body) => {
      for (const decode of [decodeCall, decodeResponse]) {
        try {
          decode(body)
        } catch (error) {
          assert.ok(error instanceof Refusal, String(error))
        }
      }
    }), { numRuns: 1500 })
  })
})
