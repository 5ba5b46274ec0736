import assert from 'node:assert/strict'
import type { AuthorizeRequest } from '../../../certs/authorize.js'
import { keyId, type GeniCertificate } from '../../../certs/certificate.js'
import { speaksForElement } from '../../../certs/credential-xml.js'
import { letSpeak, letSpeakOldForm, type Holder } from '../../../certs/delegate.js'
import { keyFromPem } from '../../../certs/mint.js'
import { signCredential } from '../../../certs/sign.js'
import { ask, callerOf, certify, chainOf, dayMs, edit, field, now, pemOf, read, signerOf } from './field.js'

interface Tool { certificate: GeniCertificate; pem: string }

async function newTool(urn = 'urn:publicid:IDN+lab.example+tool+portal'): Promise<Tool> {
  const { federation } = await field()
  const ma = signerOf(federation.ma.certificate, federation.ma.key)
  const made = await certify({ urn }, ma)
  return { certificate: made.certificate as GeniCertificate, pem: pemOf(made.certificate, ma.certificate) }
}

async function alice(): Promise<Holder> {
  const user = (await field()).alice
  return { key: keyFromPem(read(user.key)), pem: read(user.certificate) }
}

/** The tool asks to change exp1 for alice, with her slice credential and this one. */
async function speak(tool: Tool, xml: string, more: Partial<AuthorizeRequest> = {}, type = 'geni_abac') {
  const { credential, alice: user } = await field()
  const credentials = [
    { type: 'geni_sfa', version: '3', value: credential },
    { type, version: '1', value: xml },
  ]
  return ask([], { caller: tool.certificate, credentials, speakingFor: user.urn, ...more })
}

async function refused(answer: ReturnType<typeof speak>, why: RegExp): Promise<void> {
  const got = await answer
  assert.ok(!got.allowed, 'it was allowed')
  assert.equal(got.code, 'forbidden')
  assert.match(got.why, why)
}

