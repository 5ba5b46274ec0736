import assert from 'node:assert/strict'
import { createHash, sign as signBytes } from 'node:crypto'
import { credentialElement } from '../../../certs/credential-xml.js'
import { canonical, onlyChild, withXml } from '../../../certs/xml-dom.js'
import {
  ask, certify, chainOf, credential, dayMs, edit, field, now, pemOf, read, sign, signerOf, usual,
} from './field.js'

const dsig = 'http://www.w3.org/2000/09/xmldsig#'

async function refused(xml: string, why: RegExp): Promise<void> {
  const answer = await ask(xml)
  assert.equal(answer.allowed, false)
  assert.equal(answer.code, 'forbidden')
  assert.match(answer.why, why)
}

const partOf = (xml: string, name: string) => new RegExp(`<${name}[ >][\\s\\S]*</${name}>`).exec(xml)![0]

/** The credential of `xml` with more rights and another id, as an attacker would write it. */
const evil = (xml: string, id = ' xml:id="evil"') =>
  partOf(xml, 'credential').replace(' xml:id="ref0"', id).replace('<name>info</name>', '<name>*</name>')

/** The document after `change`, its SignedInfo signed again by the slice authority: what no outsider can do. */
async function resigned(xml: string, change: (xml: string) => string): Promise<string> {
  const { sa } = await field()
  const changed = change(xml)
  const octets = withXml(changed, (root) =>
    canonical(onlyChild(onlyChild(onlyChild(root, 'signatures'), 'Signature', dsig), 'SignedInfo', dsig)))
  const value = signBytes('sha256', octets, sa.key).toString('base64')
  return edit(changed, /<SignatureValue>[^<]*</, `<SignatureValue>${value}<`)
}

