// Attacks by people who have something that is genuine: authorities of other name-spaces, other users, other slices, what
// was handed on, and tools.
import { createPublicKey } from 'node:crypto'
import { keyId } from '../../../certs/certificate.js'
import { credentialElement, speaksForElement } from '../../../certs/credential-xml.js'
import { delegate, letSpeak } from '../../../certs/delegate.js'
import { signCredential, takeApart } from '../../../certs/sign.js'
import type { Draft } from './attack.js'
import { credential, dayMs, edit, now, oddUser, party, text, urn, write, type Party, type World } from './world.js'

/** Files for certificates that only one attack has. */
function file(name: string, pem: string): string {
  write(`world/${name}.pem`, pem)
  return `world/${name}.pem`
}

export async function onNames(w: World): Promise<Draft[]> {
  const foreign = ['world/foreign.pem']
  const fakeAlice = await party('foreign-alice', { urn: w.alice.urn, key: 'eve' }, w.foreign)
  const fakeSlice = await party('foreign-exp1', { urn: w.exp1.urn, key: 'slice' }, w.foreign)
  const one = await party('one-exp1', { urn: urn('slice', 'exp1', 'lab.example:one'), key: 'slice' }, w.project)
  const two = await party('two-exp1', { urn: urn('slice', 'exp1', 'lab.example:one2'), key: 'slice' }, w.root)
  const expiredAuthority = await party('old-sa', { urn: urn('authority', 'sa'), key: 'sa', notAfter: now - dayMs, caDepth: 1 }, w.root)
  const namesake = await party('sa-alice', { urn: w.alice.urn, key: 'eve' }, w.sa)
  const upper = await party('upper-alice', { urn: w.alice.urn.replace('alice', 'Alice'), key: 'eve' }, w.ma)
  const odd = async (name: string, ...uris: (string | Buffer)[]) => file(name, await oddUser(name, uris, w.ma))
  const asEve = (caller: string) => ({ caller })
  const eve = w.eve.urn
  const alice = w.alice.urn
  return [
    { name: 'foreign-authority', attack: 'an authority that is trusted for another name-space signs for our slice', xml: credential(w, {}, w.foreign), call: { trust: foreign }, reason: 'lab.example.evil+authority+sa signed the credential and has no authority over' },
    { name: 'foreign-user', attack: 'it issues a certificate with the name of our user', xml: credential(w), call: { trust: foreign, caller: file('foreign-alice', fakeAlice.pem) }, reason: 'has no authority over the name-space of' },
    { name: 'foreign-slice', attack: 'it issues a certificate with the name of our slice', xml: credential(w, { target: fakeSlice }, w.foreign), call: { trust: foreign }, reason: 'has no authority over the name-space of' },
    { name: 'authority-below', attack: 'the authority of a project signs for a slice outside of it', xml: credential(w, {}, w.project), reason: 'has no authority over' },
    { name: 'authority-beside', attack: 'the authority of project "one" signs for a slice of project "one2"', xml: credential(w, { target: two }, w.project), call: { slice: two.urn }, reason: 'has no authority over' },
    { name: 'slice-of-namesake', attack: 'the slice of the same name in a project is taken for ours', xml: credential(w, { target: one }, w.project), reason: 'is for urn:publicid:IDN+lab.example:one+slice+exp1, not for' },
    { name: 'expired-authority', attack: 'the certificate of the authority has expired', xml: credential(w, {}, expiredAuthority), reason: 'has expired' },
    { name: 'owner-gid-of-another', attack: 'owner_urn says alice, and the certificate is of eve, properly signed', xml: credential(w, { owner: { urn: alice, pem: w.eve.pem } }), call: asEve('world/eve.pem'), reason: 'owner_gid is of' },
    { name: 'target-gid-of-another', attack: 'target_urn says exp1, and the certificate is of exp2, properly signed', xml: credential(w, { target: { urn: w.exp1.urn, pem: w.exp2.pem } }), reason: 'target_gid is of' },
    { name: 'user-credential', attack: 'a user credential is used for a slice', xml: credential(w, { target: w.alice }, w.ma), reason: 'is for urn:publicid:IDN+lab.example+user+alice, not for' },
    { name: 'other-slice', attack: 'the credential is for another slice', xml: credential(w, { target: w.exp2 }), reason: 'is for urn:publicid:IDN+lab.example+slice+exp2, not for' },
    { name: 'slice-with-suffix', attack: 'the slice that is asked for begins like the one of the credential', xml: credential(w), call: { slice: `${w.exp1.urn}0` }, reason: 'not for urn:publicid:IDN+lab.example+slice+exp10' },
    { name: 'other-user', attack: "another user's certificate", xml: credential(w), call: asEve('world/eve.pem'), reason: 'belongs to urn:publicid:IDN+lab.example+user+alice, and the caller is urn:publicid:IDN+lab.example+user+eve' },
    { name: 'namesake-by-other-issuer', attack: 'a certificate with the name of the user, and another key, by another authority', xml: credential(w), call: asEve(file('sa-alice', namesake.pem)), reason: "another key of urn:publicid:IDN+lab.example+user+alice than the caller's, by another issuer" },
    { name: 'name-in-upper-case', attack: 'a user whose name differs by case', xml: credential(w), call: asEve(file('upper-alice', upper.pem)), reason: 'and the caller is urn:publicid:IDN+lab.example+user+Alice' },
    { name: 'only-info', attack: 'a credential that only lets read is used for a change', xml: credential(w, { privileges: ['info'] }), reason: 'none of the privileges that this call needs' },
    { name: 'privilege-in-upper-case', attack: 'the name of the privilege differs by case', xml: credential(w, { privileges: ['EMBED'] }), reason: 'none of the privileges that this call needs' },
    { name: 'urn-with-comma', attack: 'the name has a comma, and behind it another name, as OpenSSL shows lists', xml: credential(w), call: asEve(await odd('odd-comma', `${eve}, URI:${alice}`)), reason: 'malformed URN' },
    { name: 'urn-with-nul', attack: 'the name goes on behind a NUL', xml: credential(w), call: asEve(await odd('odd-nul', `${alice}\0.evil`)), reason: 'malformed URN' },
    { name: 'urn-with-line-end', attack: 'the name goes on behind the end of the line', xml: credential(w), call: asEve(await odd('odd-line', `${alice}\n`)), reason: 'malformed URN' },
    { name: 'urn-with-quotes', attack: 'the name is in quotes', xml: credential(w), call: asEve(await odd('odd-quotes', `${alice}"`)), reason: 'malformed URN' },
    { name: 'urn-with-percent', attack: 'a letter of the name is percent-encoded', xml: credential(w), call: asEve(await odd('odd-percent', alice.replace('alice', '%61lice'))), reason: 'and the caller is urn:publicid:IDN+lab.example+user+%61lice' },
    { name: 'urn-with-part-more', attack: 'the name has one part more', xml: credential(w), call: asEve(await odd('odd-part', `${alice}+eve`)), reason: 'malformed URN' },
    { name: 'urn-beyond-ascii', attack: 'a letter that becomes ASCII in lower case (the Kelvin sign)', xml: credential(w), call: asEve(await odd('odd-kelvin', Buffer.from('urn:publicid:IDN+lab.example+user+\u212Aim', 'utf8'))), reason: 'URN' },
    { name: 'two-urns', attack: 'the certificate has two names', xml: credential(w), call: asEve(await odd('odd-two', eve, alice)), reason: 'several URNs' },
    { name: 'no-urn', attack: 'the certificate has no name', xml: credential(w), call: asEve(await odd('odd-none', 'http://lab.example/alice')), reason: 'no URN' },
    { name: 'unknown-certificate', attack: 'a certificate that nobody here has issued', xml: credential(w), call: asEve('world/stranger.pem'), reason: 'not trusted' },
  ]
}

