import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { realRandom } from '../../../base/random.js'
import { parseGeniCertificate, splitPem } from '../../../certs/certificate.js'
import { verifyCredential } from '../../../certs/credential.js'
import { credentialElement } from '../../../certs/credential-xml.js'
import { delegate, type Holder } from '../../../certs/delegate.js'
import type { User } from '../../../certs/issue.js'
import { keyFromPem, mint, newUuid } from '../../../certs/mint.js'
import { signCredential, takeApart } from '../../../certs/sign.js'
import { loadTrust } from '../../../certs/trust-folder.js'
import { ask, callerOf, certify, credential, dayMs, edit, field, now, pemOf, read, signerOf, usual } from './field.js'

const holder = (user: User): Holder => ({ key: keyFromPem(read(user.key)), pem: read(user.certificate) })

/** A user of the federation who exists for one test. */
async function newUser(name: string): Promise<Holder & { urn: string }> {
  const { federation } = await field()
  const ma = signerOf(federation.ma.certificate, federation.ma.key)
  const made = await certify({ urn: `urn:publicid:IDN+lab.example+user+${name}` }, ma)
  return { key: made.key, pem: pemOf(made.certificate, ma.certificate), urn: made.certificate.urn! }
}

async function toBob(changes: Partial<Parameters<typeof delegate>[0]> = {}): Promise<string> {
  const { alice, bob, credential: xml } = await field()
  return delegate({ xml, from: holder(alice), to: read(bob.certificate), serial: '2', ...changes })
}

async function asBob(xml: string) {
  return ask(xml, { caller: callerOf((await field()).bob) })
}

async function refused(xml: string, why: RegExp): Promise<void> {
  const answer = await asBob(xml)
  assert.ok(!answer.allowed, 'it was allowed')
  assert.match(answer.why, why)
}

/** What `delegate` would refuse to make: any text, signed by alice, with her credential as parent. */
async function forged(change: (text: string) => string, xml?: string): Promise<string> {
  const { alice, bob, credential: own } = await field()
  const { credential: parent, frame } = takeApart(xml ?? own)
  const element = credentialElement({ ...await usual(), owner: { urn: bob.urn, pem: read(bob.certificate) }, id: 'ref7', parent })
  const by = holder(alice)
  return signCredential(change(element), by.key, splitPem(by.pem), frame)
}

