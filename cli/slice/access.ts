// From the options of a command to what a call needs: the aggregate's URL, the user's key and certificate, whom to trust,
// and the credential of one slice. With an aggregate of one's own nothing needs to be said; what is missing is named.
import { X509Certificate } from 'node:crypto'
import { join, resolve } from 'node:path'
import { existsSync, readFileSync } from 'node:fs'
import { Refusal } from '../../base/errors.js'
import { rfc3339 } from '../../base/time.js'
import { parseUrn } from '../../base/urn.js'
import { parseGeniCertificate, splitPem } from '../../certs/certificate.js'
import { layoutOf } from '../up/layout.js'
import { aboutCredential, credentialsIn, hasFederation, readNamed, usersIn } from './federation-files.js'

export interface AccessFlags {
  am?: string
  state: string
  user?: string
  slice?: string
  key?: string
  cert?: string
  ca?: string
  credential?: string
}

export interface Access {
  url: string
  keyFile: string
  certFile: string
  caFile: string
  userUrn: string
  sliceUrn: string
  credentialXml: string
  /** Of the test federation in the state folder: what a hint may name. */
  local?: { state: string; user: string }
}

export const nameOfSlice = (access: { sliceUrn: string }): string => parseUrn(access.sliceUrn)?.name ?? access.sliceUrn

/** Everything for a call on one slice. Refuses with what is missing, or with the names to choose from. */
export function findAccess(flags: AccessFlags, now: number): Access {
  return isForeign(flags) ? foreignAccess(flags) : localAccess(flags, now)
}

export const isForeign = (flags: AccessFlags): boolean => [flags.key, flags.cert, flags.ca, flags.credential].some((file) => file !== undefined)

function foreignAccess(flags: AccessFlags): Access {
  const { key, cert, ca, credential } = flags
  if (key === undefined || cert === undefined || ca === undefined || credential === undefined) {
    const missing = (['key', 'cert', 'ca', 'credential'] as const).filter((name) => flags[name] === undefined).map((name) => `--${name}`)
    throw new Refusal('bad-arguments', `${missing.join(', ')} missing: a foreign federation needs --key, --cert, --ca and --credential together`)
  }
  if (flags.user !== undefined) throw new Refusal('bad-arguments', '--user names one of the local federation: with --cert leave it out')
  const xml = readNamed(credential, '--credential')
  const { urn } = aboutCredential(xml, credential)
  const userUrn = userUrnOf(readNamed(cert, '--cert'), cert)
  const access = { url: urlOf(flags), keyFile: key, certFile: cert, caFile: ca, userUrn, sliceUrn: urn, credentialXml: xml }
  if (flags.slice !== undefined && flags.slice.toLowerCase() !== nameOfSlice(access).toLowerCase()) {
    throw new Refusal('bad-arguments', `${credential} is for the slice ${nameOfSlice(access)}, not for ${flags.slice}`)
  }
  readNamed(key, '--key')
  readNamed(ca, '--ca')
  return access
}

function localAccess(flags: AccessFlags, now: number): Access {
  const { federation: dir, state } = layoutOf(flags.state)
  if (!hasFederation(dir)) {
    throw new Refusal('not-found', `there is no test federation in ${dir}: start an aggregate with "violin up"${ofState(flags)}, or give ` +
      '--am, --key, --cert, --ca and --credential of another federation')
  }
  const user = oneUser(dir, flags.user)
  const chosen = oneCredential(dir, user, flags.slice)
  const xml = readNamed(chosen.file, 'the credential')
  const { urn, expires } = aboutCredential(xml, chosen.file)
  if (expires <= now) {
    throw new Refusal('expired', `the credential of ${user} for ${chosen.slice} ended at ${rfc3339(expires)}: ` +
      `violin certs slice ${chosen.slice} --user ${user} --dir ${dir} makes a new one`)
  }
  const base = join(dir, 'users', user)
  return {
    url: urlOf(flags), keyFile: `${base}.key`, certFile: `${base}.pem`, caFile: join(dir, 'ca.pem'),
    userUrn: userUrnOf(readNamed(`${base}.pem`, 'the certificate'), `${base}.pem`), sliceUrn: urn, credentialXml: xml, local: { state, user },
  }
}

/** The one that is wanted, or the only one there is. */
export function oneUser(dir: string, wanted: string | undefined): string {
  const users = usersIn(dir)
  if (wanted !== undefined) {
    if (users.includes(wanted)) return wanted
    const known = users.length > 0 ? `it has ${users.join(', ')}` : 'it has none yet'
    throw new Refusal('not-found', `there is no user ${wanted} in ${dir}: ${known}; violin certs user NAME makes one`)
  }
  if (users.length === 1) return users[0]!
  if (users.length === 0) throw new Refusal('not-found', `there is no user in ${dir} yet: "violin slice create NAME FILE" makes one with a first slice`)
  throw new Refusal('bad-arguments', `there are several users: choose one with --user: ${users.join(', ')}`)
}

function oneCredential(dir: string, user: string, wanted: string | undefined): { slice: string; file: string } {
  const mine = credentialsIn(dir).filter((c) => c.user === user)
  const names = mine.map((c) => c.slice).join(', ')
  if (wanted !== undefined) {
    const found = mine.find((c) => c.slice === wanted.toLowerCase())
    if (found) return found
    const known = mine.length > 0 ? `it has ${names}` : 'there is none yet'
    throw new Refusal('not-found', `${user} has no credential for a slice ${wanted}: ${known}; "violin slice create ${wanted} FILE" makes one`)
  }
  if (mine.length === 1) return mine[0]!
  if (mine.length === 0) throw new Refusal('not-found', `${user} has no slice yet: "violin slice create NAME FILE" makes one`)
  throw new Refusal('bad-arguments', `${user} has several slices: choose one with --slice: ${names}`)
}

/** Where the aggregate of a state folder serves: what `up` has left there. */
export function urlOf(flags: { am?: string; state: string }): string {
  if (flags.am !== undefined) return checkedUrl(flags.am)
  const { url, state } = layoutOf(flags.state)
  if (!existsSync(url)) throw new Refusal('not-found', `no aggregate is up on ${state}: start one with "violin up"${ofState(flags)}, or name one with --am URL`)
  return readFileSync(url, 'utf8').trim()
}

function checkedUrl(text: string): string {
  if (URL.canParse(text) && new URL(text).protocol === 'https:') return text
  throw new Refusal('bad-arguments', `--am ${text} is no URL like https://127.0.0.1:8443/am/3.0`)
}

const ofState = (flags: { state: string }): string => ` (--state ${resolve(flags.state)})`

function userUrnOf(pem: string, file: string): string {
  try {
    return parseGeniCertificate(splitPem(pem)[0]!).urn
  } catch (cause) {
    throw new Refusal('bad-arguments', `${file} is no certificate of a GENI user`, { cause })
  }
}

/** The public key that the user's certificate is for. */
export const publicKeyOf = (access: Access) => new X509Certificate(readNamed(access.certFile, 'the certificate')).publicKey
