// What stands in a credential of SFA, read from the octets that were digested and from nothing else.
import { childrenOf, forbidden, onlyChild, textOf, type XmlElement } from './xml-dom.js'

export interface Privilege { name: string; canDelegate: boolean }

export interface Fields {
  type: string
  ownerGid: string
  ownerUrn: string
  targetGid: string
  targetUrn: string
  expires: number
  privileges: Privilege[]
}

const privilegeLimit = 100

/** The members of a `<credential>`; each must be there once. */
export function readFields(credential: XmlElement): Fields {
  const text = (name: string) => textOf(onlyChild(credential, name))
  const type = text('type')
  // said before anything else is missed in it
  if (type === 'abac') throw forbidden('the credential is of type "abac": send it as geni_abac, with the option geni_speaking_for')
  return {
    type, ownerGid: text('owner_gid'), ownerUrn: text('owner_urn'),
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
