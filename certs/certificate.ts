// A certificate as GENI reads it: who somebody is stands in subjectAltName only (the subject is free text that is never
// parsed).
import { createHash, X509Certificate, type KeyObject } from 'node:crypto'
import type { DetailedPeerCertificate } from 'node:tls'
import { Refusal } from '../base/errors.js'
import { parseUrn, type Urn } from '../base/urn.js'
import { derChildren, readDer } from './der.js'
import * as x509 from './x509.js'

/** Any certificate; roots may lack a URN. */
export interface Certificate {
  urn?: string
  uuid?: string
  email?: string
  /** SHA-256 of the DER, lower-case hex. */
  fingerprint: string
  /** Lower-case hex without leading zeros. */
  serial: string
  publicKey: KeyObject
  isCa: boolean
  /** How many CA certificates may stand between this CA and a leaf. */
  pathLength?: number
  /** Dotted OID or name of the digest and key the certificate is signed with, as far as we know it. */
  signedWith: string
  /** Extensions marked critical that we do not enforce: such a certificate is not accepted in a chain. */
  unknownCritical: string[]
  notBefore: number
  notAfter: number
  x509: X509Certificate
  der: Buffer
}

/** A certificate that names somebody. */
export interface GeniCertificate extends Certificate { urn: string }

/** Certificates of one PEM text or TLS handshake that are looked at. Real chains have 2 to 4. */
export const chainLimit = 10
/** Larger than any certificate met; bounds the time for parsing. */
const derLimit = 16 * 1024
/** Enforced by us or without meaning for a chain: basicConstraints, keyUsage, extKeyUsage, subjectAltName, key ids. */
const knownCritical = new Set(['2.5.29.19', '2.5.29.15', '2.5.29.37', '2.5.29.17', '2.5.29.14', '2.5.29.35'])

/** Parses one certificate, DER or PEM (of a PEM chain the first). Refuses what cannot be understood. */
export function parseCertificate(input: Buffer | string): Certificate {
  const der = toDer(input)
  if (der.length > derLimit) throw bad(`a certificate has ${der.length} bytes; at most ${derLimit} are read`)
  let native: X509Certificate
  let asn: x509.X509Certificate
  try {
    native = new X509Certificate(der)
    asn = new x509.X509Certificate(der)
    // A key that node cannot read, trailing bytes after the certificate: better found here than half-way.
    if (!native.raw.equals(der) || native.publicKey.asymmetricKeyType === undefined) throw new Error('unreadable')
  } catch (cause) {
    throw bad('a certificate cannot be read as X.509', { cause })
  }
  const basic = asn.getExtension(x509.BasicConstraintsExtension)
  return {
    ...identity(asn),
    fingerprint: createHash('sha256').update(der).digest('hex'),
    serial: serialOf(native.serialNumber),
    publicKey: native.publicKey,
    isCa: native.ca,
    ...(typeof basic?.pathLength === 'number' ? { pathLength: basic.pathLength } : {}),
    signedWith: signatureName(asn),
    unknownCritical: asn.extensions.filter((e) => e.critical && !knownCritical.has(e.type)).map((e) => e.type),
    notBefore: asn.notBefore.getTime(),
    notAfter: asn.notAfter.getTime(),
    x509: native,
    der,
  }
}

/** The same, for certificates that must name somebody. */
export function parseGeniCertificate(input: Buffer | string): GeniCertificate {
  const certificate = parseCertificate(input)
  if (!isNamed(certificate)) throw bad('the certificate has no URN (urn:publicid:IDN+...) in its subjectAltName')
  return certificate
}

export function isNamed(certificate: Certificate): certificate is GeniCertificate {
  return certificate.urn !== undefined
}

/** The parts of a certificate's URN. It was checked when the certificate was parsed. */
export function urnOf(certificate: GeniCertificate): Urn {
  const urn = parseUrn(certificate.urn)
  if (urn === undefined) throw bad(`"${certificate.urn}" is not a URN`)
  return urn
}

