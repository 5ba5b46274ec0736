// The one question that every call of the aggregate asks before it does anything: may this caller do this to this
// slice?
import { explain, Refusal } from '../base/errors.js'
import { rfc3339 } from '../base/time.js'
import { parseUrn, sameUrn } from '../base/urn.js'
import { sameKey, type GeniCertificate } from './certificate.js'
import { verifyCredential, type Credential } from './credential.js'
import { allows, privilegesFor, type Operation } from './privileges.js'
import { samePerson } from './same-person.js'
import { speaker } from './speaks-for.js'
import { verifiedBy, type TrustStore } from './trust.js'
import { forbidden } from './xml-dom.js'

/** A credential as it came in the call; nothing in it is believed. */
export interface WireCredential { type: string; version: string; value: string }

export interface AuthorizeRequest {
  /** The TLS client's certificate, already verified by verifyChain. */
  caller: GeniCertificate
  credentials: readonly WireCredential[]
  operation: Operation
  /** Needed for all but list-resources. */
  sliceUrn?: string
  /** The option geni_speaking_for: the caller is a tool and says that it acts for this user. */
  speakingFor?: string
  /** URNs of tools that may speak for users although their URN is not of type tool. */
  tools?: readonly string[]
  trust: TrustStore
  /** ms since 1970 */
  now: number
}

/** `user` is who was spoken for, once that is certain; `why` is for the audit log, and where refused for the caller. */
export type Authorization =
  | { allowed: true; owner: string; expires: number; sliceUuid?: string; user?: string; why: string }
  | { allowed: false; code: 'bad-arguments' | 'forbidden'; user?: string; why: string }

/** More than any client sends; each costs some signature checks. */
const credentialLimit = 20

/**
 * Says whether one of the credentials gives `caller` the right to `operation` on `sliceUrn`. Of several that do, the
 * one that lasts longest counts; `expires` and `sliceUuid` are of that one. A refusal collects the reason for each.
 */
export function authorize(request: AuthorizeRequest): Authorization {
  const { credentials, operation, sliceUrn } = request
  if (credentials.length === 0) {
    return refused('bad-arguments', 'no credential was given; every call but GetVersion needs one')
  }
  if (credentials.length > credentialLimit) {
    return refused('bad-arguments', `${credentials.length} credentials were given; at most ${credentialLimit} are read`)
  }
  if (sliceUrn === undefined && operation !== 'list-resources') {
    return refused('bad-arguments', 'the slice is not named; give its URN')
  }
  if (sliceUrn !== undefined && !isSliceUrn(sliceUrn)) {
    return refused('bad-arguments', `"${sliceUrn.slice(0, 300)}" is not the URN of a slice`)
  }
  const speaking = callerOf(request)
  if ('why' in speaking) return refused('forbidden', speaking.why)
  const spoken = speaking.caller === request.caller ? {} : { user: speaking.caller.urn }
  let best: Credential | undefined
  const reasons: string[] = []
  credentials.forEach((wire, index) => {
    if (speaking.used.has(wire)) return
    try {
      const credential = check(wire, { ...request, caller: speaking.caller })
      if (best === undefined || credential.expires > best.expires) best = credential
    } catch (error) {
      reasons.push(reasonOf(error, index, credentials.length))
    }
  })
  if (best !== undefined) return { ...granted(best, request), ...spoken }
  return { ...refused('forbidden', reasons.length === 0 ? 'beside the speaks-for credential no other was given' : reasons.join('; ')), ...spoken }
}

/** Who acts: the owner of the TLS certificate, or the user for whom a tool speaks. Never the tool when it says so and cannot prove it. */
function callerOf(request: AuthorizeRequest): { caller: GeniCertificate; used: Set<WireCredential> } | { why: string } {
  const { caller, speakingFor, credentials, trust, now, tools = [] } = request
  const used = new Set<WireCredential>()
  if (speakingFor === undefined || samePerson(caller.urn, speakingFor)) return { caller, used }
  const reasons: string[] = []
  for (const [index, wire] of credentials.entries()) {
    const form = speaksForForm(wire)
    if (form === undefined) continue
    try {
      const user = speaker(wire.value, form, { tool: caller, speakingFor, trust, now, tools })
      return { caller: user, used: used.add(wire) }
    } catch (error) {
      reasons.push(reasonOf(error, index, credentials.length))
    }
  }
  const why = reasons.length === 0 ? 'no credential of type geni_abac 1 says so' : reasons.join('; ')
  return { why: `${caller.urn} may not speak for ${speakingFor.slice(0, 300)}: ${why}` }
}

