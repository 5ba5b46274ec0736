// Whom the aggregate believes. node:tls cannot answer that for us: it knows nothing of GENI's name-spaces, wants
// self-signed roots, and drops the socket without a word; so chains are verified here, by rules that can be read.
import { rfc3339 } from '../base/time.js'
import { explain } from '../base/errors.js'
import { isWithinAuthority, parseUrn } from '../base/urn.js'
import {
  chainLimit, isNamed, parseCertificate, toPem, type Certificate, type GeniCertificate,
} from './certificate.js'
import { revokedAt, type Crl } from './crl.js'

export interface TrustStore {
  /** Trusted certificates. They need not be self-signed: a path may end at any of them. */
  certificates: readonly Certificate[]
  /** The same as PEM, for the `ca` option of node:tls. */
  pem: readonly string[]
  crls: readonly Crl[]
  /** Are certificates good that are signed with SHA-1? Old federations have no others; they can be forged with effort. */
  acceptSha1: boolean
}

export type ChainVerdict =
  | { ok: true; certificate: GeniCertificate; path: readonly Certificate[] }
  | { ok: false; why: string }

/** Clocks differ, and credentials are often used within seconds of their issue. Expiry is given no grace. */
export const skewMs = 5 * 60_000
/** Signature checks per chain: hostile chains of many same-named issuers end here. */
const checksLimit = 40
const goodSignature = /\/SHA-(?:256|384|512)$/
/** MD2, MD4 and MD5 with RSA. */
const ancientSignatures = new Set(['1.2.840.113549.1.1.2', '1.2.840.113549.1.1.3', '1.2.840.113549.1.1.4'])
const rsaBits = { least: 1024, most: 8192 }

/** A trust store of certificates at hand. */
export function trustOf(
  certificates: readonly Certificate[], more: { crls?: readonly Crl[]; acceptSha1?: boolean } = {},
): TrustStore {
  return { certificates, pem: certificates.map((c) => toPem(c.der)), crls: more.crls ?? [], acceptSha1: more.acceptSha1 ?? false }
}

/**
 * Verifies a chain (DER, leaf first, the rest in any order) up to a certificate of `trust`. Each certificate must be in
 * time, each issuer a CA and an authority over the name-space of what it issued. Says no when nothing is trusted.
 */
export function verifyChain(chain: readonly Buffer[], trust: TrustStore, nowMs: number): ChainVerdict {
  if (trust.certificates.length === 0) return no('no trusted certificate is configured, so nobody can be trusted')
  if (chain.length === 0) return no('no certificate was given')
  if (chain.length > chainLimit) return no(`the chain has ${chain.length} certificates; at most ${chainLimit} are read`)
  let given: Certificate[]
  try {
    given = chain.map((der) => parseCertificate(der))
  } catch (error) {
    return no(explain(error))
  }
  const leaf = given[0]!
  if (!isNamed(leaf)) return no('the certificate has no URN (urn:publicid:IDN+...) in its subjectAltName')
  const search: Search = { given: given.slice(1), trust, nowMs, checks: 0, why: undefined }
  const path = pathFrom(leaf, [leaf], search)
  return path === undefined
    ? no(search.why ?? `the issuer of ${leaf.urn} is not trusted here and no path leads to one that is`)
    : { ok: true, certificate: leaf, path }
}

interface Search { given: Certificate[]; trust: TrustStore; nowMs: number; checks: number; why: string | undefined }

const no = (why: string): { ok: false; why: string } => ({ ok: false, why })
const nameOf = (certificate: Certificate) => certificate.urn ?? `the authority ${certificate.fingerprint.slice(0, 16)}`

/** Depth first over the issuers that fit; `path` ends with `at`. Bounded by chainLimit and checksLimit. */
function pathFrom(at: Certificate, path: Certificate[], search: Search): Certificate[] | undefined {
  const fault = faultOf(at, search.nowMs)
  if (fault !== undefined) {
    search.why ??= fault
    return undefined
  }
  if (search.trust.certificates.some((c) => c.fingerprint === at.fingerprint)) {
    const revoked = revocationIn(path, search.trust)
    if (revoked !== undefined) search.why = revoked // whatever else was wrong on the way here, this is what counts
    return revoked === undefined ? path : undefined
  }
  if (path.length > chainLimit) return undefined
  const forgeable = weakness(at, search.trust)
  if (forgeable !== undefined) {
    search.why ??= forgeable
    return undefined
  }
  for (const issuer of [...search.trust.certificates, ...search.given]) {
    if (path.some((c) => c.fingerprint === issuer.fingerprint) || !issued(issuer, at, search)) continue
    const refusal = mayIssue(issuer, at, path.length - 1, search.trust)
    if (refusal !== undefined) {
      search.why ??= refusal
      continue
    }
    const whole = pathFrom(issuer, [...path, issuer], search)
    if (whole !== undefined) return whole
  }
  return undefined
}

