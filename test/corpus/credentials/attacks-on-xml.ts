// Attacks on the document: its values, its shape, its signature and the keys in it.
import { createHash, createHmac, createPublicKey, sign as signBytes, type KeyObject } from 'node:crypto'
import { signCredential, takeApart } from '../../../certs/sign.js'
import { canonical, elementsOf, onlyChild, withXml } from '../../../certs/xml-dom.js'
import type { Draft } from './attack.js'
import { credential, dayMs, edit, now, type World } from './world.js'

const dsig = 'http://www.w3.org/2000/09/xmldsig#'
const more = 'http://www.w3.org/2001/04/xmldsig-more#'
const part = (xml: string, name: string) => new RegExp(`<${name}[ >][\\s\\S]*</${name}>`).exec(xml)![0]

/** The credential with more rights, as an attacker would write it. */
const evil = (xml: string, id = ' xml:id="evil"') => part(xml, 'credential').replace(' xml:id="ref0"', id).replace('<name>info</name>', '<name>*</name>')

function signedInfo(xml: string): Buffer {
  return withXml(xml, (root) => canonical(onlyChild(elementsOf(onlyChild(root, 'signatures'))[0]!, 'SignedInfo', dsig)))
}

/** SignedInfo signed anew by this key: for forms that a careless issuer might sign. */
function resigned(xml: string, key: KeyObject, digest = 'sha256'): string {
  const value = signBytes(digest, signedInfo(xml), key).toString('base64')
  return edit(xml, /<SignatureValue>[^<]*</, `<SignatureValue>${value}<`)
}

function refitted(xml: string): string {
  const digest = createHash('sha256').update(withXml(xml, (root) => canonical(onlyChild(root, 'credential')))).digest('base64')
  return edit(xml, /<DigestValue>[^<]*/, `<DigestValue>${digest}`)
}

