import assert from 'node:assert/strict'
import { rfc3339 } from '../../../base/time.js'
import { authorize } from '../../../certs/authorize.js'
import { parseGeniCertificate } from '../../../certs/certificate.js'
import { parseExpiry } from '../../../certs/credential-fields.js'
import { trustOf } from '../../../certs/trust.js'
import { ask, callerOf, certify, credential, dayMs, field, now, pemOf, read, signerOf } from './field.js'

async function refusedBecause(answer: Promise<Awaited<ReturnType<typeof ask>>>, why: RegExp): Promise<void> {
  const got = await answer
  assert.equal(got.allowed, false)
  assert.match(got.why, why)
}

describe('authorize', () => {
  it('lets the owner change the slice that the federation issued', async () => {
    const { alice, slice, credential: text } = await field()
    const expected = { allowed: true, owner: alice.urn, expires: slice.expires, sliceUuid: slice.uuid }
    const { why, ...answer } = await ask(text)
    assert.deepEqual(answer, expected)
    const until = rfc3339(slice.expires)
    assert.equal(why, `credential of ${alice.urn} for ${slice.urn}, signed by urn:publicid:IDN+lab.example+authority+sa, with embed, bind, control, until ${until}`)
  })

  it('takes the name of a slice in any case, as ProtoGENI does', async () => {
    const { slice, credential: text } = await field()
    assert.ok((await ask(text, { sliceUrn: slice.urn.replace('exp1', 'EXP1') })).allowed)
  })

  it('calls an empty list of credentials bad arguments', async () => {
    const { alice, trust } = await field()
    const answer = authorize({ caller: callerOf(alice), credentials: [], operation: 'list-resources', trust, now })
    assert.equal(answer.allowed, false)
    assert.equal(answer.code, 'bad-arguments')
  })

  it('calls it bad arguments when the slice is missing or is no slice', async () => {
    const { alice, slice, trust, credential: value } = await field()
    const base = { caller: callerOf(alice), credentials: [{ type: 'geni_sfa', version: '3', value }], trust, now }
    const kelvin = 'urn:publicid:IDN+lab.example+slice+\u212Aelvin'
    const user = 'urn:publicid:IDN+lab.example+user+alice'
    for (const sliceUrn of [user, 'exp1', `${slice.urn}+x`, `${slice.urn} `, kelvin]) {
      const answer = authorize({ ...base, operation: 'read', sliceUrn })
      assert.equal(!answer.allowed && answer.code, 'bad-arguments')
    }
    const answer = authorize({ ...base, operation: 'read' })
    assert.equal(!answer.allowed && answer.code, 'bad-arguments')
  })

  it('refuses more credentials than any client sends, before it looks at one', async () => {
    const answer = await ask(Array.from({ length: 21 }, () => '<'))
    assert.equal(!answer.allowed && answer.code, 'bad-arguments')
  })

  it('is content with one good credential among bad ones', async () => {
    const { credential: text, other } = await field()
    assert.ok((await ask(['<broken', read(other.credential), text])).allowed)
  })

  it('gives the reason for every credential when none will do', async () => {
    const { other } = await field()
    const answer = ask(['<broken', read(other.credential)])
    await refusedBecause(answer, /credential 1: .*well-formed.*; credential 2: .*exp2, not for/)
  })

  it('goes by the credential that lasts longest', async () => {
    const long = now + 2 * dayMs
    const values = [await credential({ expires: now + dayMs }), await credential({ expires: long }), await credential()]
    const answer = await ask(values)
    assert.equal(answer.allowed && answer.expires, long)
  })

  it('reads geni_sfa of version 2 and 3 in any letter case and nothing else', async () => {
    const { credential: value } = await field()
    for (const [type, version] of [['geni_sfa', '2'], ['GENI_SFA', '3'], [' geni_sfa', '3']] as const) {
      assert.ok((await ask([], { credentials: [{ type, version, value }] })).allowed, type)
    }
    for (const [type, version] of [['geni_abac', '1'], ['geni_sfa', '1'], ['', '3']] as const) {
      await refusedBecause(ask([], { credentials: [{ type, version, value }] }), /are not read; send geni_sfa/)
    }
  })

  it("refuses another user's credential", async () => {
    const { credential: text, bob } = await field()
    await refusedBecause(ask(text, { caller: callerOf(bob) }), /belongs to .*alice, and the caller is .*bob/)
  })

  it('refuses a credential for another slice', async () => {
    const { other } = await field()
    await refusedBecause(ask(read(other.credential)), /is for .*exp2, not for .*exp1/)
  })

  it('refuses a user credential where a slice credential is needed, and takes it for ListResources', async () => {
    const { alice, trust } = await field()
    const value = read(alice.credential)
    await refusedBecause(ask(value), /is for .*user\+alice, not for/)
    const credentials = [{ type: 'geni_sfa', version: '3', value }]
    const answer = authorize({ caller: callerOf(alice), credentials, operation: 'list-resources', trust, now })
    assert.ok(answer.allowed)
    assert.equal('sliceUuid' in answer, false)
  })

  it('refuses even ListResources when no credential is usable', async () => {
    const { alice, trust } = await field()
    const credentials = [{ type: 'geni_sfa', version: '3', value: '<broken' }]
    const answer = authorize({ caller: callerOf(alice), credentials, operation: 'list-resources', trust, now })
    assert.equal(answer.allowed, false)
  })

  it('asks for the privilege of each kind of call', async () => {
    const cases = [
      ['info', { 'list-resources': true, read: true, change: false, shutdown: false }],
      ['bind', { 'list-resources': true, read: true, change: true, shutdown: false }],
      ['control', { 'list-resources': true, read: true, change: true, shutdown: true }],
      ['*', { 'list-resources': true, read: true, change: true, shutdown: true }],
      ['refresh', { 'list-resources': true, read: false, change: false, shutdown: false }],
      ['CONTROL', { 'list-resources': true, read: false, change: false, shutdown: false }],
    ] as const
    for (const [privilege, expected] of cases) {
      const text = await credential({ privileges: [privilege] })
      for (const operation of ['list-resources', 'read', 'change', 'shutdown'] as const) {
        assert.equal((await ask(text, { operation })).allowed, expected[operation], `${privilege} for ${operation}`)
      }
    }
  })

  it('refuses everybody when nothing is trusted', async () => {
    const answer = ask((await field()).credential, { trust: trustOf([]) })
    await refusedBecause(answer, /no trusted certificate is configured/)
  })

  it('knows a user whose certificate was renewed by the same issuer', async () => {
    const { alice, federation, credential: text } = await field()
    const renewed = await certify({ urn: alice.urn }, signerOf(federation.ma.certificate, federation.ma.key))
    assert.ok((await ask(text, { caller: parseGeniCertificate(renewed.certificate.der) })).allowed)
  })

  it('does not take a namesake by another issuer for the owner', async () => {
    const { alice, sa, credential: text } = await field()
    const namesake = await certify({ urn: alice.urn }, sa)
    const answer = ask(text, { caller: parseGeniCertificate(namesake.certificate.der) })
    await refusedBecause(answer, /another key of .*alice than the caller's, by another issuer/)
  })

  it('does not take a user for the one whose name differs by case', async () => {
    const { alice, federation, credential: text } = await field()
    const ma = signerOf(federation.ma.certificate, federation.ma.key)
    const upper = await certify({ urn: alice.urn.replace('alice', 'Alice') }, ma)
    const answer = ask(text, { caller: parseGeniCertificate(upper.certificate.der) })
    await refusedBecause(answer, /belongs to .*alice, and the caller is .*Alice/)
  })

  it('allows an authority to sign for a slice that it did not issue and whose name-space it rules', async () => {
    const { federation, trust } = await field()
    const root = signerOf(federation.trust, `${federation.dir}/ca.key`)
    const below = await certify({ urn: 'urn:publicid:IDN+lab.example:project+authority+sa', caDepth: 0 }, root)
    const sliceUrn = 'urn:publicid:IDN+lab.example:project+slice+exp1'
    const slice = await certify({ urn: sliceUrn }, below)
    const target = { urn: sliceUrn, pem: pemOf(slice.certificate, below.certificate) }
    for (const signer of [below, undefined]) {
      assert.ok((await ask(await credential({ target }, signer), { sliceUrn, trust })).allowed)
    }
  })
})

describe('parseExpiry', () => {
  it('takes a missing zone for UTC, and fractions and offsets as they are written', () => {
    const noon = Date.UTC(2030, 0, 2, 12)
    for (const text of ['2030-01-02T12:00:00Z', '2030-01-02T12:00:00', '2030-01-02 12:00:00',
      '2030-01-02T12:00:00.123456Z', '2030-01-02T14:00:00+02:00', '2030-01-02T07:00:00-0500']) {
      assert.equal(parseExpiry(text), noon, text)
    }
  })

  it('refuses what is not a time', () => {
    for (const text of ['', '2030', '2030-13-01T00:00:00Z', '2030-02-02T25:00:00Z', '2030-01-02T12:00:00Zx', 'soon']) {
      assert.throws(() => parseExpiry(text), /not an ISO 8601 time/, text)
    }
  })
})
