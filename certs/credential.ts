// From the XML that a caller sent to a credential we believe: signed, by somebody we trust with the right to do so, in
// time, and its certificates the ones it names. Nothing of an unverified document leaves this file.
import { isWithinAuthority, sameUrn } from '../base/urn.js'
import { rfc3339 } from '../base/time.js'
import { explain, Refusal } from '../base/errors.js'
import { splitPem, urnOf, type Certificate, type GeniCertificate } from './certificate.js'
import { verifyEnvelopedSignature } from './signature.js'
import { verifiedBy, verifyChain, type TrustStore } from './trust.js'
import { childrenOf, forbidden, onlyChild, textOf, withXml, type XmlElement } from './xml-dom.js'

export interface Privilege { name: string; canDelegate: boolean }

export interface Credential {
  type: string
  ownerUrn: string
  targetUrn: string
  /** From the target's certificate: tells slices of one name apart that lived one after the other. */
  targetUuid?: string
  /** ms since 1970 */
  expires: number
  privileges: Privilege[]
  owner: GeniCertificate
  /** The certificate that issued the owner's, when it is not itself the trusted one. */
  ownerIssuer?: Certificate
  target: GeniCertificate
  signer: GeniCertificate
}

const privilegeLimit = 100

/** Verifies a credential on all counts that do not depend on the call. Throws a Refusal 'forbidden' saying why not. */
export function verifyCredential(xml: string, trust: TrustStore, nowMs: number): Credential {
  const { content, signerChain } = verifyEnvelopedSignature(xml)
  const signer = trusted('signer', signerChain, trust, nowMs).certificate
  const fields = withXml(content, readFields)
  if (fields.type !== 'privilege') {
    throw forbidden(`the credential is of type "${fields.type}", not a privilege credential`)
  }
  if (nowMs >= fields.expires) throw forbidden(`the credential expired at ${rfc3339(fields.expires)}`)
  const owner = gid('owner', fields.ownerGid, fields.ownerUrn, trust, nowMs)
  const target = gid('target', fields.targetGid, fields.targetUrn, trust, nowMs)
  checkSigner(signer, target.certificate)
  const uuid = target.certificate.uuid
  const issuer = owner.path[1]
  return {
    type: fields.type, expires: fields.expires, privileges: fields.privileges,
    ownerUrn: owner.certificate.urn, targetUrn: target.certificate.urn,
    ...(uuid === undefined ? {} : { targetUuid: uuid }),
    owner: owner.certificate, target: target.certificate, signer,
    ...(issuer === undefined ? {} : { ownerIssuer: issuer }),
  }
}

interface Fields {
  type: string
  ownerGid: string
  ownerUrn: string
  targetGid: string
  targetUrn: string
  expires: number
  privileges: Privilege[]
}

function readFields(credential: XmlElement): Fields {
  const text = (name: string) => textOf(onlyChild(credential, name))
  return {
    type: text('type'),
    ownerGid: text('owner_gid'), ownerUrn: text('owner_urn'),
    targetGid: text('target_gid'), targetUrn: text('target_urn'),
    expires: parseExpiry(text('expires')),
    privileges: readPrivileges(onlyChild(credential, 'privileges')),
  }
}

function readPrivileges(list: XmlElement): Privilege[] {
  const found = childrenOf(list, 'privilege')
  if (found.length > privilegeLimit) throw forbidden(`the credential lists more than ${privilegeLimit} privileges`)
  return found.map((privilege) => ({
    name: textOf(onlyChild(privilege, 'name')),
    canDelegate: /^(?:true|1)$/i.test(textOf(onlyChild(privilege, 'can_delegate'))),
  }))
}

/** ISO 8601 as issuers write it: a fraction is possible, and the zone may be missing, which means UTC. */
export function parseExpiry(text: string): number {
  const form = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?$/.exec(text)
  const zone = form?.[3]?.replace(/^([+-]\d\d):?(\d\d)$/, '$1:$2') ?? 'Z'
  const ms = form === null ? NaN : Date.parse(`${form[1]!}T${form[2]!}${zone}`)
  if (Number.isNaN(ms)) throw forbidden(`the expiry "${text.slice(0, 60)}" of the credential is not an ISO 8601 time`)
  return ms
}

function trusted(what: string, chain: readonly Buffer[], trust: TrustStore, nowMs: number) {
  const verdict = verifyChain(chain, trust, nowMs)
  if (!verdict.ok) throw forbidden(`the credential's ${what} is not accepted: ${verdict.why}`)
  return verdict
}

/** The certificate of owner or target: trusted, and of the very name that the credential says. */
function gid(what: 'owner' | 'target', pem: string, urn: string, trust: TrustStore, nowMs: number) {
  let chain: Buffer[]
  try {
    chain = splitPem(pem)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw forbidden(`the credential's ${what}_gid cannot be read: ${explain(error)}`)
  }
  const verdict = trusted(what, chain, trust, nowMs)
  if (!sameUrn(verdict.certificate.urn, urn)) {
    throw forbidden(`the credential's ${what}_urn is ${urn}, and its ${what}_gid is of ${verdict.certificate.urn}`)
  }
  return verdict
}

/** Only who issued the target's certificate, or rules its name-space, may give rights to it. */
function checkSigner(signer: GeniCertificate, target: GeniCertificate): void {
  const by = urnOf(signer)
  if (by.type.toLowerCase() !== 'authority' || !signer.isCa) {
    throw forbidden(`the credential is signed by ${signer.urn}, which is not a certificate authority`)
  }
  const issued = target.x509.checkIssued(signer.x509) && verifiedBy(signer, target)
  if (issued || isWithinAuthority(urnOf(target).authority, by.authority)) return
  throw forbidden(`${signer.urn} signed the credential and has no authority over ${target.urn}`)
}