export async function onDelegation(w: World, good: string, delegated: string): Promise<Draft[]> {
  const from = (p: Party) => ({ key: p.key, pem: p.pem })
  const forge = (change: Parameters<typeof credential>[1], parentXml = good, by = w.alice, edits = (t: string) => t) => {
    const { credential: parent, frame } = takeApart(parentXml)
    return signCredential(edits(credentialElement({ ...text(w), owner: w.bob, id: 'ref1', parent, ...change })), by.key, by.chain, frame)
  }
  const namesake = await party('other-alice', { urn: w.alice.urn, key: 'eve' }, w.ma)
  const hands = [w.alice, w.bob, w.alice, w.bob, w.alice, w.bob]
  const five = hands.slice(0, 5).reduce((xml, p, i) => delegate({ xml, from: from(p), to: hands[i + 1]!.pem, serial: `${i}` }), good)
  const { credential: fifth, frame } = takeApart(five)
  const six = signCredential(credentialElement({ ...text(w), owner: w.alice, id: 'ref6', parent: fifth }), w.bob.key, w.bob.chain, frame)
  const [first] = /<Signature [\s\S]*?<\/Signature>/.exec(delegated)!
  const other = credential(w, { target: w.exp2 })
  const drafts: Draft[] = [
    { name: 'delegation-changed', attack: 'the one who gets it is changed', xml: edit(delegated, 'user+bob</owner_urn>', 'user+eve</owner_urn>'), reason: 'changed after it was signed' },
    { name: 'parent-changed', attack: 'the owner of the parent is changed', xml: edit(delegated, 'user+alice</owner_urn>', 'user+bob</owner_urn>'), reason: 'changed after it was signed' },
    { name: 'parent-without-signature', attack: 'the signature of the parent is taken away', xml: edit(delegated, first, ''), reason: 'the credential "ref0" is not signed' },
    { name: 'parent-by-stranger', attack: 'the parent is signed by a stranger', xml: forge({}, credential(w, {}, w.stranger)), reason: "its parent 1's signer is not accepted" },
    { name: 'parent-expired', attack: 'the parent has expired', xml: forge({}, credential(w, { expires: now - dayMs })), reason: 'the parent 1 of the credential expired at' },
    { name: 'parent-for-other-slice', attack: 'the parent is for another slice', xml: forge({}, other), reason: 'the one that it was delegated from is for urn:publicid:IDN+lab.example+slice+exp2' },
    { name: 'parent-of-another', attack: 'the parent belongs to somebody else', xml: forge({}, credential(w, { owner: w.eve })), reason: 'the one that it comes from belongs to urn:publicid:IDN+lab.example+user+eve' },
    { name: 'delegated-by-another', attack: 'somebody else hands it on', xml: forge({}, good, w.eve), reason: 'delegated by urn:publicid:IDN+lab.example+user+eve' },
    { name: 'delegated-by-namesake', attack: 'somebody with the name of the owner and another key hands it on', xml: forge({}, good, namesake), reason: 'and the one that it comes from belongs to' },
    { name: 'delegated-by-authority', attack: 'the authority hands on what is not its own', xml: forge({}, good, w.sa), reason: 'delegated by urn:publicid:IDN+lab.example+authority+sa' },
    { name: 'widened', attack: 'a privilege is handed on that was not there', xml: forge({ privileges: ['embed', 'control'] }), reason: 'the privilege "control" was delegated by' },
    { name: 'widened-to-all', attack: 'all privileges are handed on', xml: forge({ privileges: ['*'] }), reason: 'the privilege "*" was delegated by' },
    { name: 'may-not-be-delegated', attack: 'a privilege is handed on that may not be', xml: forge({}, credential(w, { keep: true })), reason: 'who may not delegate it' },
    { name: 'longer-than-parent', attack: 'it lasts longer than its parent', xml: forge({ expires: now + 60 * dayMs }), reason: 'and the one that it was delegated from only until' },
    { name: 'six-hands', attack: 'it was handed on six times', xml: six, reason: 'at most 6' },
    { name: 'used-by-giver', attack: 'the one who handed it on uses it', xml: delegated, call: { caller: 'world/alice.pem' }, reason: 'belongs to urn:publicid:IDN+lab.example+user+bob' },
    { name: 'two-parents', attack: 'it has two parents', xml: forge({}, good, w.alice, (t) => edit(t, '</parent>', '</parent><parent/>')), reason: '2 <parent>, there must be exactly one' },
  ]
  return drafts.map((d) => ({ on: 'delegated' as const, ...d }))
}

