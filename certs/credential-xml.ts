// The text of a credential before it is signed, as SFA issuers write it (schema: credential.xsd of SFA).
import { rfc3339 } from '../base/time.js'

export interface CredentialText {
  owner: { urn: string; pem: string }
  target: { urn: string; pem: string }
  /** ms since 1970 */
  expires: number
  /** Names; all of them may be delegated, so that users can hand them on. */
  privileges: readonly string[]
  serial: string
}

/** A `<credential xml:id="ref0">` for signCredential. */
export function credentialElement(text: CredentialText): string {
  const privileges = text.privileges.map((name) =>
    `<privilege><name>${escape(name)}</name><can_delegate>true</can_delegate></privilege>`)
  return [
    '<credential xml:id="ref0">',
    '<type>privilege</type>',
    `<serial>${escape(text.serial)}</serial>`,
    `<owner_gid>${escape(text.owner.pem)}</owner_gid>`,
    `<owner_urn>${escape(text.owner.urn)}</owner_urn>`,
    `<target_gid>${escape(text.target.pem)}</target_gid>`,
    `<target_urn>${escape(text.target.urn)}</target_urn>`,
    '<uuid/>',
    `<expires>${rfc3339(text.expires)}</expires>`,
    '<privileges>',
    ...privileges,
    '</privileges>',
    '</credential>',
  ].join('\n')
}

function escape(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
}
