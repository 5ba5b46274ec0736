// What users sign themselves: a credential that hands on one of their own, and the statement that a tool speaks for them.
import type { KeyObject } from 'node:crypto'
import { Refusal } from '../base/errors.js'
import { rfc3339 } from '../base/time.js'
import { keyId, parseGeniCertificate, splitPem } from './certificate.js'
import { credentialElement, speaksForElement } from './credential-xml.js'
import { readFields } from './credential-fields.js'
import { signCredential, takeApart } from './sign.js'
import { delegationLimit, verifyEnvelopedSignatures } from './signature.js'
import { withXml } from './xml-dom.js'

/** Who signs: key, and certificate with its chain as PEM. */
export interface Holder { key: KeyObject; pem: string }

export interface Handing {
  /** The signed-credential that is handed on. */
  xml: string
  from: Holder
  /** PEM of the one who gets it. */
  to: string
  /** All that may be handed on, when it is not given. */
  privileges?: readonly string[]
  /** As long as the one it comes from, when it is not given. */
  expires?: number
  /** May not be handed on again. */
  keep?: boolean
  serial: string
}

/** A credential for `to`, signed by the owner of the one that it comes from. Refuses what no aggregate would accept. */
export function delegate({ xml, from, to, privileges, expires, keep = false, serial }: Handing): string {
  const signed = verifyEnvelopedSignatures(xml)
  const given = withXml(signed[0]!.content, readFields)
  const mine = given.privileges.filter((p) => p.canDelegate).map((p) => p.name)
  const wanted = privileges ?? mine
  const missing = wanted.find((name) => !mine.includes(name) && !mine.includes('*'))
  if (missing !== undefined) throw bad(`the privilege ${missing} cannot be delegated; the credential lets hand on: ${mine.join(', ') || 'none'}`)
  if (wanted.length === 0) throw bad('the credential has no privilege that may be delegated')
  if (signed.length > delegationLimit) throw bad(`the credential was delegated ${delegationLimit} times already, and more is accepted nowhere`)
  const until = expires ?? given.expires
  if (until > given.expires) throw bad(`the credential lasts until ${rfc3339(given.expires)}; what comes from it cannot last longer`)
  const owner = parseGeniCertificate(from.pem)
  if (parseGeniCertificate(given.ownerGid).fingerprint !== owner.fingerprint) {
    throw bad(`the credential belongs to ${given.ownerUrn} with another certificate than that of ${owner.urn}`)
  }
  const { credential, frame } = takeApart(xml)
  const element = credentialElement({
    owner: { urn: parseGeniCertificate(to).urn, pem: to }, target: { urn: given.targetUrn, pem: given.targetGid },
    expires: until, privileges: wanted, serial, keep, id: freeId(xml), parent: credential,
  })
  return signCredential(element, from.key, splitPem(from.pem), frame)
}

const bad = (message: string) => new Refusal('bad-arguments', message)

/** An id of the form that others use, and that the document does not have. */
function freeId(xml: string): string {
  for (let n = 0; ; n++) if (!xml.includes(`"ref${n}"`) && !xml.includes(`"Sig_ref${n}"`)) return `ref${n}`
}

/** A speaks-for credential in the form of ABAC, signed by the user. */
export function letSpeak({ user, tool, expires }: { user: Holder; tool: string; expires: number }): string {
  const keys = { user: keyId(parseGeniCertificate(user.pem).publicKey), tool: keyId(parseGeniCertificate(tool).publicKey) }
  return signCredential(speaksForElement({ ...keys, expires }), user.key, splitPem(user.pem))
}

/** The older form: a credential of type speaksfor, of which the tool is the owner and the user the target. */
export function letSpeakOldForm({ user, tool, expires, serial }: { user: Holder; tool: string; expires: number; serial: string }): string {
  const element = credentialElement({
    type: 'speaksfor', owner: { urn: parseGeniCertificate(tool).urn, pem: tool }, target: { urn: parseGeniCertificate(user.pem).urn, pem: user.pem },
    expires, privileges: ['*'], serial, keep: true,
  })
  return signCredential(element, user.key, splitPem(user.pem))
}
