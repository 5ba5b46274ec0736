// Names that become parts of URNs, of certificates and of file names: what is not plainly harmless is refused.
import { isIP } from 'node:net'
import { Refusal } from '../base/errors.js'

export function checkUserName(name: string): void {
  if (/^[a-z][a-z0-9_]{0,31}$/.test(name)) return
  throw bad(name, "a user's name", 'use up to 32 of a-z, 0-9 and _, beginning with a letter')
}

export function checkSliceName(name: string): void {
  if (/^[a-zA-Z0-9][-a-zA-Z0-9]{0,18}$/.test(name)) return
  throw bad(name, "a slice's name", 'use up to 19 letters, digits and -, not beginning with -')
}

/** One DNS name, or several parts from wide to narrow joined by colons. */
export function checkAuthority(authority: string): void {
  const part = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/
  if (authority.length <= 64 && authority.split(':').every((text) => part.test(text))) return
  throw bad(authority, "an authority's name", 'use a DNS name in lower case, like lab.example.org')
}

export function checkHostname(name: string): void {
  const label = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/
  if (isIP(name) > 0 || (name.length <= 253 && name.split('.').every((text) => label.test(text)))) return
  throw bad(name, 'the name of a host', 'give a DNS name or an IP address')
}

function bad(given: string, what: string, fix: string): Refusal {
  return new Refusal('bad-arguments', `${JSON.stringify(given.slice(0, 100))} cannot be ${what}; ${fix}`)
}
