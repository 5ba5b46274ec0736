import assert from 'node:assert/strict'
import { inflateSync } from 'node:zlib'
import { Refusal } from '../../../base/errors.js'
import { rfc3339 } from '../../../base/time.js'
import {
  checkRspecVersion, credentialsArgument, flag, maybeCompressed, optionsArgument, timeArgument, urnsArgument, usersOption,
} from '../../../am-plugin/options.js'

const is = (code: string) => (error: unknown) => error instanceof Refusal && error.code === code
const user = (name: string) => `urn:publicid:IDN+lab.example+user+${name}`
const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJx alice@lab'

describe('options', () => {
  it('a flag is true or false in every way that clients write it', () => {
    for (const yes of [true, 1, '1', 'true']) assert.equal(flag({ f: yes }, 'f'), true)
    for (const no of [false, 0, '0', 'false', '']) assert.equal(flag({ f: no }, 'f'), false)
    assert.equal(flag({}, 'f'), false)
    for (const odd of [2, 'yes', [], {}]) assert.throws(() => flag({ f: odd }, 'f'), is('bad-arguments'))
  })

  it('a missing options struct is an empty one, and anything but a struct is refused', () => {
    assert.deepEqual(optionsArgument(undefined), {})
    for (const odd of [3, 'x', []]) assert.throws(() => optionsArgument(odd), is('bad-arguments'))
  })

  it('dates are read in every form of RFC 3339 that clients send, always as instants', () => {
    const cases = {
      '2026-01-31T12:00:00Z': '2026-01-31T12:00:00Z', '2026-01-31 12:00:00': '2026-01-31T12:00:00Z', '2026-01-31': '2026-01-31T00:00:00Z',
      '2026-01-31T12:00:00.75+01:00': '2026-01-31T11:00:00Z', '2026-01-31T12:00:00-0500': '2026-01-31T17:00:00Z',
      '2026-01-31t12:00:00z': '2026-01-31T12:00:00Z', '2026-06-30T23:59:60Z': '2026-06-30T23:59:59Z',
    }
    for (const [text, instant] of Object.entries(cases)) assert.equal(rfc3339(timeArgument(text, 't')), instant, text)
    for (const bad of ['', 'tomorrow', '2026-13-01', '2026-02-31', '2026-01-31T25:00:00Z', '12:00', '20260131T120000Z']) {
      assert.throws(() => timeArgument(bad, 't'), is('bad-arguments'), bad)
    }
  })

  it('RSpec version: GENI 3 in any case, text or number, and nothing else', () => {
    for (const version of ['3', 3]) checkRspecVersion({ geni_rspec_version: { type: 'gEnI', version } }, true)
    checkRspecVersion({}, false)
    assert.throws(() => checkRspecVersion({}, true), is('bad-arguments'))
    assert.throws(() => checkRspecVersion({ geni_rspec_version: 'GENI 3' }, true), is('bad-arguments'))
    for (const [type, version] of [['GENI', '2'], ['ProtoGENI', '3'], ['', '']] as const) {
      assert.throws(() => checkRspecVersion({ geni_rspec_version: { type, version } }, true), is('bad-version'))
    }
  })

  it('urns must be URNs, at least one; a lone string is a list of one', () => {
    const slice = 'urn:publicid:IDN+lab.example+slice+exp1'
    assert.deepEqual(urnsArgument(slice), [slice])
    for (const bad of [undefined, [], 'exp1', [slice, 3], [slice, ''], {}]) assert.throws(() => urnsArgument(bad), is('bad-arguments'))
  })

  it('a plain string is a credential of type geni_sfa, an empty list stays empty, other things are refused', () => {
    assert.deepEqual(credentialsArgument(['<x/>']), [{ type: 'geni_sfa', version: '3', value: '<x/>' }])
    assert.deepEqual(credentialsArgument([{ geni_type: 'geni_sfa', geni_version: 3, geni_value: 'v' }]), [{ type: 'geni_sfa', version: '3', value: 'v' }])
    assert.deepEqual(credentialsArgument([]), [])
    for (const bad of [undefined, 'x', {}, [3], [[]]]) assert.throws(() => credentialsArgument(bad), is('bad-arguments'))
  })

  it('login names come from the URN, lower-case, fit for a Unix system, each once and never root', () => {
    const logins = usersOption({ geni_users: ['Alice', 'alice', '9lives', 'root', 'a.b@c', 'x'.repeat(40)].map((n) => ({ urn: user(n), keys: [key] })) })
    const names = logins.map((l) => l.name)
    assert.deepEqual(names, ['alice', 'alice2', 'u9lives', 'root2', 'abc', 'x'.repeat(28)])
    for (const name of names) assert.match(name, /^[a-z_][a-z0-9_-]{0,30}$/)
  })

  it('keys may be one string or a list, and none is an account without a key', () => {
    const [one, many, none] = usersOption({ geni_users: [{ urn: user('a'), keys: key }, { urn: user('b'), keys: [key, ` ${key}\n`] }, { urn: user('c') }] })
    assert.deepEqual([one!.keys, many!.keys, none!.keys], [[key], [key, key], []])
    assert.deepEqual(usersOption({}), [])
  })

  it('what is no public key never reaches a guest: no second line, no forced command, no private key', () => {
    for (const bad of ['rubbish', `${key}\n${key}`, `command="rm" ${key}`, '-----BEGIN OPENSSH PRIVATE KEY-----']) {
      assert.throws(() => usersOption({ geni_users: [{ urn: user('a'), keys: [bad] }] }), is('bad-arguments'), bad)
    }
    assert.throws(() => usersOption({ geni_users: [{ urn: 'alice', keys: [] }] }), is('bad-arguments'))
  })

  it('a compressed RSpec is a string of base64 over zlib', () => {
    const text = maybeCompressed('<rspec/>', { geni_compressed: true })
    assert.equal(inflateSync(Buffer.from(text, 'base64')).toString(), '<rspec/>')
    assert.equal(maybeCompressed('<rspec/>', {}), '<rspec/>')
  })
})

describe('a credential of the type geni_unknown', () => {
  it('is what Omni calls every delegated one: it is taken for geni_sfa and judged by its text', () => {
    const value = '<signed-credential/>'
    assert.deepEqual(credentialsArgument([{ geni_type: 'geni_unknown', geni_version: '0', geni_value: value }]), [{ type: 'geni_sfa', version: '3', value }])
    const broken = { geni_type: 'geni_sfaBROKEN', geni_version: '3', geni_value: value }
    assert.equal(credentialsArgument([broken])[0]!.type, 'geni_sfaBROKEN')
  })
})
