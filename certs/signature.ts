// XML signatures as GENI issuers make them (see W3C XMLDSIG and Canonical XML 1.0). No package verifies them: the ones
// there are forget that SignedInfo inherits Signature's xml:id, or let a wrapped, unsigned credential pass for the
// signed one. Here positions are exact, and what is returned are the very octets that were digested: read nothing else.
import { createHash, verify, X509Certificate, type KeyObject } from 'node:crypto'
import { chainLimit } from './certificate.js'
import {
  attribute, canonical, childrenOf, elementsOf, exactChildren, forbidden, isNamed, onlyChild, textOf, withXml,
  type XmlElement,
} from './xml-dom.js'

export const dsig = 'http://www.w3.org/2000/09/xmldsig#'
export const inclusive = 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315'
export const enveloped = `${dsig}enveloped-signature`

export const more = 'http://www.w3.org/2001/04/xmldsig-more#'
export const encryption = 'http://www.w3.org/2001/04/xmlenc#'

interface Method { key: 'rsa' | 'ec'; digest: string }

/** Algorithms we verify, each with one kind of key. HMAC, "none" and the rest do not exist here. */
const signatureMethods: ReadonlyMap<string, Method> = new Map([
  [`${dsig}rsa-sha1`, { key: 'rsa', digest: 'sha1' }],
  ...['sha256', 'sha384', 'sha512'].flatMap((digest) => [
    [`${more}rsa-${digest}`, { key: 'rsa', digest }], [`${more}ecdsa-${digest}`, { key: 'ec', digest }],
  ] as [string, Method][]),
])
const digestMethods: ReadonlyMap<string, string> = new Map([
  [`${dsig}sha1`, 'sha1'], [`${encryption}sha256`, 'sha256'], [`${more}sha384`, 'sha384'], [`${encryption}sha512`, 'sha512'],
])
/** A bare "#id" selects no comments, so WithComments gives the same octets here (XMLDSIG 4.3.3.3). */
const transforms = new Set([enveloped, inclusive, `${inclusive}#WithComments`])

export interface SignedContent {
  /** The canonical octets of the credential element: a document of its own, the only thing to read values from. */
  content: Buffer
  /** Certificates of KeyInfo as DER, the signer's first. Not yet trusted: verify the chain. */
  signerChain: Buffer[]
}

/** A credential may be handed on so often; each time costs a signature and three chains. */
export const delegationLimit = 5

/**
 * Verifies the signatures of a signed-credential document and gives what was signed: the credential first, then its
 * parent, and so on; each has exactly one signature, and there are no others. A signer's key is that of the first
 * X509Certificate; KeyValue is ignored. Throws a Refusal 'forbidden' that says what is wrong.
 */
export function verifyEnvelopedSignatures(xml: string): SignedContent[] {
  return withXml(xml, (root) => {
    if (!isNamed(root, 'signed-credential')) throw forbidden('the document is not a <signed-credential>')
    onlyChild(root, 'credential')
    const [credential, signatures] = exactChildren(root, ['credential', 'signatures'], '')
    const unused = signaturesIn(signatures!)
    const verified: SignedContent[] = []
    let content: Buffer | undefined = canonical(credential!)
    while (content !== undefined) {
      if (verified.length > delegationLimit) throw forbidden(`the credential was delegated more than ${delegationLimit} times`)
      const octets: Buffer = content
      const id = withXml(octets, (element) => attribute(element, 'id', 'xml'))
      const mine = unused.filter((signature) => signature.info.id === id)
      if (mine.length !== 1) throw forbidden(unsigned(id, mine.length, unused))
      unused.splice(unused.indexOf(mine[0]!), 1)
      verified.push(verifyOne(octets, mine[0]!))
      content = withXml(octets, parentIn)
    }
    if (unused.length > 0) throw forbidden(`a signature is for the element "${unused[0]!.info.id}", which is no credential of this document`)
    return verified
  })
}

/** The canonical octets of the credential that this one was delegated from, taken from what was digested. */
function parentIn(credential: XmlElement): Buffer | undefined {
  if (childrenOf(credential, 'parent').length === 0) return undefined
  const [parent] = exactChildren(onlyChild(credential, 'parent'), ['credential'], '')
  return canonical(parent!)
}

function unsigned(id: string | undefined, found: number, others: readonly Signature[]): string {
  const name = id ?? 'without xml:id'
  if (found > 1) return `the credential "${name}" has ${found} signatures, there must be exactly one`
  const other = others[0]
  return other === undefined
    ? `the credential "${name}" is not signed`
    : `the signature is for the element "${other.info.id}", and the credential is "${name}"`
}

interface Signature { info: SignedInfo; signed: Buffer; value: Buffer; signerChain: Buffer[] }