/** By a look at the text alone: what it says is believed only after it was verified. */
function speaksForForm({ type, value }: WireCredential): 'abac' | 'old' | undefined {
  if (kindOf(type) === 'geni_abac') return 'abac'
  const said = /<type>\s*(abac|speaksfor)\s*<\/type>/.exec(value)?.[1] // v2 sends all kinds as plain strings
  return said === 'abac' ? 'abac' : said === undefined ? undefined : 'old'
}

const kindOf = (type: string) => type.trim().toLowerCase()

function reasonOf(error: unknown, index: number, count: number): string {
  if (!(error instanceof Refusal)) throw error
  return count === 1 ? explain(error) : `credential ${index + 1}: ${explain(error)}`
}

/** ASCII only: some letters beyond it (the Kelvin sign) become ASCII when names are compared without case. */
function isSliceUrn(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text) && parseUrn(text)?.type.toLowerCase() === 'slice'
}

const refused = (code: 'bad-arguments' | 'forbidden', why: string): Authorization => ({ allowed: false, code, why })

function granted(credential: Credential, { operation, sliceUrn }: AuthorizeRequest): Authorization & { allowed: true } {
  const uuid = sliceUrn === undefined ? undefined : credential.targetUuid
  const by = credential.delegatedBy.length === 0 ? '' : `, delegated by ${credential.delegatedBy.join(' by ')}`
  const names = credential.privileges.map((p) => p.name).filter((name) => allows(operation, [name]))
  return {
    allowed: true, owner: credential.ownerUrn, expires: credential.expires,
    ...(uuid === undefined ? {} : { sliceUuid: uuid }),
    why: `credential of ${credential.ownerUrn} for ${credential.targetUrn}, signed by ${credential.signer.urn}${by}, ` +
      `with ${names.slice(0, 10).join(', ') || 'no privileges'}, until ${rfc3339(credential.expires)}`,
  }
}

function check(wire: WireCredential, request: AuthorizeRequest): Credential {
  if (kindOf(wire.type) !== 'geni_sfa' || !/^[23]$/.test(wire.version.trim())) {
    const kind = `${wire.type.slice(0, 40)} version ${wire.version.slice(0, 10)}`
    throw forbidden(`credentials of type ${kind} are not read; send geni_sfa 2 or 3`)
  }
  const credential = verifyCredential(wire.value, request.trust, request.now)
  if (credential.type !== 'privilege') {
    throw forbidden('the credential is of type "speaksfor": it needs the option geni_speaking_for, and gives no rights by itself')
  }
  checkCaller(request.caller, credential)
  checkTarget(credential, request.sliceUrn)
  if (!allows(request.operation, credential.privileges.map((p) => p.name))) {
    const needed = privilegesFor(request.operation).join(', ')
    throw forbidden(`the credential has none of the privileges that this call needs: ${needed}`)
  }
  return credential
}

/** The caller is the owner: same name and same key, or same name and a certificate renewed by the same issuer. */
function checkCaller(caller: GeniCertificate, credential: Credential): void {
  if (!samePerson(caller.urn, credential.ownerUrn)) {
    throw forbidden(`the credential belongs to ${credential.ownerUrn}, and the caller is ${caller.urn}`)
  }
  if (sameKey(caller.publicKey, credential.owner.publicKey)) return
  const issuer = credential.ownerIssuer
  if (issuer !== undefined && caller.x509.checkIssued(issuer.x509) && verifiedBy(issuer, caller)) return
  throw forbidden(`the credential is for another key of ${credential.ownerUrn} than the caller's, by another issuer`)
}

function checkTarget(credential: Credential, sliceUrn: string | undefined): void {
  if (sliceUrn === undefined || sameUrn(credential.targetUrn, sliceUrn)) return
  throw forbidden(`the credential is for ${credential.targetUrn}, not for ${sliceUrn}`)
}