export function onValues(w: World, good: string): Draft[] {
  const changed = 'changed after it was signed'
  return [
    { name: 'privilege-changed', attack: 'a privilege is changed to *', xml: edit(good, '<name>info</name>', '<name>*</name>'), reason: changed },
    { name: 'privilege-added', attack: 'a privilege is added', xml: edit(good, '</privileges>', '<privilege><name>*</name><can_delegate>true</can_delegate></privilege></privileges>'), reason: changed },
    { name: 'delegation-allowed', attack: 'what may be handed on is changed', xml: edit(good, '<can_delegate>true', '<can_delegate>TRUE'), reason: changed },
    { name: 'expiry-moved', attack: 'the expiry is moved', xml: edit(good, /<expires>[^<]*/, '<expires>2099-01-01T00:00:00Z'), reason: changed },
    { name: 'owner-urn-changed', attack: 'the owner is changed by name', xml: edit(good, 'user+alice</owner_urn>', 'user+eve</owner_urn>'), call: { caller: 'world/eve.pem' }, reason: changed },
    { name: 'owner-replaced', attack: 'the owner is replaced, name and certificate', call: { caller: 'world/eve.pem' }, xml: edit(edit(good, w.alice.pem, w.eve.pem), 'user+alice</owner_urn>', 'user+eve</owner_urn>'), reason: changed },
    { name: 'target-replaced', attack: 'the target is replaced, name and certificate', call: { slice: w.exp2.urn }, xml: edit(edit(good, w.exp1.pem, w.exp2.pem), 'slice+exp1</target_urn>', 'slice+exp2</target_urn>'), reason: changed },
    { name: 'element-added', attack: 'an element is added', xml: edit(good, '<uuid', '<foo/><uuid'), reason: changed },
    { name: 'white-space-added', attack: 'white space is added between elements', xml: edit(good, '<uuid', ' <uuid'), reason: changed },
    { name: 'attribute-added', attack: 'an attribute is added to the credential', xml: edit(good, '<credential ', '<credential x="1" '), reason: changed },
    { name: 'second-owner-urn', attack: 'a second owner_urn is put in front of the first', xml: edit(good, '<owner_urn>', `<owner_urn>${w.eve.urn}</owner_urn><owner_urn>`), reason: changed },
    { name: 'prefixes', attack: 'the document is written anew with prefixes', xml: edit(good.replace(/<(\/?)(signed-credential|credential|signatures|type)\b/g, '<$1ns0:$2'), 'xmlns:xsi', 'xmlns:ns0="urn:x" xmlns:xsi'), reason: 'not a <signed-credential>' },
    { name: 'namespace-declared', attack: 'a namespace is declared around it', xml: edit(good, 'xmlns:xsi', 'xmlns:x="urn:x" xmlns:xsi'), reason: 'SignedInfo was changed' },
    { name: 'comment-in-owner', attack: 'a comment cuts the owner in two: readers of the first text node see another user', xml: edit(good, 'user+alice</owner_urn>', 'user+al<!-- -->ice</owner_urn>'), reason: 'comment inside the value of <owner_urn>' },
    { name: 'comment-in-target', attack: 'a comment cuts the target in two', xml: edit(good, 'slice+exp1</target_urn>', 'slice+exp<!-- -->1</target_urn>'), reason: 'comment inside the value of <target_urn>' },
    { name: 'comment-in-expiry', attack: 'a comment hides the end of the expiry', xml: edit(good, /<expires>(\d{4})/, '<expires>2026<!-- -->'), reason: 'comment inside the value of <expires>' },
    { name: 'comment-in-certificate', attack: 'a comment cuts the certificate of the owner', xml: edit(good, '<owner_gid>-----BEGIN', '<owner_gid><!-- -->-----BEGIN'), reason: 'comment inside the value of <owner_gid>' },
    { name: 'instruction-in-value', attack: 'a processing instruction is put into a value', xml: edit(good, '<serial>', '<serial><?x y?>'), reason: 'not element, text or comment' },
    { name: 'expired', attack: 'it has expired', xml: credential(w, { expires: now - dayMs }), reason: 'the credential expired at' },
  ]
}

