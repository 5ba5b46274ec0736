// Lists of revoked certificates, as authorities publish them. A list speaks for whoever's key signed it and for nobody
// else; one that is out of date still says who was revoked.
import { verify, type KeyObject } from 'node:crypto'
import { Refusal } from '../base/errors.js'
import { serialOf, type Certificate } from './certificate.js'
import { derChildren, readDer } from './der.js'
import * as x509 from './x509.js'

export interface Crl {
  /** The name of the issuer, for people only. */
  issuer: string
  thisUpdate: number
  nextUpdate?: number
  /** Serial numbers (lower-case hex without leading zeros) and when each was revoked. */
  revoked: ReadonlyMap<string, number>
  signed: Buffer
  signature: Buffer
  digest: string
}

const label = 'X509 CRL'
/** The bundle of a large federation has some hundred kilobytes. */
export const crlBytes = 16 * 1024 * 1024
const digests = new Map([['SHA-1', 'sha1'], ['SHA-256', 'sha256'], ['SHA-384', 'sha384'], ['SHA-512', 'sha512']])
/** CRL number, authority key id: everything else that is critical changes what the list means. */
const knownCritical = new Set(['2.5.29.20', '2.5.29.35'])

/** All lists of a PEM text. */
export function crlsInPem(text: string): Crl[] {
  const form = new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]*)-----END ${label}-----`, 'g')
  return [...text.matchAll(form)].map((match) => parseCrl(Buffer.from(match[1]!, 'base64')))
}

/** One list in DER. Refuses what cannot be understood whole. */
export function parseCrl(bytes: Buffer): Crl {
  let list: x509.X509Crl
  try {
    list = new x509.X509Crl(bytes)
    const [signed, , signature] = derChildren(readDer(bytes).content)
    const digest = digests.get((list.signatureAlgorithm as { hash?: { name: string } }).hash?.name ?? '')
    if (digest === undefined) throw new Refusal('bad-arguments', 'it is signed with an algorithm that is not accepted')
    const strange = list.extensions.filter((e) => e.critical && !knownCritical.has(e.type)).map((e) => e.type)
    if (strange.length > 0) throw new Refusal('bad-arguments', `its critical extensions ${strange.join(', ')} are not understood`)
    return {
      issuer: list.issuer, thisUpdate: list.thisUpdate.getTime(),
      ...(list.nextUpdate === undefined ? {} : { nextUpdate: list.nextUpdate.getTime() }),
      revoked: new Map(list.entries.map((e) => [serialOf(e.serialNumber), e.revocationDate.getTime()])),
      signed: signed!.raw, signature: signature!.content.subarray(1), digest,
    }
  } catch (cause) {
    throw new Refusal('bad-arguments', 'a list of revoked certificates (CRL) cannot be read', { cause })
  }
}

/** DER as PEM. */
export function crlPem(bytes: Buffer): string {
  return `-----BEGIN ${label}-----\n${(bytes.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${label}-----\n`
}

/** Verdicts on list and key; only authorities that a trusted path led to are asked about, so there are few. */
const verdicts = new WeakMap<Crl, Map<string, boolean>>()

/** When `issuer` revoked `certificate`, according to these lists; undefined when it did not. */
export function revokedAt(certificate: Certificate, issuer: Certificate, crls: readonly Crl[]): number | undefined {
  for (const crl of crls) {
    const at = crl.revoked.get(certificate.serial)
    if (at !== undefined && isSignedBy(crl, issuer)) return at
  }
  return undefined
}

function isSignedBy(crl: Crl, issuer: Certificate): boolean {
  const known = verdicts.get(crl) ?? new Map<string, boolean>()
  verdicts.set(crl, known)
  let verdict = known.get(issuer.fingerprint)
  if (verdict === undefined) known.set(issuer.fingerprint, verdict = verifies(crl, issuer.publicKey))
  return verdict
}

/** Did this key sign the list? */
export function verifies(crl: Crl, key: KeyObject): boolean {
  try {
    return verify(crl.digest, crl.signed, key, crl.signature)
  } catch {
    return false
  }
}