/** Why the signature on a certificate proves nothing. Not asked of a trusted one: the operator vouches for that. */
function weakness(at: Certificate, trust: TrustStore): string | undefined {
  if (goodSignature.test(at.signedWith)) return undefined
  if (ancientSignatures.has(at.signedWith)) return `the certificate of ${nameOf(at)} is signed with MD5 or older, which anybody can forge`
  if (!at.signedWith.endsWith('/SHA-1')) return `the certificate of ${nameOf(at)} is signed with ${at.signedWith}, which is not accepted`
  return trust.acceptSha1 ? undefined : `the certificate of ${nameOf(at)} is signed with SHA-1, which this aggregate does not accept`
}

/** Says which certificate of a path was revoked by its issuer. The last one is trusted: its issuer may be so as well. */
function revocationIn(path: readonly Certificate[], trust: TrustStore): string | undefined {
  if (trust.crls.length === 0) return undefined
  for (const [i, certificate] of path.entries()) {
    const above = path[i + 1]
    const issuers = above === undefined ? trust.certificates.filter((c) => certificate.x509.checkIssued(c.x509)) : [above]
    for (const issuer of issuers) {
      const at = revokedAt(certificate, issuer, trust.crls)
      if (at !== undefined) return `the certificate of ${nameOf(certificate)} was revoked by ${nameOf(issuer)} at ${rfc3339(at)}`
    }
  }
  return undefined
}

function faultOf(certificate: Certificate, nowMs: number): string | undefined {
  const name = nameOf(certificate)
  if (nowMs + skewMs < certificate.notBefore) return `the certificate of ${name} is not valid yet`
  if (nowMs >= certificate.notAfter) return `the certificate of ${name} has expired`
  if (certificate.unknownCritical.length > 0) {
    const which = certificate.unknownCritical.join(', ')
    return `the certificate of ${name} has critical extensions that are not understood: ${which}`
  }
  const type = certificate.publicKey.asymmetricKeyType
  if (type === 'ec') return undefined
  const bits = certificate.publicKey.asymmetricKeyDetails?.modulusLength ?? 0
  if (type === 'rsa' && bits >= rsaBits.least && bits <= rsaBits.most) return undefined
  return `the key of ${name} is neither EC nor RSA of ${rsaBits.least} to ${rsaBits.most} bits`
}

function issued(issuer: Certificate, subject: Certificate, search: Search): boolean {
  if (!subject.x509.checkIssued(issuer.x509)) return false
  if (++search.checks > checksLimit) {
    search.why ??= 'the chain has too many possible issuers'
    return false
  }
  return verifiedBy(issuer, subject)
}

/** Did the key of `issuer` sign `subject`? False also for keys that cannot verify at all. */
export function verifiedBy(issuer: Certificate, subject: Certificate): boolean {
  try {
    return subject.x509.verify(issuer.publicKey)
  } catch {
    return false
  }
}

/** The reason why `issuer` has no right to have issued `subject`, which `below` certificates hang under. */
function mayIssue(issuer: Certificate, subject: Certificate, below: number, trust: TrustStore): string | undefined {
  if (!issuer.isCa) return `${nameOf(issuer)} issued ${nameOf(subject)} and is not a certificate authority (CA)`
  if (issuer.pathLength !== undefined && below > issuer.pathLength) {
    return `${nameOf(issuer)} allows a chain of ${issuer.pathLength} authorities below it, and this one is longer`
  }
  if (issuer.urn === undefined) {
    // Roots of ProtoGENI have no URN: the operator who trusts such a root trusts it for every name.
    const trusted = trust.certificates.some((c) => c.fingerprint === issuer.fingerprint)
    return trusted ? undefined : `the issuer of ${nameOf(subject)} has no URN and is not itself trusted`
  }
  const by = parseUrn(issuer.urn)
  if (by?.type.toLowerCase() !== 'authority') return `${issuer.urn} issued ${nameOf(subject)} and is not an authority`
  const of = subject.urn === undefined ? undefined : parseUrn(subject.urn)
  if (of === undefined) return `${issuer.urn} issued a certificate without a URN`
  if (isWithinAuthority(of.authority, by.authority)) return undefined
  return `${issuer.urn} has no authority over the name-space of ${nameOf(subject)}`
}