export function onShape(w: World, good: string): Draft[] {
  const inner = part(good, 'credential')
  const signature = part(good, 'Signature')
  const replaced = (by: string) => edit(good, inner, by)
  const wrap = (outer: string) => outer.replace('<uuid', `<extensions>${inner}</extensions><uuid`)
  const another = part(credential(w, { target: w.exp2 }), 'Signature')
  const other = another.replace('Sig_ref0', 'Sig_other')
  const two = 'there must be exactly one'
  return [
    { name: 'evil-first', attack: 'an unsigned credential stands in front of the signed one', xml: edit(good, '<credential ', `${evil(good)}<credential `), reason: `2 <credential>, ${two}` },
    { name: 'evil-without-id-first', attack: 'the same, without any id', xml: edit(good, '<credential ', `${evil(good, '')}<credential `), reason: `2 <credential>, ${two}` },
    { name: 'evil-last', attack: 'an unsigned credential stands behind the signed one', xml: edit(good, '<signatures>', `${evil(good)}<signatures>`), reason: `2 <credential>, ${two}` },
    { name: 'wrapper-beside', attack: 'the signed one is moved into a wrapper beside the unsigned one', xml: replaced(`${evil(good)}<wrapper>${inner}</wrapper>`), reason: 'holds credential, wrapper, signatures' },
    { name: 'inside-extensions', attack: 'the signed one is moved into the unsigned one', xml: replaced(wrap(evil(good))), reason: 'for the element "ref0", and the credential is "evil"' },
    { name: 'inside-parent', attack: 'the signed one is made the parent of an unsigned one', xml: replaced(evil(good).replace('</credential>', `<parent>${inner}</parent></credential>`)), reason: 'for the element "ref0", and the credential is "evil"' },
    { name: 'inside-object', attack: 'the signed one is moved into an Object of the signature', xml: edit(replaced(evil(good)), '</Signature>', `<Object>${inner}</Object></Signature>`), reason: 'must hold exactly SignedInfo' },
    { name: 'inside-key-info', attack: 'the signed one is moved into KeyInfo', xml: edit(replaced(evil(good, '')), '<KeyInfo>', `<KeyInfo>${inner}`), reason: 'the credential is "without xml:id"' },
    { name: 'inside-signatures', attack: 'the signed one is moved beside the signature', xml: edit(replaced(evil(good)), '</signatures>', `${inner}</signatures>`), reason: '<signatures> must hold one Signature' },
    { name: 'document-inside', attack: 'the whole document is put into another one', xml: `<signed-credential>${evil(good)}${part(good, 'signed-credential')}</signed-credential>`, reason: 'must hold exactly credential, signatures' },
    { name: 'other-kind-of-id', attack: 'the unsigned one has an Id that equals the xml:id of the signed one', xml: replaced(wrap(evil(good, ' Id="ref0"'))), reason: 'id "ref0" is used twice' },
    { name: 'id-in-another-case', attack: 'the same with ID', xml: replaced(wrap(evil(good, ' ID="ref0"'))), reason: 'id "ref0" is used twice' },
    { name: 'doubled-xml-id', attack: 'two credentials have the same xml:id', xml: replaced(wrap(evil(good, ' xml:id="ref0"'))), reason: 'ref0' },
    { name: 'doubled-id-inside', attack: 'an element inside has the xml:id of the credential', xml: edit(good, '<type>', '<type xml:id="ref0">'), reason: 'ref0' },
    { name: 'two-signatures', attack: 'there are two signatures for one credential', xml: edit(good, '</signatures>', `${signature.replace('Sig_ref0', 'Sig_two')}</signatures>`), reason: 'has 2 signatures, there must be exactly one' },
    { name: 'broken-signature-first', attack: 'a broken signature stands in front of the good one', xml: edit(good, '<signatures>', `<signatures>${signature.replace('Sig_ref0', 'Sig_two').replace(/<DigestValue>./, '<DigestValue>A')}`), reason: 'has 2 signatures, there must be exactly one' },
    { name: 'stray-signature', attack: 'the signature of another credential stands beside', xml: edit(good, '</signatures>', `${other.replace('#ref0', '#ref9')}</signatures>`), reason: 'which is no credential of this document' },
    { name: 'signature-of-another', attack: 'the signature is that of another credential', xml: edit(good, signature, another), reason: 'changed after it was signed' },
    { name: 'no-signature', attack: 'the signature is taken away', xml: edit(good, signature, ''), reason: '<signatures> must hold one Signature' },
    { name: 'signatures-gone', attack: 'there are no signatures at all', xml: edit(good, part(good, 'signatures'), ''), reason: 'must hold exactly credential, signatures' },
    { name: 'two-lists-of-signatures', attack: 'there are two lists of signatures', xml: edit(good, '<signatures>', '<signatures/><signatures>'), reason: 'must hold exactly credential, signatures' },
    { name: 'two-signed-infos', attack: 'the signature has two SignedInfo', xml: edit(good, part(good, 'SignedInfo'), part(good, 'SignedInfo') + part(good, 'SignedInfo')), reason: 'must hold exactly SignedInfo, SignatureValue, KeyInfo' },
    { name: 'two-values', attack: 'the signature has two SignatureValue', xml: edit(good, part(good, 'SignatureValue'), part(good, 'SignatureValue') + part(good, 'SignatureValue')), reason: 'must hold exactly SignedInfo, SignatureValue, KeyInfo' },
    { name: 'foreign-namespace', attack: 'the credential is in a namespace of the attacker', xml: edit(good, '<credential ', '<credential xmlns="urn:x" '), reason: '0 <credential>' },
    { name: 'doctype', attack: 'it has a DOCTYPE', xml: edit(good, '<signed-cred', '<!DOCTYPE signed-credential>\n<signed-cred'), reason: 'DOCTYPE' },
    { name: 'doctype-entity', attack: 'a value is written as an entity, so that the digest is the same', xml: edit(edit(good, '<name>info<', '<name>&i;<'), '<signed-cred', '<!DOCTYPE signed-credential [<!ENTITY i "info">]>\n<signed-cred'), reason: 'DOCTYPE or entities' },
    { name: 'doctype-external', attack: 'a value is to be read from a file of the host', xml: edit(edit(good, '<serial>7<', '<serial>&f;<'), '<signed-cred', '<!DOCTYPE signed-credential [<!ENTITY f SYSTEM "file:///etc/hostname">]>\n<signed-cred'), reason: 'DOCTYPE or entities' },
    { name: 'doctype-id', attack: 'a DOCTYPE declares another attribute to be an id', xml: edit(replaced(wrap(evil(good, ' name="ref0"'))), '<signed-cred', '<!DOCTYPE signed-credential [<!ATTLIST credential name ID #IMPLIED>]>\n<signed-cred'), reason: 'DOCTYPE' },
    { name: 'bomb', attack: 'entities that grow', xml: edit(good, '<signed-cred', `<!DOCTYPE x [<!ENTITY a "${'a'.repeat(50)}">${Array.from({ length: 9 }, (_, i) => `<!ENTITY ${'bcdefghij'[i]!} "${`&${'abcdefghi'[i]!};`.repeat(10)}">`).join('')}]>\n<signed-cred`), reason: 'DOCTYPE or entities' },
  ]
}

