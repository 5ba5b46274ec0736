// Makes one key and one certificate: the only place where X.509 is written. Who gets which, and where it is kept, is
// the business of issue.ts.
import { createPrivateKey, generateKeyPair, webcrypto, type KeyObject } from 'node:crypto'
import { isIP } from 'node:net'
import { promisify } from 'node:util'
import type { Random } from '../base/random.js'
import { parseCertificate, type Certificate } from './certificate.js'
import * as x509 from './x509.js'

const generate = promisify(generateKeyPair)
const curves: Record<string, string> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' }

/** As WebCrypto wants it; always with SHA-256. */
function algorithmOf(key: KeyObject): { name: string; hash: string; namedCurve: string } {
  if (key.asymmetricKeyType !== 'ec') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', namedCurve: '' }
  return { name: 'ECDSA', hash: 'SHA-256', namedCurve: curves[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? '' }
}

const webKey = (key: KeyObject) => webcrypto.subtle.importKey(
  'pkcs8', key.export({ type: 'pkcs8', format: 'der' }), algorithmOf(key), false, ['sign'])

export interface Signer { certificate: Certificate; key: KeyObject }

export interface Wanted {
  /** Free text for people; names and rights are in the URN. */
  commonName: string
  organization: string
  urn: string
  uuid: string
  email?: string
  /** DNS names and IP addresses: makes it a certificate for a TLS server. */
  hostnames?: readonly string[]
  /** How many CA certificates may hang below; undefined: no CA. */
  caDepth?: number
  notBefore: number
  notAfter: number
  publicKey: KeyObject
}

/** An RSA key of 2048 bits, what every GENI tool can read. */
export async function newKey(): Promise<{ privateKey: KeyObject; publicKey: KeyObject; pem: string }> {
  const pair = await generate('rsa', { modulusLength: 2048 })
  return { ...pair, pem: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string }
}

export function keyFromPem(pem: string): KeyObject {
  return createPrivateKey(pem)
}

/** A UUID of version 4. */
export function newUuid(random: Random): string {
  const b = random.bytes(16)
  b[6] = (b[6]! & 0x0f) | 0x40
  b[8] = (b[8]! & 0x3f) | 0x80
  const hex = b.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** Issues a certificate by `issuer`; with 'self' and the subject's own private key a self-signed root. */
export async function mint(wanted: Wanted, issuer: Signer | { self: KeyObject }, random: Random): Promise<Certificate> {
  const publicKey = await webcrypto.subtle.importKey(
    'spki', wanted.publicKey.export({ type: 'spki', format: 'der' }), algorithmOf(wanted.publicKey), true, ['verify'])
  const privateKey = 'self' in issuer ? issuer.self : issuer.key
  const subject = [{ CN: [wanted.commonName] }, { O: [wanted.organization] }]
  const issuerPublic = 'self' in issuer ? publicKey : new x509.X509Certificate(issuer.certificate.der).publicKey
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: serial(random),
    subject,
    issuer: 'self' in issuer ? subject : new x509.X509Certificate(issuer.certificate.der).subject,
    notBefore: new Date(wanted.notBefore),
    notAfter: new Date(wanted.notAfter),
    signingAlgorithm: algorithmOf(privateKey),
    publicKey,
    signingKey: await webKey(privateKey),
    extensions: [
      ...usage(wanted),
      new x509.SubjectAlternativeNameExtension(names(wanted)),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuerPublic),
    ],
  })
  return parseCertificate(Buffer.from(made.rawData))
}

function usage(wanted: Wanted): x509.Extension[] {
  const { KeyUsageFlags: flag, ExtendedKeyUsage: purpose } = x509
  if (wanted.caDepth !== undefined) {
    return [
      new x509.BasicConstraintsExtension(true, wanted.caDepth, true),
      new x509.KeyUsagesExtension(flag.keyCertSign | flag.cRLSign | flag.digitalSignature, true),
    ]
  }
  const server = wanted.hostnames === undefined ? [] : [purpose.serverAuth]
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(flag.digitalSignature | flag.keyEncipherment, true),
    new x509.ExtendedKeyUsageExtension([...server, purpose.clientAuth]),
  ]
}

function names(wanted: Wanted): x509.JsonGeneralNames {
  return [
    { type: 'url', value: wanted.urn },
    { type: 'url', value: `urn:uuid:${wanted.uuid}` },
    ...(wanted.email === undefined ? [] : [{ type: 'email' as const, value: wanted.email }]),
    ...(wanted.hostnames ?? []).map((name) => ({ type: isIP(name) > 0 ? 'ip' as const : 'dns' as const, value: name })),
  ]
}

/** 127 random bits with the second highest set: positive and of one length in ASN.1. */
function serial(random: Random): string {
  const bytes = random.bytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes.toString('hex')
}

export interface Revocation { serial: string; at: number }

/** A list of what `issuer` has revoked, in DER. */
export async function mintCrl(issuer: Signer, revoked: readonly Revocation[], thisUpdate: number, nextUpdate: number): Promise<Buffer> {
  const authority = new x509.X509Certificate(issuer.certificate.der)
  const list = await x509.X509CrlGenerator.create({
    issuer: authority.subjectName.toJSON(),
    thisUpdate: new Date(thisUpdate),
    nextUpdate: new Date(nextUpdate),
    signingAlgorithm: algorithmOf(issuer.key),
    signingKey: await webKey(issuer.key),
    entries: revoked.map(({ serial: number, at }) => ({ serialNumber: evenHex(number), revocationDate: new Date(at) })),
    extensions: [await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey)],
  })
  return Buffer.from(list.rawData)
}

const evenHex = (hex: string) => (hex.length % 2 === 0 ? hex : `0${hex}`)
