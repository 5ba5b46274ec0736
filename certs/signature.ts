// XML signatures as GENI issuers make them (see W3C XMLDSIG and Canonical XML 1.0). No package verifies them: the ones
// there are forget that SignedInfo inherits Signature's xml:id, or let a wrapped, unsigned credential pass for the
// signed one. Here positions are exact, and what is returned are the very octets that were digested: read nothing else.
import { createHash, sign, verify, X509Certificate, type KeyObject } from 'node:crypto'
import { chainLimit } from './certificate.js'
import {
  attribute, canonical, childrenOf, elementsOf, exactChildren, forbidden, isNamed, onlyChild, textOf, withXml,
  type XmlElement,
} from './xml-dom.js'

const dsig = 'http://www.w3.org/2000/09/xmldsig#'
const inclusive = 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315'
const enveloped = `${dsig}enveloped-signature`

/** Algorithms we verify. All are RSA with a digest; HMAC, "none" and the rest do not exist here. */
const signatureMethods: ReadonlyMap<string, string> = new Map([
  [`${dsig}rsa-sha1`, 'sha1'],
  ['http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', 'sha256'],
])
const digestMethods: ReadonlyMap<string, string> = new Map([
  [`${dsig}sha1`, 'sha1'],
  ['http://www.w3.org/2001/04/xmlenc#sha256', 'sha256'],
])
/** A bare "#id" selects no comments, so WithComments gives the same octets here (XMLDSIG 4.3.3.3). */
const transforms = new Set([enveloped, inclusive, `${inclusive}#WithComments`])

export interface SignedContent {
  /** The canonical octets of the credential element: a document of its own, the only thing to read values from. */
  content: Buffer
  /** Certificates of KeyInfo as DER, the signer's first. Not yet trusted: verify the chain. */
  signerChain: Buffer[]
}

/**
 * Verifies the one signature of a signed-credential document and gives what was signed. The signer's key is that of the
 * first X509Certificate; KeyValue is ignored. Throws a Refusal 'forbidden' that says what is wrong.
 */
export function verifyEnvelopedSignature(xml: string): SignedContent {
  return withXml(xml, (root) => {
    if (!isNamed(root, 'signed-credential')) throw forbidden('the document is not a <signed-credential>')
    const credential = onlyChild(root, 'credential')
    if (childrenOf(credential, 'parent').length > 0) {
      throw forbidden('the credential is delegated (it has a parent); delegation is not supported')
    }
    exactChildren(root, ['credential', 'signatures'], '')
    const signatures = onlyChild(root, 'signatures')
    const [signature] = exactChildren(signatures, ['Signature'], dsig)
    const [signedInfo, signatureValue, keyInfo] =
      exactChildren(signature!, ['SignedInfo', 'SignatureValue', 'KeyInfo'], dsig)
    const signerChain = certificatesIn(keyInfo!)
    const content = canonical(credential)
    // SignedInfo too is read from its canonical octets, never from the document around it.
    const signed = canonical(signedInfo!)
    const info = withXml(signed, readSignedInfo)
    checkValue(signed, info.signatureDigest, base64(textOf(signatureValue!), 'SignatureValue'), signerChain[0]!)
    checkDigest(content, info)
    return { content, signerChain }
  })
}

interface SignedInfo { signatureDigest: string; digest: string; digestValue: Buffer; id: string }

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
    signatureDigest: allowed(signatureMethods, method!, 'signature'),
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

function allowed(methods: ReadonlyMap<string, string>, element: XmlElement, what: string): string {
  const name = algorithmOf(element)
  const digest = methods.get(name)
  if (digest === undefined) {
    throw forbidden(`the ${what} algorithm "${name}" is not accepted; use RSA-SHA256 or RSA-SHA1`)
  }
  return digest
}

function checkValue(signed: Buffer, digest: string, value: Buffer, signerDer: Buffer): void {
  const key = signerKey(signerDer)
  if (key.asymmetricKeyType !== 'rsa') throw forbidden('the key of the signer is not RSA, as the algorithm demands')
  if (!verify(digest, signed, key, value)) {
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
  const id = withXml(content, (credential) => attribute(credential, 'id', 'xml'))
  if (id !== info.id) {
    throw forbidden(`the signature is for the element "${info.id}", and the credential is "${id ?? 'without xml:id'}"`)
  }
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

/**
 * Wraps a `<credential xml:id="ID">` element into a signed-credential, signed as issuers do: inclusive C14N, enveloped,
 * xml:id, RSA-SHA256. `chain` is DER, the signer's certificate first.
 */
export function signCredential(credential: string, key: KeyObject, chain: readonly Buffer[]): string {
  const { id, digest } = withXml(document(credential, ''), (root) => {
    const element = onlyChild(root, 'credential')
    return {
      id: attribute(element, 'id', 'xml') ?? '',
      digest: createHash('sha256').update(canonical(element)).digest('base64'),
    }
  })
  if (!/^[A-Za-z_][\w.-]*$/.test(id)) throw forbidden('a credential to be signed must have an xml:id')
  const unsigned = document(credential, signatureElement(id, digest, '', chain))
  const signed = withXml(unsigned, (root) => {
    const signature = onlyChild(onlyChild(root, 'signatures'), 'Signature', dsig)
    return canonical(onlyChild(signature, 'SignedInfo', dsig))
  })
  return document(credential, signatureElement(id, digest, sign('sha256', signed, key).toString('base64'), chain))
}

function document(credential: string, signature: string): string {
  return '<?xml version="1.0"?>\n'
    + '<signed-credential xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    + ' xsi:noNamespaceSchemaLocation="http://www.planet-lab.org/resources/sfa/credential.xsd">\n'
    + `${credential}\n<signatures>${signature}</signatures>\n</signed-credential>\n`
}

function signatureElement(id: string, digest: string, value: string, chain: readonly Buffer[]): string {
  const certificates = chain.map((der) => `<X509Certificate>${der.toString('base64')}</X509Certificate>`).join('\n')
  return `<Signature xmlns="${dsig}" xml:id="Sig_${id}">
  <SignedInfo>
    <CanonicalizationMethod Algorithm="${inclusive}"/>
    <SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/>
    <Reference URI="#${id}">
      <Transforms><Transform Algorithm="${enveloped}"/></Transforms>
      <DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>
      <DigestValue>${digest}</DigestValue>
    </Reference>
  </SignedInfo>
  <SignatureValue>${value}</SignatureValue>
  <KeyInfo><X509Data>${certificates}</X509Data></KeyInfo>
</Signature>`
}