describe('a credential that was tampered with', () => {
  describe('in what it says', () => {
    it('is refused when a privilege was changed', async () => {
      const xml = edit((await field()).credential, '<name>info</name>', '<name>*</name>')
      await refused(xml, /changed after it was signed/)
    })
    it('is refused when its expiry was moved', async () => {
      const xml = edit((await field()).credential, /<expires>[^<]*/, '<expires>2099-01-01T00:00:00Z')
      await refused(xml, /changed after it was signed/)
    })
    it('is refused when an element was added', async () => {
      await refused(edit((await field()).credential, '<uuid', '<foo/><uuid'), /changed after it was signed/)
    })
    it('is refused when white space was added', async () => {
      await refused(edit((await field()).credential, '<uuid', ' <uuid'), /changed after it was signed/)
    })
    it('is refused when its elements were given a prefix', async () => {
      const names = /<(\/?)(signed-credential|credential|signatures|type)\b/g
      const xml = (await field()).credential.replace(names, '<$1ns0:$2')
      await refused(edit(xml, 'xmlns:xsi', 'xmlns:ns0="urn:x" xmlns:xsi'), /not a <signed-credential>/)
    })
    it('is refused when a namespace was declared around it', async () => {
      const xml = edit((await field()).credential, 'xmlns:xsi', 'xmlns:x="urn:x" xmlns:xsi')
      await refused(xml, /SignedInfo was changed/)
    })
    it('is refused when the owner is followed by a comment and more text', async () => {
      const xml = edit((await field()).credential, 'user+alice</owner_urn>', 'user+al<!-- -->ice</owner_urn>')
      await refused(xml, /comment inside the value of <owner_urn>/)
    })
    it('is refused when there is a processing instruction in a value', async () => {
      await refused(edit((await field()).credential, '<serial>', '<serial><?x y?>'), /not element, text or comment/)
    })
  })

  describe('by wrapping', () => {
    it('is refused when an evil credential stands before the signed one', async () => {
      const xml = (await field()).credential
      await refused(edit(xml, '<credential ', `${evil(xml)}<credential `), /2 <credential>, there must be exactly one/)
    })
    it('is refused when an evil credential stands after the signed one', async () => {
      const xml = (await field()).credential
      await refused(edit(xml, '<signatures>', `${evil(xml)}<signatures>`), /2 <credential>/)
    })
    it('is refused when the signed one was moved into a wrapper beside the evil one', async () => {
      const xml = (await field()).credential
      const good = partOf(xml, 'credential')
      await refused(edit(xml, good, `${evil(xml)}<wrapper>${good}</wrapper>`), /holds credential, wrapper, signatures/)
    })
    it('is refused when the signed one was moved into the evil one', async () => {
      const xml = (await field()).credential
      const good = partOf(xml, 'credential')
      const outer = evil(xml).replace('<uuid', `<extensions>${good}</extensions><uuid`)
      await refused(edit(xml, good, outer), /is for the element "ref0", and the credential is "evil"/)
    })
    it('is refused when the signed one was moved into the signature as an Object', async () => {
      const xml = (await field()).credential
      const good = partOf(xml, 'credential')
      const moved = edit(xml, good, evil(xml))
      await refused(edit(moved, '</Signature>', `<Object>${good}</Object></Signature>`), /must hold exactly SignedInfo/)
    })
    it('is refused when the signed one was moved into KeyInfo', async () => {
      const xml = (await field()).credential
      const good = partOf(xml, 'credential')
      const moved = edit(xml, good, evil(xml, ''))
      await refused(edit(moved, '<KeyInfo>', `<KeyInfo>${good}`), /the credential is "without xml:id"/)
    })
    it('is refused when an evil root holds the whole signed document', async () => {
      const xml = (await field()).credential
      const whole = partOf(xml, 'signed-credential')
      await refused(`<signed-credential>${evil(xml)}${whole}</signed-credential>`, /must hold exactly/)
    })
    it('is refused when the evil one has an Id like the xml:id of the signed one', async () => {
      const xml = (await field()).credential
      const good = partOf(xml, 'credential')
      const outer = evil(xml, ' Id="ref0"').replace('<uuid', `<extensions>${good}</extensions><uuid`)
      await refused(edit(xml, good, outer), /id "ref0" is used twice/)
    })
    it('is refused when two elements have the same xml:id', async () => {
      await refused(edit((await field()).credential, '<type>', '<type xml:id="ref0">'), /already defined|used twice/)
    })
    it('is refused when there are two signatures', async () => {
      const xml = (await field()).credential
      const second = partOf(xml, 'Signature').replace('Sig_ref0', 'Sig_two')
      await refused(edit(xml, '</signatures>', `${second}</signatures>`), /the credential "ref0" has 2 signatures, there must be exactly one/)
    })
    it('is refused when the signature has two SignedInfo', async () => {
      const xml = (await field()).credential
      const info = partOf(xml, 'SignedInfo')
      await refused(edit(xml, info, info + info), /must hold exactly SignedInfo, SignatureValue, KeyInfo/)
    })
    it('is refused when elements of the document have a namespace of the attacker', async () => {
      const xml = (await field()).credential
      await refused(edit(xml, '<credential ', '<credential xmlns="urn:x" '), /0 <credential>/)
    })
  })

  describe('in its signature', () => {
    it('is refused when the digest was made to fit the change', async () => {
      const xml = edit((await field()).credential, '<name>info</name>', '<name>*</name>')
      const octets = withXml(xml, (root) => canonical(onlyChild(root, 'credential')))
      const digest = createHash('sha256').update(octets).digest('base64')
      await refused(edit(xml, /<DigestValue>[^<]*/, `<DigestValue>${digest}`), /SignedInfo was changed/)
    })
    it('is refused when DigestValue has a comment in it', async () => {
      await refused(edit((await field()).credential, '<DigestValue>', '<DigestValue>AAAA<!-- -->'), /comment inside/)
    })
    it('is refused when the signature value was changed', async () => {
      const xml = edit((await field()).credential, /<SignatureValue>..../, '<SignatureValue>AAAA')
      await refused(xml, /not made by the certificate it names/)
    })
    it('is refused when it names HMAC, even properly signed', async () => {
      const xml = await resigned((await field()).credential, (text) =>
        edit(text, 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', `${dsig}hmac-sha1`))
      await refused(xml, /signature algorithm "[^"]*hmac-sha1" is not accepted/)
    })
    it('is refused when it names MD5 as the digest, even properly signed', async () => {
      const xml = await resigned((await field()).credential, (text) =>
        edit(text, 'http://www.w3.org/2001/04/xmlenc#sha256', 'http://www.w3.org/2001/04/xmldsig-more#md5'))
      await refused(xml, /digest algorithm "[^"]*md5" is not accepted/)
    })
    it('is refused when it names another canonicalization, even properly signed', async () => {
      const xml = await resigned((await field()).credential, (text) => edit(
        text, '"http://www.w3.org/TR/2001/REC-xml-c14n-20010315"', '"http://www.w3.org/2001/10/xml-exc-c14n#"'))
      await refused(xml, /canonicalization [^ ]* is not accepted/)
    })
    it('is refused when it has an XPath transform, even properly signed', async () => {
      const xpath = `<Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><XPath>1</XPath></Transform>`
      const xml = await resigned((await field()).credential, (text) =>
        edit(text, '</Transforms>', `${xpath}</Transforms>`))
      await refused(xml, /<Transform> must have an Algorithm and nothing else/)
    })
    it('is refused when it refers to the whole document, even properly signed', async () => {
      const xml = await resigned((await field()).credential, (text) => edit(text, 'URI="#ref0"', 'URI=""'))
      await refused(xml, /must refer to the credential by URI="#id"/)
    })
    it('is refused when it refers to another element, even properly signed', async () => {
      const xml = await resigned((await field()).credential, (text) => edit(text, 'URI="#ref0"', 'URI="#Sig_ref0"'))
      await refused(xml, /is for the element "Sig_ref0"/)
    })
    it('is refused when it brings a bare key and no certificate', async () => {
      const xml = edit((await field()).credential, /<X509Data>[\s\S]*<\/X509Data>/,
        '<KeyValue><RSAKeyValue><Modulus>AQAB</Modulus><Exponent>AQAB</Exponent></RSAKeyValue></KeyValue>')
      await refused(xml, /no X509Certificate/)
    })
    it('is refused when a KeyValue of the attacker stands beside the certificate of the authority', async () => {
      const { sa, credential: genuine } = await field()
      const stranger = await certify({ urn: sa.certificate.urn!, caDepth: 0 })
      const forged = await credential({ privileges: ['*'] }, stranger)
      const own = /<X509Certificate>[^<]*<\/X509Certificate>/
      const { n, e } = stranger.certificate.publicKey.export({ format: 'jwk' })
      const key = `<KeyValue><RSAKeyValue><Modulus>${n!}</Modulus><Exponent>${e!}</Exponent></RSAKeyValue></KeyValue>`
      const xml = edit(forged, own, own.exec(genuine)![0])
      await refused(edit(xml, '<X509Data>', `${key}<X509Data>`), /not made by the certificate it names/)
    })
    it('is refused when a stranger of the same name signed it', async () => {
      const { sa } = await field()
      const stranger = await certify({ urn: sa.certificate.urn!, commonName: 'sa.lab.example', caDepth: 0 })
      await refused(await credential({}, stranger), /signer is not accepted: .*not trusted here/)
    })
    it('is refused when a stranger signed it and put the chain of the authority behind his certificate', async () => {
      const { sa, federation } = await field()
      const stranger = await certify({ urn: sa.certificate.urn!, caDepth: 0 })
      const chain = [sa.certificate.der, ...chainOf(federation.trust)]
        .map((der) => `<X509Certificate>${der.toString('base64')}</X509Certificate>`).join('')
      const xml = edit(await credential({}, stranger), '</X509Data>', `${chain}</X509Data>`)
      await refused(xml, /signer is not accepted/)
    })
    it('is refused when the user signed it with the own certificate', async () => {
      const { alice } = await field()
      await refused(await credential({ privileges: ['*'] }, signerOf(alice.certificate, alice.key)),
        /user\+alice, which is not a certificate authority/)
    })
    it('is refused when the aggregate signed it, which has the name of an authority and is no CA', async () => {
      const { federation } = await field()
      await refused(await credential({}, signerOf(federation.am.certificate, federation.am.key)),
        /authority\+am, which is not a certificate authority/)
    })
  })

  describe('as XML', () => {
    it('is refused when it has a DOCTYPE', async () => {
      await refused(edit((await field()).credential, '<signed-cred', '<!DOCTYPE x>\n<signed-cred'), /DOCTYPE/)
    })
    it('is refused when it has entities', async () => {
      const bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n<signed-cred'
      await refused(edit((await field()).credential, '<signed-cred', bomb), /DOCTYPE or entities/)
    })
    it('is refused when it is not XML at all', async () => {
      await refused('', /not well-formed/)
      await refused('hello', /not well-formed/)
      await refused('<signed-credential>', /not well-formed/)
    })
    it('is refused when a namespace in it is no absolute URI, which has no canonical form', async () => {
      await refused(edit((await field()).credential, '<can_delegate>', '<can_delegate xmlns="\'">'), /no canonical form/)
      await refused(edit((await field()).credential, '<privileges>', '<privileges xmlns:x="relative">'), /no canonical form/)
    })
    it('is refused when it has so many namespaces for so many elements that a canonical form would take seconds', async () => {
      const names = Array.from({ length: 15 }, (_, i) => `xmlns:z${i}="urn:z${i}"`).join(' ')
      const many = `<x ${names}>${'<y/>'.repeat(4_000)}</x><type>`
      await refused(edit((await field()).credential, '<type>', many), /4\d{3} nodes and 1\d namespaces, which takes too long/)
    })
    it('is refused when it is too big', async () => {
      await refused(`<signed-credential>${' '.repeat(300_000)}</signed-credential>`, /at most 262144 are read/)
    })
    it('is refused when it nests too deep', async () => {
      await refused('<a>'.repeat(40) + '</a>'.repeat(40), /nests deeper than 32/)
    })
    it('is refused when it has too many nodes or attributes', async () => {
      await refused(`<a>${'<b/>'.repeat(6000)}</a>`, /more than 5000 nodes/)
      const attributes = Array.from({ length: 40 }, (_, i) => `a${i}="1"`).join(' ')
      await refused(`<a ${attributes}/>`, /more than 32 attributes/)
    })
    it('is refused when it holds a parent that nobody signed', async () => {
      const text = credentialElement(await usual())
      const parent = text.replace('ref0', 'ref1')
      await refused(await sign(edit(text, '</credential>', `<parent>${parent}</parent></credential>`)), /the credential "ref1" is not signed/)
    })
    it('is refused when a value was doubled, even properly signed', async () => {
      const { other } = await field()
      const twice = `<target_urn>${other.urn}</target_urn><target_urn>`
      const text = edit(credentialElement(await usual()), '<target_urn>', twice)
      await refused(await sign(text), /2 <target_urn>/)
    })
  })
})

describe('a credential that is properly signed', () => {
  it('is refused when it has expired', async () => {
    await refused(await credential({ expires: now }), /expired at/)
  })
  it('is refused when its expiry is no time', async () => {
    const text = edit(credentialElement(await usual()), /<expires>[^<]*/, '<expires>never')
    await refused(await sign(text), /"never" of the credential is not an ISO 8601 time/)
  })
  it('is refused when its type is not privilege', async () => {
    await refused(await sign(edit(credentialElement(await usual()), '>privilege<', '>ticket<')), /of type "ticket"/)
  })
  it("is refused when it names another owner than the owner's certificate", async () => {
    const { alice, bob } = await field()
    const owner = { urn: alice.urn, pem: read(bob.certificate) }
    await refused(await credential({ owner }), /owner_gid is of .*\+bob/)
  })
  it("is refused when it names another target than the target's certificate", async () => {
    const { slice, other } = await field()
    const target = { urn: slice.urn, pem: read(other.certificate) }
    await refused(await credential({ target }), /target_gid is of .*\+exp2/)
  })
  it('is refused when the slice was certified by a stranger', async () => {
    const { slice } = await field()
    const forged = await certify({ urn: slice.urn })
    await refused(await credential({ target: { urn: slice.urn, pem: pemOf(forged.certificate) } }),
      /target is not accepted: .*not trusted here/)
  })
  it('is refused when an authority of another name-space signed it, though it is trusted', async () => {
    const { trust } = await field()
    const foreign = await certify({ urn: 'urn:publicid:IDN+lab.example.evil+authority+sa', caDepth: 1 })
    const both = { ...trust, certificates: [...trust.certificates, foreign.certificate] }
    const answer = await ask(await credential({}, foreign), { trust: both })
    assert.equal(answer.allowed, false)
    assert.match(answer.why, /lab.example.evil\+authority\+sa signed the credential and has no authority over/)
  })
  it('is refused when an authority below signed it for a slice above', async () => {
    const { federation, trust } = await field()
    const root = signerOf(federation.trust, federation.dir + '/ca.key')
    const below = await certify({ urn: 'urn:publicid:IDN+lab.example:project+authority+sa', caDepth: 0 }, root)
    const answer = await ask(await credential({}, below), { trust })
    assert.equal(answer.allowed, false)
    assert.match(answer.why, /has no authority over/)
  })
  it('is refused when the URN of the slice has one part too many', async () => {
    const { slice, sa } = await field()
    const urn = `${slice.urn}+x`
    await assert.rejects(certify({ urn, notAfter: now + dayMs }, sa), /malformed URN/)
    await refused(await credential({ target: { urn, pem: read(slice.certificate) } }), /target_urn is/)
  })
})
