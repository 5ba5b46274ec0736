// Credentials that real issuers made, years ago: verified with the clock of then.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { authorize } from '../../../certs/authorize.js'
import { parseCertificate, parseGeniCertificate } from '../../../certs/certificate.js'
import { verifyCredential } from '../../../certs/credential.js'
import { trustOf } from '../../../certs/trust.js'
import { edit } from './field.js'

const folder = join(import.meta.dirname, '../../fixtures/credentials')
const hourMs = 3600_000
const cases = [
  { file: 'gcf-user.xml', owner: 'geni:gpo:gcf+user+alice', expires: '2015-12-24T19:10:28Z', at: '2015-01-01T00:00:00Z', first: 'refresh' },
  { file: 'sfa-nitos-user.xml', owner: 'topdomain:nitos+user+pi', expires: '2013-06-22T09:38:28Z', at: '2013-06-01T00:00:00Z', first: 'refresh' },
  { file: 'sfa-topdomain-authority.xml', owner: 'topdomain+authority+sa', expires: '2013-07-11T08:47:04Z', at: '2013-07-01T00:00:00Z', first: 'authority' },
  { file: 'ofelia-ocf-authority.xml', owner: 'ocf+authority+sa', expires: '2013-07-14T10:42:15Z', at: '2013-07-01T00:00:00Z', first: 'authority' },
  { file: 'cbas-expedient.xml', owner: 'cbas.eict.de+user+expedient', expires: '2015-11-18T15:29:48Z', at: '2015-10-01T00:00:00Z', first: '' },
]

describe('a credential from the field', () => {
  for (const { file, owner, expires, at, first } of cases) {
    const xml = readFileSync(join(folder, file), 'utf8')
    const certificates = [...xml.matchAll(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)].map((m) => parseCertificate(m[0]))
    const trust = trustOf(certificates)
    const now = Date.parse(at)

    it(`(${file}) is verified as it was issued`, () => {
      const credential = verifyCredential(xml, trust, now)
      assert.equal(credential.ownerUrn, `urn:publicid:IDN+${owner}`)
      assert.equal(credential.targetUrn, credential.ownerUrn)
      assert.equal(credential.expires, Date.parse(expires))
      assert.ok(first === '' ? credential.privileges.length > 3 : credential.privileges[0]!.name === first)
      const caller = parseGeniCertificate(certificates[0]!.der)
      const answer = authorize({ caller, credentials: [{ type: 'geni_sfa', version: '2', value: xml }], operation: 'list-resources', trust, now })
      assert.ok(answer.allowed, JSON.stringify(answer))
    })

    it(`(${file}) is refused in every other way`, () => {
      const refused = (text: string, why: RegExp, when = now, store = trust) => assert.throws(() => verifyCredential(text, store, when), why)
      refused(xml, /the credential expired at 201/, Date.parse(expires) + hourMs)
      refused(xml, /not trusted here|no trusted certificate/, now, trustOf([]))
      refused(edit(xml, '<uuid/>', '<foo/><uuid/>'), /changed after it was signed/)
      refused(edit(xml, ' xml:id="Sig_ref0"', ''), /SignedInfo was changed/)
      refused(edit(xml, 'rsa-sha1', 'dsa-sha1'), /not accepted/)
      refused(xml.replace(/<(\/?)(signed-credential|credential|signatures)\b/g, '<$1ns0:$2').replace('xmlns:xsi', 'xmlns:ns0="urn:x" xmlns:xsi'), /not a <signed-cred/)
    })
  }

  it('is refused for its MD5 where only its authority is trusted', () => {
    const xml = readFileSync(join(folder, 'gcf-user.xml'), 'utf8')
    const authority = parseCertificate(/-----END CERTIFICATE-----\s*(-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----)/.exec(xml)![1]!)
    assert.ok(authority.isCa)
    assert.throws(() => verifyCredential(xml, trustOf([authority], { acceptSha1: true }), Date.parse('2015-01-01T00:00:00Z')),
      /owner is not accepted: the certificate of .*alice is signed with MD5 or older/)
  })
})