/** One spelling of a serial number. */
export function serialOf(hex: string): string {
  return hex.toLowerCase().replace(/^0+(?=.)/, '')
}

/** The name of a key as ABAC has it: SHA-1 of the bits of the public key, like the usual subjectKeyIdentifier. */
export function keyId(key: KeyObject): string {
  const [, bits] = derChildren(readDer(key.export({ type: 'spki', format: 'der' })).content)
  return createHash('sha1').update(bits!.content.subarray(1)).digest('hex')
}

export function sameKey(a: KeyObject, b: KeyObject): boolean {
  return a.equals(b) // writing both out to compare them took a quarter of a call's time
}

/** The DER certificates of a PEM text, in order. Text around them is ignored; none at all is refused. */
export function splitPem(pem: string): Buffer[] {
  const found: Buffer[] = []
  for (const match of pem.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g)) {
    if (found.length === chainLimit) throw bad(`more than ${chainLimit} certificates in one PEM text`)
    found.push(Buffer.from(match[1]!, 'base64'))
  }
  if (found.length === 0) throw bad('no PEM certificate found (-----BEGIN CERTIFICATE-----)')
  return found
}

/** DER as PEM, in lines of 64. */
export function toPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

/** What `socket.getPeerCertificate(true)` gave, as DER chain, leaf first. Empty when the client sent none. */
export function peerChain(peer: DetailedPeerCertificate | undefined): Buffer[] {
  const chain: Buffer[] = []
  let at = peer
  while (at?.raw !== undefined && chain.length < chainLimit) {
    const raw = at.raw
    if (chain.some((der) => der.equals(raw))) break // node closes the list with a root that points at itself
    chain.push(raw)
    at = at.issuerCertificate
  }
  return chain
}

const bad = (message: string, options?: ErrorOptions) => new Refusal('bad-arguments', message, options)

function toDer(input: Buffer | string): Buffer {
  if (typeof input === 'string') return splitPem(input)[0]!
  return input.subarray(0, 11).toString('latin1') === '-----BEGIN ' ? splitPem(input.toString('latin1'))[0]! : input
}

/** Reads subjectAltName from its ASN.1. Two URNs or UUIDs are refused: nobody could say which one was meant. */
function identity(asn: x509.X509Certificate): Pick<Certificate, 'urn' | 'uuid' | 'email'> {
  const names = asn.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? []
  const uris = names.filter((n) => n.type === 'url').map((n) => n.value)
  const urns = uris.filter((uri) => /^urn:publicid:/i.test(uri))
  const uuids = uris.filter((uri) => /^urn:uuid:/i.test(uri))
  if (urns.length > 1 || uuids.length > 1) throw bad('a certificate has several URNs or UUIDs in its subjectAltName')
  const urn = urns[0]
  // ASCII only: some letters beyond it (the Kelvin sign) become ASCII when compared without case.
  if (urn !== undefined && (!/^[\x21-\x7e]+$/.test(urn) || parseUrn(urn) === undefined)) {
    throw bad(`a certificate has the malformed URN ${JSON.stringify(urn.slice(0, 200))} in its subjectAltName`)
  }
  const uuid = uuids[0]?.slice('urn:uuid:'.length).toLowerCase()
  if (uuid !== undefined && !/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid)) {
    throw bad('a certificate has a malformed UUID in its subjectAltName')
  }
  const email = names.find((n) => n.type === 'email')?.value
  return {
    ...(urn === undefined ? {} : { urn }),
    ...(uuid === undefined ? {} : { uuid }),
    ...(email === undefined ? {} : { email }),
  }
}

function signatureName(asn: x509.X509Certificate): string {
  const algorithm = asn.signatureAlgorithm as { name: string; hash?: { name: string } }
  return algorithm.hash === undefined ? algorithm.name : `${algorithm.name}/${algorithm.hash.name}`
}