export async function onSpeaking(w: World): Promise<Draft[]> {
  const other = await party('other-tool', { urn: urn('tool', 'other'), key: 'eve' }, w.ma)
  const person = await party('eve-portal', { urn: urn('user', 'portal'), key: 'portal' }, w.ma)
  const holder = (p: Party) => ({ key: p.key, pem: p.pem })
  const keys = { user: keyId(createPublicKey(w.alice.key)), tool: keyId(createPublicKey(w.portal.key)) }
  const statement = speaksForElement({ ...keys, expires: now + dayMs })
  const by = (element: string, p: Party = w.alice) => signCredential(element, p.key, p.chain)
  const good = by(statement)
  const tail = /<tail>.*<\/tail>/.exec(statement)![0]
  const alone = { credentials: ['good/slice.xml'] }
  const drafts: Draft[] = [
    { name: 'tool-without-statement', attack: 'the tool has only the credential of the user', call: alone, reason: 'no credential of type geni_abac 1 says so' },
    { name: 'tool-without-saying-so', attack: 'the tool does not say for whom it speaks', xml: good, call: { speakingFor: '' }, reason: 'may not speak for' },
    { name: 'tool-other', attack: 'another tool uses the statement', xml: good, call: { caller: file('other-tool', other.pem) }, reason: 'is for another key than that of urn:publicid:IDN+lab.example+tool+other' },
    { name: 'tool-no-tool', attack: 'a person with the key of the tool uses it', xml: good, call: { caller: file('eve-portal', person.pem) }, reason: 'is no tool' },
    { name: 'tool-for-another', attack: 'the tool speaks for somebody else than the one who signed', xml: good, call: { speakingFor: w.bob.urn }, reason: 'and geni_speaking_for names urn:publicid:IDN+lab.example+user+bob' },
    { name: 'statement-changed', attack: 'the key of the tool is changed', xml: edit(good, keys.tool, keyId(createPublicKey(w.eve.key))), call: { caller: file('other-tool', other.pem) }, reason: 'changed after it was signed' },
    { name: 'statement-by-another', attack: 'somebody else signed the statement', xml: by(statement, w.bob), call: { speakingFor: w.bob.urn }, reason: 'does not say "speaks_for" of the key of' },
    { name: 'statement-by-stranger', attack: 'a stranger with the name of the user signed it', xml: by(speaksForElement({ ...keys, user: keyId(createPublicKey(w.stranger.key)), expires: now + dayMs }), await party('stranger-alice', { urn: w.alice.urn, key: 'stranger' })), reason: 'signer of the speaks-for credential is not accepted' },
    { name: 'statement-expired', attack: 'the statement has expired', xml: by(speaksForElement({ ...keys, expires: now - dayMs })), reason: 'the speaks-for credential expired at' },
    { name: 'statement-of-another-role', attack: 'the statement says something else', xml: by(edit(statement, 'speaks_for_', 'friend_of_')), reason: 'does not say "speaks_for"' },
    { name: 'statement-with-two-tails', attack: 'the statement is of two tools', xml: by(edit(statement, tail, tail + tail)), reason: 'must hold exactly version, head, tail' },
    { name: 'statement-as-credential', attack: 'the statement alone is shown as a credential', xml: good, call: { credentials: ['SELF'] }, reason: 'no other was given' },
    { name: 'statement-delegated', attack: 'the statement is handed on', xml: delegated(good, w, letSpeak({ user: holder(w.alice), tool: w.portal.pem, expires: now + dayMs })), reason: 'cannot be delegated' },
  ]
  return drafts.map((d) => ({ on: 'speaks-for' as const, ...d }))
}

function delegated(good: string, w: World, xml: string): string {
  const { credential: parent, frame } = takeApart(good)
  const element = edit(edit(takeApart(xml).credential, 'ref0', 'ref1'), '</credential>', `<parent>${parent}</parent></credential>`)
  return signCredential(element, w.alice.key, w.alice.chain, frame)
}
