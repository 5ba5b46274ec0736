// Signs credentials as issuers do: inclusive C14N, enveloped, xml:id, RSA-SHA256 (ECDSA-SHA256 where the key is EC).
import { createHash, sign, type KeyObject } from 'node:crypto'
import { dsig, encryption, enveloped, inclusive, more } from './signature.js'
import { attribute, canonical, elementsOf, forbidden, onlyChild, withXml } from './xml-dom.js'

/** The document that a credential stands in: its beginning, and the signatures that are there already. */
interface Frame { begin: string; signatures: string }

const plain: Frame = {
  begin: '<?xml version="1.0"?>\n'
    + '<signed-credential xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    + ' xsi:noNamespaceSchemaLocation="http://www.planet-lab.org/resources/sfa/credential.xsd">',
  signatures: '',
}

/**
 * Wraps a `<credential xml:id="ID">` element into a signed-credential. `chain` is DER, the signer's certificate first.
 * With `frame` (of `takeApart`) the credential holds that parent, and the parent's signatures are kept.
 */
export function signCredential(credential: string, key: KeyObject, chain: readonly Buffer[], frame: Frame = plain): string {
  const { id, digest } = withXml(document(frame, credential, ''), (root) => {
    const element = onlyChild(root, 'credential')
    return {
      id: attribute(element, 'id', 'xml') ?? '',
      digest: createHash('sha256').update(canonical(element)).digest('base64'),
    }
  })
  if (!/^[A-Za-z_][\w.-]*$/.test(id)) throw forbidden('a credential to be signed must have an xml:id')
  const kind = key.asymmetricKeyType === 'ec' ? 'ecdsa' : 'rsa'
  const unsigned = document(frame, credential, signatureElement(id, digest, '', chain, kind))
  const signed = withXml(unsigned, (root) => {
    const signature = elementsOf(onlyChild(root, 'signatures')).at(-1)!
    return canonical(onlyChild(signature, 'SignedInfo', dsig))
  })
  const value = sign('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }).toString('base64')
  return document(frame, credential, signatureElement(id, digest, value, chain, kind))
}

/** The text of the credential in a document that has been verified, and its frame, both as they were written. */
export function takeApart(xml: string): { credential: string; frame: Frame } {
  const form = /^([\s\S]*?<signed-credential\b[^>]*>)\s*(<credential\b[\s\S]*<\/credential>)\s*<signatures>([\s\S]*)<\/signatures>\s*<\/signed-credential>\s*$/
  const [, begin, credential, signatures] = form.exec(xml) ?? []
  if (signatures === undefined) throw forbidden('the credential is not written as issuers write it, so it cannot be put into another one')
  return { credential: credential!, frame: { begin: begin!, signatures } }
}

function document({ begin, signatures }: Frame, credential: string, signature: string): string {
  return `${begin}\n${credential}\n<signatures>${signatures}${signature}</signatures>\n</signed-credential>\n`
}

function signatureElement(id: string, digest: string, value: string, chain: readonly Buffer[], kind: 'rsa' | 'ecdsa'): string {
  const certificates = chain.map((der) => `<X509Certificate>${der.toString('base64')}</X509Certificate>`).join('\n')
  return `<Signature xmlns="${dsig}" xml:id="Sig_${id}">
  <SignedInfo>
    <CanonicalizationMethod Algorithm="${inclusive}"/>
    <SignatureMethod Algorithm="${more}${kind}-sha256"/>
    <Reference URI="#${id}">
      <Transforms><Transform Algorithm="${enveloped}"/></Transforms>
      <DigestMethod Algorithm="${encryption}sha256"/>
      <DigestValue>${digest}</DigestValue>
    </Reference>
  </SignedInfo>
  <SignatureValue>${value}</SignatureValue>
  <KeyInfo><X509Data>${certificates}</X509Data></KeyInfo>
</Signature>`
}