describe('speaking for a user', () => {
  it('makes a tool act with the credentials of the user, who is told apart from the tool', async () => {
    const tool = await newTool()
    const { alice: user } = await field()
    const answer = await speak(tool, letSpeak({ user: await alice(), tool: tool.pem, expires: now + dayMs }))
    assert.ok(answer.allowed, JSON.stringify(answer))
    assert.equal(answer.user, user.urn)
    assert.equal(answer.owner, user.urn)
  })

  it('works in the old form too, and with plain strings as v2 sends them', async () => {
    const tool = await newTool()
    const old = letSpeakOldForm({ user: await alice(), tool: tool.pem, expires: now + dayMs, serial: '1' })
    const abac = letSpeak({ user: await alice(), tool: tool.pem, expires: now + dayMs })
    for (const xml of [old, abac]) {
      const answer = await speak(tool, xml, {}, 'geni_sfa')
      assert.ok(answer.allowed, JSON.stringify(answer))
      assert.equal(answer.user, (await field()).alice.urn)
    }
  })

  it('reads the form that other tools write: mnemonics, upper-case key ids, letter case of the type', async () => {
    const tool = await newTool()
    const user = await alice()
    const keys = { user: keyId(callerOf((await field()).alice).publicKey), tool: keyId(tool.certificate.publicKey) }
    const text = speaksForElement({ ...keys, expires: now + dayMs })
      .replace('</keyid></ABACprincipal><role>', '</keyid><mnemonic>alice</mnemonic></ABACprincipal><role>')
      .replace(keys.tool, keys.tool.toUpperCase())
    const answer = await speak(tool, signCredential(text, user.key, chainOf((await field()).alice.certificate)), {}, 'GENI_ABAC')
    assert.ok(answer.allowed, JSON.stringify(answer))
  })

  it('of oneself needs no credential', async () => {
    const { alice: user, credential } = await field()
    assert.ok((await ask(credential, { speakingFor: user.urn })).allowed)
  })

  it('is for a user without rights no more than that', async () => {
    const tool = await newTool()
    const bob = (await field()).bob
    const xml = letSpeak({ user: { key: keyFromPem(read(bob.key)), pem: read(bob.certificate) }, tool: tool.pem, expires: now + dayMs })
    const answer = await speak(tool, xml, { speakingFor: bob.urn })
    assert.ok(!answer.allowed)
    assert.equal(answer.user, bob.urn)
    assert.match(answer.why, /belongs to .*alice, and the caller is .*bob/)
  })

  it('never falls back to the rights of the tool itself', async () => {
    const { alice: user, bob, credential } = await field()
    const own = ask(credential, { speakingFor: bob.urn }) // alice's own credential and certificate would do
    await refused(own, /alice may not speak for .*bob: no credential of type geni_abac 1 says so/)
    await refused(ask(credential, { speakingFor: '' }), /may not speak for : no credential/)
    assert.ok((await ask(credential, { speakingFor: user.urn })).allowed)
  })

  it('needs another credential beside it', async () => {
    const tool = await newTool()
    const value = letSpeak({ user: await alice(), tool: tool.pem, expires: now + dayMs })
    await refused(speak(tool, value, { credentials: [{ type: 'geni_abac', version: '1', value }] }), /no other was given/)
  })

  it('is for those whose URN is of a tool, or whom the operator names', async () => {
    const urn = 'urn:publicid:IDN+lab.example+authority+portal'
    const tool = await newTool(urn)
    const xml = letSpeak({ user: await alice(), tool: tool.pem, expires: now + dayMs })
    await refused(speak(tool, xml), /authority\+portal is no tool/)
    assert.ok((await speak(tool, xml, { tools: [urn] })).allowed)
  })

  it('is refused when the credential was changed, has expired, or is for another tool, key or user', async () => {
    const tool = await newTool()
    const xml = letSpeak({ user: await alice(), tool: tool.pem, expires: now + dayMs })
    const other = await newTool('urn:publicid:IDN+lab.example+tool+other')
    const { bob } = await field()
    await refused(speak(tool, edit(xml, /<keyid>./, '<keyid>0')), /changed after it was signed/)
    await refused(speak(tool, xml, { now: now + 2 * dayMs }), /the speaks-for credential expired at/)
    await refused(speak(other, xml), /is for another key than that of .*tool\+other/)
    await refused(speak(tool, xml, { speakingFor: bob.urn }), /is of .*alice, and geni_speaking_for names .*bob/)
  })

  it('is refused when somebody else than the user signed it', async () => {
    const tool = await newTool()
    const { bob, alice: user } = await field()
    const keys = { user: keyId(callerOf(user).publicKey), tool: keyId(tool.certificate.publicKey) }
    const text = speaksForElement({ ...keys, expires: now + dayMs })
    const byBob = signCredential(text, keyFromPem(read(bob.key)), chainOf(bob.certificate))
    await refused(speak(tool, byBob), /does not say "speaks_for" of the key of .*bob/)
    const stranger = await certify({ urn: user.urn })
    const mine = speaksForElement({ user: keyId(stranger.certificate.publicKey), tool: keys.tool, expires: now + dayMs })
    await refused(speak(tool, signCredential(mine, stranger.key, [stranger.certificate.der])), /signer of the speaks-for credential is not accepted/)
  })

  it('is refused with another role, two tails, or a role in the tail', async () => {
    const tool = await newTool()
    const user = await alice()
    const keys = { user: keyId(callerOf((await field()).alice).publicKey), tool: keyId(tool.certificate.publicKey) }
    const text = speaksForElement({ ...keys, expires: now + dayMs })
    const chain = chainOf((await field()).alice.certificate)
    const tail = /<tail>.*<\/tail>/.exec(text)![0]
    await refused(speak(tool, signCredential(edit(text, 'speaks_for_', 'friend_of_'), user.key, chain)), /does not say "speaks_for"/)
    await refused(speak(tool, signCredential(edit(text, tail, tail + tail), user.key, chain)), /must hold exactly version, head, tail/)
    await refused(speak(tool, signCredential(edit(text, '</tail>', '<role>x</role></tail>'), user.key, chain)), /must hold exactly ABACprincipal/)
  })

  it('in the old form is refused when the user did not sign it, and gives no rights by itself', async () => {
    const tool = await newTool()
    const { bob, alice: user } = await field()
    const forged = letSpeakOldForm({ user: { key: keyFromPem(read(bob.key)), pem: read(user.certificate) }, tool: tool.pem, expires: now + dayMs, serial: '1' })
    await refused(speak(tool, forged), /not made by the certificate it names/)
    const good = letSpeakOldForm({ user: await alice(), tool: tool.pem, expires: now + dayMs, serial: '1' })
    await refused(ask(good, { caller: tool.certificate }), /needs the option geni_speaking_for/)
  })
})
