// The text of a credential before it is signed, as SFA issuers write it (schema: credential.xsd of SFA).
import { rfc3339 } from '../base/time.js'

export interface CredentialText {
  owner: { urn: string; pem: string }
  target: { urn: string; pem: string }
  /** ms since 1970 */
  expires: number
  /** Names; all of them may be delegated, so that users can hand them on, unless `keep` says otherwise. */
  privileges: readonly string[]
  serial: string
  keep?: boolean
  /** `privilege` when it is not given. */
  type?: 'privilege' | 'speaksfor'
  /** `ref0` when it is not given. */
  id?: string
  /** The text of the credential that this one is delegated from. */
  parent?: string
}

/** A `<credential xml:id="ref0">` for signCredential. */
export function credentialElement(text: CredentialText): string {
  const privileges = text.privileges.map((name) =>
    `<privilege><name>${escape(name)}</name><can_delegate>${text.keep ? 'false' : 'true'}</can_delegate></privilege>`)
  return [
    `<credential xml:id="${escape(text.id ?? 'ref0')}">`,
    `<type>${text.type ?? 'privilege'}</type>`,
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
    ...(text.parent === undefined ? [] : [`<parent>${text.parent}</parent>`]),
    '</credential>',
  ].join('\n')
}

/** The statement "the user lets the tool speak for him" in the form of ABAC; both are named by the ids of their keys. */
export function speaksForElement(text: { user: string; tool: string; expires: number }): string {
  return [
    '<credential xml:id="ref0">', '<type>abac</type>', '<serial/>', '<owner_gid/>', '<target_gid/>', '<uuid/>',
    `<expires>${rfc3339(text.expires)}</expires>`,
    '<abac><rt0>', '<version>1.1</version>',
    `<head><ABACprincipal><keyid>${text.user}</keyid></ABACprincipal><role>speaks_for_${text.user}</role></head>`,
    `<tail><ABACprincipal><keyid>${text.tool}</keyid></ABACprincipal></tail>`,
    '</rt0></abac>', '</credential>',
  ].join('\n')
}

function escape(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
}