export function onSignature(w: World, good: string): Draft[] {
  const method = `${more}rsa-sha256`
  const digestMethod = 'http://www.w3.org/2001/04/xmlenc#sha256'
  const c14n = '"http://www.w3.org/TR/2001/REC-xml-c14n-20010315"'
  const better = edit(good, '<name>info</name>', '<name>*</name>')
  const anew = (from: string | RegExp, to: string) => resigned(edit(good, from, to), w.sa.key)
  const hmac = (xml: string, secret: Buffer) => edit(xml, /<SignatureValue>[^<]*</, `<SignatureValue>${createHmac('sha1', secret).update(signedInfo(xml)).digest('base64')}<`)
  const asHmac = edit(refitted(better), method, `${dsig}hmac-sha1`)
  const pem = createPublicKey(w.sa.key).export({ type: 'spki', format: 'pem' })
  const reference = part(good, 'Reference')
  return [
    { name: 'digest-refitted', attack: 'the digest is made to fit the change', xml: refitted(better), reason: 'SignedInfo was changed' },
    { name: 'comment-in-digest', attack: 'a comment in DigestValue separates a false digest from the right one', xml: edit(good, '<DigestValue>', '<DigestValue>AAAA<!-- -->'), reason: 'comment inside the value of <DigestValue>' },
    { name: 'comment-in-signature-value', attack: 'a comment stands in SignatureValue', xml: edit(good, '<SignatureValue>', '<SignatureValue><!-- -->'), reason: 'comment inside the value of <SignatureValue>' },
    { name: 'value-changed', attack: 'the value of the signature is changed', xml: edit(good, /<SignatureValue>..../, '<SignatureValue>AAAA'), reason: 'not made by the certificate it names' },
    { name: 'value-empty', attack: 'the value of the signature is empty', xml: edit(good, /<SignatureValue>[^<]*/, '<SignatureValue>'), reason: 'SignatureValue is not base64' },
    { name: 'hmac-with-public-key', attack: 'HMAC with the public key of the authority as secret', xml: hmac(asHmac, Buffer.from(pem)), reason: 'hmac-sha1" is not accepted' },
    { name: 'hmac-with-certificate', attack: 'HMAC with the certificate of the authority as secret', xml: hmac(asHmac, w.sa.certificate.der), reason: 'hmac-sha1" is not accepted' },
    { name: 'hmac-cut-short', attack: 'HMAC cut to no bits at all', xml: edit(asHmac, `<SignatureMethod Algorithm="${dsig}hmac-sha1"/>`, `<SignatureMethod Algorithm="${dsig}hmac-sha1"><HMACOutputLength>0</HMACOutputLength></SignatureMethod>`), reason: 'must have an Algorithm and nothing else' },
    { name: 'no-algorithm', attack: 'the algorithm of the signature is none', xml: edit(refitted(better), method, 'none'), reason: 'signature algorithm "none" is not accepted' },
    { name: 'method-rsa-md5', attack: 'signed with RSA and MD5, by the authority itself', xml: resigned(edit(good, method, `${more}rsa-md5`), w.sa.key, 'md5'), reason: 'rsa-md5" is not accepted' },
    { name: 'method-dsa', attack: 'the algorithm is DSA', xml: edit(good, method, `${dsig}dsa-sha1`), reason: 'dsa-sha1" is not accepted' },
    { name: 'method-ecdsa', attack: 'the algorithm is ECDSA, and the key RSA', xml: edit(good, method, `${more}ecdsa-sha256`), reason: 'not EC, as the algorithm demands' },
    { name: 'digest-md5', attack: 'the digest is MD5, signed by the authority itself', xml: resigned(edit(edit(good, digestMethod, `${more}md5`), /<DigestValue>[^<]*/, `<DigestValue>${createHash('md5').update(withXml(good, (r) => canonical(onlyChild(r, 'credential')))).digest('base64')}`), w.sa.key), reason: 'md5" is not accepted' },
    { name: 'exclusive-c14n', attack: 'another canonicalization', xml: anew(c14n, '"http://www.w3.org/2001/10/xml-exc-c14n#"'), reason: 'the canonicalization' },
    { name: 'c14n-with-comments', attack: 'a canonicalization that keeps comments', xml: anew(c14n, '"http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"'), reason: 'the canonicalization' },
    { name: 'xpath-transform', attack: 'a transform that leaves out what was changed', xml: anew('</Transforms>', '<Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><XPath>not(ancestor-or-self::privileges)</XPath></Transform></Transforms>'), reason: 'must have an Algorithm and nothing else' },
    { name: 'xslt-transform', attack: 'a transform that is a program', xml: anew('</Transforms>', '<Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/></Transforms>'), reason: 'xslt-19991116 is not accepted' },
    { name: 'base64-transform', attack: 'a transform that decodes', xml: anew('</Transforms>', `<Transform Algorithm="${dsig}base64"/></Transforms>`), reason: 'base64 is not accepted' },
    { name: 'many-transforms', attack: 'more transforms than anybody needs', xml: anew('</Transforms>', `<Transform Algorithm=${c14n}/>`.repeat(40) + '</Transforms>'), reason: 'one or two transforms' },
    { name: 'no-transforms', attack: 'the transforms are missing', xml: anew(part(good, 'Transforms'), ''), reason: 'must hold exactly Transforms, DigestMethod, DigestValue' },
    { name: 'two-references', attack: 'one signature for two elements', xml: anew(reference, reference + reference.replace('#ref0', '#ref1')), reason: 'must hold exactly CanonicalizationMethod, SignatureMethod, Reference' },
    { name: 'reference-to-everything', attack: 'the reference is to the whole document', xml: anew('URI="#ref0"', 'URI=""'), reason: 'must refer to the credential by URI="#id" alone' },
    { name: 'reference-missing', attack: 'the reference says nothing', xml: anew(' URI="#ref0"', ''), reason: 'must refer to the credential by URI="#id" alone' },
    { name: 'reference-xpointer', attack: 'the reference is an XPointer', xml: anew('#ref0', "#xpointer(id('ref0'))"), reason: 'for the element' },
    { name: 'reference-to-file', attack: 'the reference is to a file of the host', xml: anew('#ref0', 'file:///etc/hostname'), reason: 'must refer to the credential by URI="#id" alone' },
    { name: 'reference-with-type', attack: 'the reference has a type', xml: anew('URI="#ref0"', `URI="#ref0" Type="${dsig}Object"`), reason: 'must refer to the credential by URI="#id" alone' },
  ]
}