describe('a delegated credential', () => {
  it('gives the one who got it the rights that were handed on, and says through whose hands it went', async () => {
    const { alice, bob, slice } = await field()
    const answer = await asBob(await toBob({ privileges: ['info', 'bind'] }))
    assert.ok(answer.allowed, JSON.stringify(answer))
    assert.equal(answer.owner, bob.urn)
    assert.equal(answer.sliceUuid, slice.uuid)
    assert.match(answer.why, new RegExp(`delegated by ${alice.urn.replace(/\+/g, '\\+')}`))
  })

  it('gives nothing to the one who handed it on, nor to anybody else', async () => {
    await assert.doesNotReject(toBob())
    const answer = await ask(await toBob())
    assert.ok(!answer.allowed)
    assert.match(answer.why, /belongs to .*bob, and the caller is .*alice/)
  })

  it('gives only the privileges that it names', async () => {
    await refused(await toBob({ privileges: ['info'] }), /none of the privileges that this call needs/)
  })

  it('may be handed on five times, and not six', async () => {
    let xml = (await field()).credential
    let from = holder((await field()).alice)
    for (let n = 1; n <= 5; n++) {
      const next = await newUser(`hand${n}`)
      xml = delegate({ xml, from, to: next.pem, serial: `${n}` })
      from = next
      const caller = parseGeniCertificate(next.pem)
      assert.ok((await ask(xml, { caller })).allowed, `after ${n} hands`)
    }
    const last = await newUser('hand6')
    assert.throws(() => delegate({ xml, from, to: last.pem, serial: '6' }), /delegated 5 times already/)
    const { credential: parent, frame } = takeApart(xml)
    const element = credentialElement({ ...await usual(), owner: { urn: last.urn, pem: last.pem }, id: 'ref9', parent })
    const six = signCredential(element, from.key, splitPem(from.pem), frame)
    const answer = await ask(six, { caller: parseGeniCertificate(last.pem) })
    assert.ok(!answer.allowed)
    assert.match(answer.why, /at most 6|delegated more than 5 times/)
  })

  it('is taken from a credential with the privilege "*" that may be delegated', async () => {
    const xml = await credential({ privileges: ['*'] })
    assert.ok((await asBob(await toBob({ xml, privileges: ['embed', 'info'] }))).allowed)
  })

  it('is taken with ECDSA by a user who has an elliptic-curve key', async () => {
    const { federation } = await field()
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const ma = signerOf(federation.ma.certificate, federation.ma.key)
    const urn = 'urn:publicid:IDN+lab.example+user+curve'
    const made = await mint({
      commonName: 'curve', organization: 'x', urn, uuid: newUuid(realRandom), notBefore: now - dayMs, notAfter: now + dayMs, publicKey: pair.publicKey,
    }, ma, realRandom)
    const curve: Holder = { key: pair.privateKey, pem: pemOf(made, ma.certificate) }
    const xml = await credential({ owner: { urn, pem: curve.pem } })
    const answer = await asBob(await toBob({ xml, from: curve }))
    assert.ok(answer.allowed, JSON.stringify(answer))
  })

  it('is taken when another program has signed it', () => {
    const xml = read(join(import.meta.dirname, '../../fixtures/credentials/delegated-by-xmlsec1.xml'))
    const trust = loadTrust([join(import.meta.dirname, '../../corpus/credentials/world/root.pem')])
    const got = verifyCredential(xml, trust, Date.UTC(2026, 5, 1, 12))
    assert.deepEqual([got.ownerUrn, got.delegatedBy], ['urn:publicid:IDN+lab.example+user+bob', ['urn:publicid:IDN+lab.example+user+alice']])
  })

  describe('is refused', () => {
    it('when it was changed, or the one that it comes from', async () => {
      const xml = await toBob()
      await refused(edit(xml, 'user+bob</owner_urn>', 'user+alice</owner_urn>'), /changed after it was signed/)
      await refused(edit(xml, 'user+alice</owner_urn>', 'user+bob</owner_urn>'), /changed after it was signed/)
    })
    it('when another than the owner handed it on', async () => {
      const eve = await newUser('eve')
      const { frame, credential: parent } = takeApart((await field()).credential)
      const { bob } = await field()
      const element = credentialElement({ ...await usual(), owner: { urn: bob.urn, pem: read(bob.certificate) }, id: 'ref7', parent })
      const xml = signCredential(element, eve.key, splitPem(eve.pem), frame)
      await refused(xml, /delegated by .*eve, and the one that it comes from belongs to .*alice/)
    })
    it('when a namesake of the owner, with another key, handed it on', async () => {
      const { alice, bob } = await field()
      const namesake = await newUser('alice')
      assert.equal(namesake.urn, alice.urn)
      const { frame, credential: parent } = takeApart((await field()).credential)
      const element = credentialElement({ ...await usual(), owner: { urn: bob.urn, pem: read(bob.certificate) }, id: 'ref7', parent })
      await refused(signCredential(element, namesake.key, splitPem(namesake.pem), frame), /delegated by .*alice, and the one that it comes from belongs to/)
    })
    it('when it names a privilege that was not there, or may not be handed on', async () => {
      await assert.rejects(toBob({ privileges: ['pi'] }), /the privilege pi cannot be delegated/)
      await refused(await forged((text) => edit(text, '<name>info</name>', '<name>pi</name>')), /"pi" was delegated by .*who may not delegate it/)
      await refused(await forged((text) => edit(text, '<name>info</name>', '<name>*</name>')), /"\*" was delegated/)
      const kept = await credential({ keep: true })
      await assert.rejects(toBob({ xml: kept }), /no privilege that may be delegated/)
      await refused(await forged((text) => text, kept), /"refresh" was delegated by/)
    })
    it('when it lasts longer than the one that it comes from', async () => {
      await assert.rejects(toBob({ expires: now + 30 * dayMs }), /cannot last longer/)
      const short = await credential({ expires: now + 3600_000 })
      await refused(await forged((text) => text, short), /lasts until .* only until/)
    })
    it('when the one that it comes from has expired', async () => {
      const over = await credential({ expires: now - 1000 })
      await refused(await forged((text) => text, over), /the parent 1 of the credential expired at/)
    })
    it('when it is for another slice than the one that it comes from', async () => {
      const { other } = await field()
      const usualText = await usual()
      const xml = await forged((text) => edit(edit(text, usualText.target.pem, read(other.certificate)), `${usualText.target.urn}</target_urn>`, `${other.urn}</target_urn>`))
      const answer = await ask(xml, { caller: callerOf((await field()).bob), sliceUrn: other.urn })
      assert.ok(!answer.allowed)
      assert.match(answer.why, /is for .*exp2, and the one that it was delegated from is for .*exp1/)
    })
    it('when the signature of the one that it comes from is missing, or one too many is there', async () => {
      const xml = await toBob()
      const [first] = /<Signature [\s\S]*?<\/Signature>/.exec(xml)!
      await refused(edit(xml, first, ''), /the credential "ref0" is not signed/)
      await refused(edit(xml, first, first + first.replace('Sig_ref0', 'Sig_x')), /"ref0" has 2 signatures/)
      const stray = first.replace('Sig_ref0', 'Sig_y').replace('"#ref0"', '"#refX"')
      await refused(edit(xml, first, first + stray), /for the element "refX", which is no credential|SignedInfo was changed/)
    })
  })
})
