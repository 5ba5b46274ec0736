// A tool (a portal) that acts for a user: the user has signed a statement that says so. Two forms are in use, ABAC's
// "U.speaks_for(U) <- T" and the older credential of type speaksfor. Who is spoken for becomes the caller; the tool's own
// rights count for nothing while it speaks for somebody.
import { parseUrn } from '../base/urn.js'
import { rfc3339 } from '../base/time.js'
import { keyId, sameKey, type GeniCertificate } from './certificate.js'
import { verifyCredential } from './credential.js'
import { parseExpiry } from './credential-fields.js'
import { remembered, type Span } from './remembered.js'
import { samePerson } from './same-person.js'
import { verifyEnvelopedSignatures } from './signature.js'
import { verifyChain, type TrustStore } from './trust.js'
import { elementsOf, exactChildren, forbidden, onlyChild, textOf, withXml, type XmlElement } from './xml-dom.js'

export interface Statement { user: GeniCertificate; toolKey: string; expires: number }

/** Verifies an ABAC speaks-for credential on all counts that do not depend on the call. Throws a Refusal 'forbidden'. */
export function verifyStatement(xml: string, trust: TrustStore, nowMs: number): Statement {
  return remembered('speaks-for', xml, trust, nowMs, (span) => verify(xml, trust, nowMs, span))
}

function verify(xml: string, trust: TrustStore, nowMs: number, span: Span): Statement {
  const [signed, ...parents] = verifyEnvelopedSignatures(xml)
  if (parents.length > 0) throw forbidden('a speaks-for credential cannot be delegated')
  const verdict = verifyChain(signed!.signerChain, trust, nowMs)
  if (!verdict.ok) throw forbidden(`the signer of the speaks-for credential is not accepted: ${verdict.why}`)
  const { expires, head, role, tail } = withXml(signed!.content, readStatement)
  if (nowMs >= expires) throw forbidden(`the speaks-for credential expired at ${rfc3339(expires)}`)
  const user = verdict.certificate
  const key = keyId(user.publicKey)
  if (head !== key || role !== `speaks_for_${key}`) {
    throw forbidden(`the speaks-for credential does not say "speaks_for" of the key of ${user.urn}, who signed it`)
  }
  span.certificates(verdict.path)
  span.expiry(expires)
  return { user, toolKey: tail, expires }
}

function readStatement(credential: XmlElement): { expires: number; head: string; role: string; tail: string } {
  const type = textOf(onlyChild(credential, 'type'))
  if (type !== 'abac') throw forbidden(`the speaks-for credential is of type "${type}", not abac`)
  const expires = parseExpiry(textOf(onlyChild(credential, 'expires')))
  const [rt0] = exactChildren(onlyChild(credential, 'abac'), ['rt0'], '')
  const [version, head, tail] = exactChildren(rt0!, ['version', 'head', 'tail'], '')
  if (textOf(version!) !== '1.1') throw forbidden('the statement of the speaks-for credential is not of version 1.1')
  const [who, role] = exactChildren(head!, ['ABACprincipal', 'role'], '')
  const [tool] = exactChildren(tail!, ['ABACprincipal'], '')
  return { expires, head: keyOf(who!), role: textOf(role!).toLowerCase(), tail: keyOf(tool!) }
}

/** A mnemonic may stand beside the key; it is for people. */
function keyOf(principal: XmlElement): string {
  const others = elementsOf(principal).filter((e) => e.name !== 'keyid' && e.name !== 'mnemonic')
  if (others.length > 0) throw forbidden(`<ABACprincipal> holds <${others[0]!.name}>, which is not understood`)
  return textOf(onlyChild(principal, 'keyid')).toLowerCase()
}

export interface SpeakRequest {
  /** Of the TLS connection, already verified. */
  tool: GeniCertificate
  /** URN of the option geni_speaking_for. */
  speakingFor: string
  trust: TrustStore
  now: number
  /** URNs of tools that are trusted to speak although their type is not "tool". */
  tools: readonly string[]
}

/** The certificate of the user for whom this credential lets the caller speak. Throws a Refusal 'forbidden' otherwise. */
export function speaker(xml: string, form: 'abac' | 'old', { tool, speakingFor, trust, now, tools }: SpeakRequest): GeniCertificate {
  const user = form === 'abac' ? byStatement(xml, tool, trust, now) : byCredential(xml, tool, trust, now)
  if (!samePerson(user.urn, speakingFor)) {
    throw forbidden(`the speaks-for credential is of ${user.urn}, and geni_speaking_for names ${speakingFor.slice(0, 300)}`)
  }
  if (parseUrn(tool.urn)?.type.toLowerCase() !== 'tool' && !tools.some((urn) => samePerson(urn, tool.urn))) {
    throw forbidden(`${tool.urn} is no tool (+tool+ in its URN) and not in the operator's list of tools, so it speaks for nobody`)
  }
  return user
}

function byStatement(xml: string, tool: GeniCertificate, trust: TrustStore, now: number): GeniCertificate {
  const { user, toolKey } = verifyStatement(xml, trust, now)
  if (toolKey !== keyId(tool.publicKey)) throw forbidden(`the speaks-for credential of ${user.urn} is for another key than that of ${tool.urn}`)
  return user
}

function byCredential(xml: string, tool: GeniCertificate, trust: TrustStore, now: number): GeniCertificate {
  const credential = verifyCredential(xml, trust, now)
  if (credential.type !== 'speaksfor') throw forbidden('the credential is not of type "speaksfor"')
  if (!samePerson(credential.ownerUrn, tool.urn) || !sameKey(credential.owner.publicKey, tool.publicKey)) {
    throw forbidden(`the speaks-for credential of ${credential.targetUrn} is for ${credential.ownerUrn}, and the caller is ${tool.urn} (or has another key)`)
  }
  return credential.target
}