function signaturesIn(list: XmlElement): Signature[] {
  const found = elementsOf(list)
  const count = found.length
  if (count === 0 || count > delegationLimit + 1 || !found.every((element) => isNamed(element, 'Signature', dsig))) {
    throw forbidden(`<signatures> must hold one Signature for each credential and nothing else, at most ${delegationLimit + 1}, and holds ${count} elements`)
  }
  return found.map((signature) => {
    const [signedInfo, signatureValue, keyInfo] =
      exactChildren(signature, ['SignedInfo', 'SignatureValue', 'KeyInfo'], dsig)
    // SignedInfo too is read from its canonical octets, never from the document around it.
    const signed = canonical(signedInfo!)
    return {
      signed, info: withXml(signed, readSignedInfo), value: base64(textOf(signatureValue!), 'SignatureValue'),
      signerChain: certificatesIn(keyInfo!),
    }
  })
}

function verifyOne(content: Buffer, { info, signed, value, signerChain }: Signature): SignedContent {
  checkValue(signed, info.method, value, signerChain[0]!)
  checkDigest(content, info)
  return { content, signerChain }
}

interface SignedInfo { method: Method; digest: string; digestValue: Buffer; id: string }

function readSignedInfo(info: XmlElement): SignedInfo {
  const [canonicalization, method, reference] =
    exactChildren(info, ['CanonicalizationMethod', 'SignatureMethod', 'Reference'], dsig)
  if (algorithmOf(canonicalization!) !== inclusive) {
    throw forbidden(`the canonicalization ${algorithmOf(canonicalization!)} is not accepted; it must be ${inclusive}`)
  }
  const [transformList, digestMethod, digestValue] =
    exactChildren(reference!, ['Transforms', 'DigestMethod', 'DigestValue'], dsig)
  checkTransforms(transformList!)
  const uri = attribute(reference!, 'URI') ?? ''
  if (!uri.startsWith('#') || uri.length < 2 || reference!.attrs.length !== 1) {
    throw forbidden(`the signature must refer to the credential by URI="#id" alone, and has "${uri}"`)
  }
  return {
    method: allowed(signatureMethods, method!, 'signature'),
    digest: allowed(digestMethods, digestMethod!, 'digest'),
    digestValue: base64(textOf(digestValue!), 'DigestValue'),
    id: uri.slice(1),
  }
}

function checkTransforms(list: XmlElement): void {
  const named = childrenOf(list, 'Transform', dsig)
  if (named.length !== elementsOf(list).length || named.length === 0 || named.length > 2) {
    throw forbidden('the signature must have one or two transforms')
  }
  if (algorithmOf(named[0]!) !== enveloped) throw forbidden('the first transform must be enveloped-signature')
  for (const transform of named) {
    const name = algorithmOf(transform)
    if (!transforms.has(name)) throw forbidden(`the transform ${name} is not accepted`)
  }
}

/** The algorithm of an element that must hold nothing (no parameters: HMACOutputLength, XPath, prefixes). */
function algorithmOf(element: XmlElement): string {
  if (elementsOf(element).length > 0 || textOf(element) !== '' || element.attrs.length !== 1) {
    throw forbidden(`<${element.name}> must have an Algorithm and nothing else`)
  }
  return attribute(element, 'Algorithm') ?? ''
}

function allowed<T>(methods: ReadonlyMap<string, T>, element: XmlElement, what: string): T {
  const name = algorithmOf(element)
  const found = methods.get(name)
  if (found === undefined) {
    throw forbidden(`the ${what} algorithm "${name}" is not accepted; use RSA-SHA256 or RSA-SHA1`)
  }
  return found
}

function checkValue(signed: Buffer, { key: kind, digest }: Method, value: Buffer, signerDer: Buffer): void {
  const key = signerKey(signerDer)
  if (key.asymmetricKeyType !== kind) throw forbidden(`the key of the signer is not ${kind.toUpperCase()}, as the algorithm demands`)
  // XMLDSIG writes the two numbers of ECDSA one after the other, not as ASN.1; RSA does not look at dsaEncoding
  if (!verify(digest, signed, { key, dsaEncoding: 'ieee-p1363' }, value)) {
    throw forbidden('the signature was not made by the certificate it names, or SignedInfo was changed')
  }
}

function signerKey(der: Buffer): KeyObject {
  try {
    return new X509Certificate(der).publicKey
  } catch (cause) {
    throw forbidden("the signer's certificate cannot be read", { cause })
  }
}

function checkDigest(content: Buffer, info: SignedInfo): void {
  if (!createHash(info.digest).update(content).digest().equals(info.digestValue)) {
    throw forbidden('the credential was changed after it was signed (digest mismatch)')
  }
}

function certificatesIn(keyInfo: XmlElement): Buffer[] {
  const found = childrenOf(keyInfo, 'X509Data', dsig).flatMap((data) => childrenOf(data, 'X509Certificate', dsig))
  if (found.length === 0) throw forbidden('the signature has no X509Certificate, so nobody knows whose it is')
  if (found.length > chainLimit) throw forbidden(`the signature has more than ${chainLimit} certificates`)
  return found.map((element) => base64(textOf(element), 'X509Certificate'))
}

function base64(text: string, what: string): Buffer {
  if (!/^[A-Za-z0-9+/=\s]+$/.test(text)) throw forbidden(`${what} is not base64`)
  return Buffer.from(text, 'base64')
}
