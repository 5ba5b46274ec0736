// From the XML that a caller sent to a credential we believe: signed, by somebody we trust with the right to do so, in
// time, and its certificates the ones it names; where it was delegated, the same of each one it comes from, and nothing
// more handed on than there was. Nothing of an unverified document leaves this file.
import { isWithinAuthority, sameUrn } from '../base/urn.js'
import { rfc3339 } from '../base/time.js'
import { explain, Refusal } from '../base/errors.js'
import { sameKey, splitPem, urnOf, type Certificate, type GeniCertificate } from './certificate.js'
import { readFields, type Fields, type Privilege } from './credential-fields.js'
import { remembered, type Span } from './remembered.js'
import { verifyEnvelopedSignatures } from './signature.js'
import { verifyChain, type TrustStore } from './trust.js'
import { forbidden, withXml } from './xml-dom.js'

export interface Credential {
  /** `privilege`, or `speaksfor` where a tool (owner) speaks for a user (target). */
  type: string
  ownerUrn: string
  targetUrn: string
  /** From the target's certificate: tells slices of one name apart that lived one after the other. */
  targetUuid?: string
  /** ms since 1970 */
  expires: number
  privileges: readonly Privilege[]
  owner: GeniCertificate
  /** The certificate that issued the owner's, when it is not itself the trusted one. */
  ownerIssuer?: Certificate
  target: GeniCertificate
  signer: GeniCertificate
  /** Through whose hands it went: the owners of its parents, the first one last. */
  delegatedBy: readonly string[]
}

/** Verifies a credential on all counts that do not depend on the call. Throws a Refusal 'forbidden' saying why not. */
export function verifyCredential(xml: string, trust: TrustStore, nowMs: number): Credential {
  return remembered('credential', xml, trust, nowMs, (span) => verify(xml, trust, nowMs, span))
}

interface Link { fields: Fields; signer: GeniCertificate }
interface Party { certificate: GeniCertificate; path: readonly Certificate[] }
interface Held extends Link { owner: Party; target: Party }

/** The order of these checks is part of what docs/trust.md promises. */
function verify(xml: string, trust: TrustStore, nowMs: number, span: Span): Credential {
  const signed = verifyEnvelopedSignatures(xml)
  const at: At = { trust, nowMs, span }
  const links: Link[] = signed.map(({ content, signerChain }, depth) => ({
    signer: trusted(`${nameOf(depth)} signer`, signerChain, at).certificate, fields: withXml(content, readFields),
  }))
  links.forEach(({ fields }, depth) => checkTypeAndTime(fields, depth, at))
  const chain: Held[] = links.map((link, depth) => ({
    ...link, owner: gid(`${nameOf(depth)} owner`, link.fields.ownerGid, link.fields.ownerUrn, at),
    target: gid(`${nameOf(depth)} target`, link.fields.targetGid, link.fields.targetUrn, at),
  }))
  const root = chain.at(-1)!
  if (root.fields.type === 'speaksfor') checkSpeaker(root)
  else checkSigner(root.signer, root.target.certificate)
  chain.slice(0, -1).forEach((child, i) => checkDelegation(child, chain[i + 1]!))
  return credentialOf(chain)
}

function credentialOf(chain: readonly Held[]): Credential {
  const { fields, owner, target, signer } = chain[0]!
  const uuid = target.certificate.uuid
  const issuer = owner.path[1]
  return {
    type: fields.type, expires: fields.expires, privileges: fields.privileges,
    ownerUrn: owner.certificate.urn, targetUrn: target.certificate.urn,
    ...(uuid === undefined ? {} : { targetUuid: uuid }),
    owner: owner.certificate, target: target.certificate, signer,
    ...(issuer === undefined ? {} : { ownerIssuer: issuer }),
    delegatedBy: chain.slice(1).map((parent) => parent.owner.certificate.urn),
  }
}

