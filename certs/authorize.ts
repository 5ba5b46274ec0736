// The one question that every call of the aggregate asks before it does anything: may this caller do this to this
// slice?
import { explain, Refusal } from '../base/errors.js'
import { parseUrn, sameUrn } from '../base/urn.js'
import { sameKey, type GeniCertificate } from './certificate.js'
import { verifyCredential, type Credential } from './credential.js'
import { allows, privilegesFor, type Operation } from './privileges.js'
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
  trust: TrustStore
  /** ms since 1970 */
  now: number
}

export type Authorization =
  | { allowed: true; owner: string; expires: number; sliceUuid?: string }
  | { allowed: false; code: 'bad-arguments' | 'forbidden'; why: string }

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
  let best: Credential | undefined
  const reasons: string[] = []
  credentials.forEach((wire, index) => {
    try {
      const credential = check(wire, request)
      if (best === undefined || credential.expires > best.expires) best = credential
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      reasons.push(credentials.length === 1 ? explain(error) : `credential ${index + 1}: ${explain(error)}`)
    }
  })
  return best === undefined ? refused('forbidden', reasons.join('; ')) : granted(best, sliceUrn !== undefined)
}

/** ASCII only: some letters beyond it (the Kelvin sign) become ASCII when names are compared without case. */
function isSliceUrn(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text) && parseUrn(text)?.type.toLowerCase() === 'slice'
}

const refused = (code: 'bad-arguments' | 'forbidden', why: string): Authorization => ({ allowed: false, code, why })

function granted(credential: Credential, forSlice: boolean): Authorization {
  const uuid = forSlice ? credential.targetUuid : undefined
  return {
    allowed: true, owner: credential.ownerUrn, expires: credential.expires,
    ...(uuid === undefined ? {} : { sliceUuid: uuid }),
  }
}

function check(wire: WireCredential, request: AuthorizeRequest): Credential {
  if (wire.type.trim().toLowerCase() !== 'geni_sfa' || !/^[23]$/.test(wire.version.trim())) {
    const kind = `${wire.type.slice(0, 40)} version ${wire.version.slice(0, 10)}`
    throw forbidden(`credentials of type ${kind} are not read; send geni_sfa 2 or 3`)
  }
  const credential = verifyCredential(wire.value, request.trust, request.now)
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

/** Names of users, unlike those of slices, differ by case. */
function samePerson(a: string, b: string): boolean {
  const one = parseUrn(a)
  const two = parseUrn(b)
  return one !== undefined && two !== undefined && sameUrn(a, b) && one.name === two.name
}

function checkTarget(credential: Credential, sliceUrn: string | undefined): void {
  if (sliceUrn === undefined || sameUrn(credential.targetUrn, sliceUrn)) return
  throw forbidden(`the credential is for ${credential.targetUrn}, not for ${sliceUrn}`)
}