export function onKeys(w: World, good: string): Draft[] {
  const x509 = part(good, 'X509Data')
  const by = (signer: KeyObject, chain: readonly Buffer[]) => signCredential(takeApart(edit(good, '<name>info</name>', '<name>*</name>')).credential, signer, chain)
  const { n, e } = createPublicKey(w.stranger.key).export({ format: 'jwk' })
  const base64 = (url: string) => Buffer.from(url, 'base64url').toString('base64')
  const keyValue = `<KeyValue><RSAKeyValue><Modulus>${base64(n!)}</Modulus><Exponent>${base64(e!)}</Exponent></RSAKeyValue></KeyValue>`
  const forged = by(w.stranger.key, w.stranger.chain)
  const [theirs] = /<X509Certificate>[^<]*<\/X509Certificate>/.exec(x509)!
  const behind = w.sa.chain.map((der) => `<X509Certificate>${der.toString('base64')}</X509Certificate>`).join('')
  return [
    { name: 'key-value-only', attack: 'a stranger signed, and KeyInfo has only the key', xml: edit(forged, part(forged, 'X509Data'), keyValue), reason: 'no X509Certificate' },
    { name: 'key-value-first', attack: 'a stranger signed; his key stands in front of the certificate of the authority', xml: edit(forged, part(forged, 'X509Data'), keyValue + x509), reason: 'not made by the certificate it names' },
    { name: 'key-value-last', attack: 'the same, behind it', xml: edit(forged, part(forged, 'X509Data'), x509 + keyValue), reason: 'not made by the certificate it names' },
    { name: 'key-name', attack: 'only the name of the key of the authority', xml: edit(forged, part(forged, 'X509Data'), '<KeyName>sa</KeyName>'), reason: 'no X509Certificate' },
    { name: 'retrieval', attack: 'the certificate is to be fetched from somewhere', xml: edit(forged, part(forged, 'X509Data'), `<RetrievalMethod URI="http://127.0.0.1:1/key" Type="${dsig}X509Data"/>`), reason: 'no X509Certificate' },
    { name: 'stranger', attack: 'a stranger with the name of the authority signed', xml: forged, reason: 'signer is not accepted' },
    { name: 'stranger-with-chain', attack: 'the same, with the chain of the authority behind his certificate', xml: edit(forged, '</X509Data>', `${behind}</X509Data>`), reason: 'signer is not accepted' },
    { name: 'authority-first', attack: 'the certificate of the authority stands first, and the stranger who signed second', xml: edit(forged, '<X509Data>', `<X509Data>${theirs}`), reason: 'not made by the certificate it names' },
    { name: 'user-signs', attack: 'the user signs it with the own certificate', xml: by(w.alice.key, w.alice.chain), reason: 'user+alice, which is not a certificate authority' },
    { name: 'aggregate-signs', attack: 'the aggregate signs it: an authority by name, and no CA', xml: by(w.am.key, w.am.chain), reason: 'authority+am, which is not a certificate authority' },
    { name: 'slice-signs', attack: 'the slice signs it with the own certificate', xml: by(w.exp1.key, w.exp1.chain), reason: 'slice+exp1, which is not a certificate authority' },
    { name: 'certificate-garbage', attack: 'the certificate of the signer is garbage', xml: edit(good, theirs, '<X509Certificate>AAAA</X509Certificate>'), reason: "the signer's certificate cannot be read" },
  ]
}