interface At { trust: TrustStore; nowMs: number; span: Span }

const nameOf = (depth: number) => (depth === 0 ? "the credential's" : `its parent ${depth}'s`)

function checkTypeAndTime({ type, expires }: Fields, depth: number, { nowMs, span }: At): void {
  const which = depth === 0 ? 'the credential' : `the parent ${depth} of the credential`
  if (type !== 'privilege' && (type !== 'speaksfor' || depth > 0)) throw forbidden(`${which} is of type "${type}", not a privilege credential`)
  if (nowMs >= expires) throw forbidden(`${which} expired at ${rfc3339(expires)}`)
  span.expiry(expires)
}

function trusted(what: string, chain: readonly Buffer[], { trust, nowMs, span }: At): Party {
  const verdict = verifyChain(chain, trust, nowMs)
  if (!verdict.ok) throw forbidden(`${what} is not accepted: ${verdict.why}`)
  span.certificates(verdict.path)
  return verdict
}

/** The certificate of owner or target: trusted, and of the very name that the credential says. */
function gid(what: string, pem: string, urn: string, at: At): Party {
  let chain: Buffer[]
  try {
    chain = splitPem(pem)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw forbidden(`${what}_gid cannot be read: ${explain(error)}`)
  }
  const party = trusted(what, chain, at)
  if (!sameUrn(party.certificate.urn, urn)) throw forbidden(`${what}_urn is ${urn}, and its ${what.split(' ').at(-1)!}_gid is of ${party.certificate.urn}`)
  return party
}

/** Only an authority may give rights, and only to what is in its own name-space. */
function checkSigner(signer: GeniCertificate, target: GeniCertificate): void {
  const by = urnOf(signer)
  if (by.type.toLowerCase() !== 'authority' || !signer.isCa) {
    throw forbidden(`the credential is signed by ${signer.urn}, which is not a certificate authority`)
  }
  if (isWithinAuthority(urnOf(target).authority, by.authority)) return
  throw forbidden(`${signer.urn} signed the credential and has no authority over ${target.urn}`)
}

/** In the old form of speaks-for the user is the target, and signs. */
function checkSpeaker({ signer, target }: Held): void {
  if (sameUrn(signer.urn, target.certificate.urn) && sameKey(signer.publicKey, target.certificate.publicKey)) return
  throw forbidden(`the speaks-for credential of ${target.certificate.urn} is signed by ${signer.urn}, and must be signed by the user`)
}

/** What an owner hands on: signed by the owner, for the same thing, no longer than it lasts, and nothing that is not theirs. */
function checkDelegation(child: Held, parent: Held): void {
  const from = parent.owner.certificate
  if (!sameUrn(child.signer.urn, from.urn) || !sameKey(child.signer.publicKey, from.publicKey)) {
    throw forbidden(`the credential was delegated by ${child.signer.urn}, and the one that it comes from belongs to ${from.urn}`)
  }
  const [mine, theirs] = [child.target.certificate, parent.target.certificate]
  if (!sameUrn(mine.urn, theirs.urn) || (mine.uuid ?? theirs.uuid) !== (theirs.uuid ?? mine.uuid)) {
    throw forbidden(`the credential is for ${mine.urn}, and the one that it was delegated from is for ${theirs.urn} (or another of that name)`)
  }
  if (child.fields.expires > parent.fields.expires) {
    const [until, end] = [rfc3339(child.fields.expires), rfc3339(parent.fields.expires)]
    throw forbidden(`the credential lasts until ${until}, and the one that it was delegated from only until ${end}`)
  }
  const handedOn = parent.fields.privileges.filter((p) => p.canDelegate).map((p) => p.name)
  const wider = child.fields.privileges.find(({ name }) => !handedOn.includes(name) && !handedOn.includes('*'))
  if (wider !== undefined) throw forbidden(`the privilege "${wider.name}" was delegated by ${from.urn}, who may not delegate it`)
}
