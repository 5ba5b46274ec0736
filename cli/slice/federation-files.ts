// Users and slice credentials of a federation in a folder, as `violin certs` leaves them, and what a credential is for.
// Nothing is verified here: the aggregate does that.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { explain, Refusal } from '../../base/errors.js'
import { parseExpiry } from '../../certs/credential-fields.js'
import { childrenOf, onlyChild, textOf, withXml } from '../../certs/xml-dom.js'

export interface LocalCredential { slice: string; user: string; file: string }

export const hasFederation = (dir: string): boolean => existsSync(join(dir, 'federation.json'))

export function usersIn(dir: string): string[] {
  return namesIn(join(dir, 'users')).filter((name) => name.endsWith('.pem')).map((name) => name.slice(0, -4)).sort()
}

/** Names of users begin with a letter and have no dots, names of slices have none either. */
export function credentialsIn(dir: string): LocalCredential[] {
  return namesIn(join(dir, 'slices')).sort().flatMap((name) => {
    const m = /^([^.]+)\.([^.]+)-cred\.xml$/.exec(name)
    return m ? [{ slice: m[1]!, user: m[2]!, file: join(dir, 'slices', name) }] : []
  })
}

/** The target and the end of a credential, as it says itself. */
export function aboutCredential(xml: string, file: string): { urn: string; expires: number } {
  try {
    return withXml(xml, (root) => {
      const credential = root.name === 'credential' ? root : childrenOf(root, 'credential')[0] ?? root
      return { urn: textOf(onlyChild(credential, 'target_urn')), expires: parseExpiry(textOf(onlyChild(credential, 'expires'))) }
    })
  } catch (error) {
    throw new Refusal('bad-arguments', `${file} is no slice credential: ${explain(error)}`)
  }
}

/** The text of a file that somebody named; a Refusal that names it when it cannot be read. */
export function readNamed(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : 'it cannot be read'
    throw new Refusal('not-found', `${what} ${file}: ${why}`)
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
