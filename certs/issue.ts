// A federation of one's own, so that one command is enough to have users, slices and credentials as real clearinghouses
// issue them. For tests and demonstrations: its keys lie unencrypted in one folder (0700, every file 0600):
//
//   federation.json                the authority's name and the host names
//   ca.pem ca.key                  root: the file to trust, everywhere
//   sa.pem sa.key                  slice authority: issues slices and signs their credentials
//   ma.pem ma.key                  member authority: issues users
//   am.pem am.key                  the aggregate's certificate for TLS (DNS and IP names)
//   users/NAME.pem NAME.key        certificate with the chain up to the root (not included), and private key
//   users/NAME-usercred.xml        the user's own credential
//   slices/SLICE.pem               the slice's certificate with chain; nobody needs its key
//   slices/SLICE.USER-cred.xml     the credential of USER for SLICE
//   tools/, crls/ and what users sign for others: hand-outs.ts
import { createPublicKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Failure, Refusal } from '../base/errors.js'
import { makeFolder, syncFolder, writeDurably, writeOnce } from '../base/durable.js'
import { token, type Random } from '../base/random.js'
import { parseRecord, type Form } from '../base/records.js'
import { rfc3339, type Clock } from '../base/time.js'
import { makeUrn } from '../base/urn.js'
import { parseGeniCertificate, splitPem, toPem, type GeniCertificate } from './certificate.js'
import { credentialElement } from './credential-xml.js'
import { checkAuthority, checkHostname, checkSliceName, checkUserName } from './names.js'
import { keyFromPem, mint, newKey, newUuid, type Signer, type Wanted } from './mint.js'
import { signCredential } from './sign.js'

const dayMs = 24 * 3600_000
/** Clocks of clients may be behind ours; TLS gives no grace. */
export const backdateMs = 3600_000
const life = {
  ca: 3650 * dayMs, authority: 3650 * dayMs, am: 1825 * dayMs, user: 730 * dayMs, userCredential: 365 * dayMs,
}

export interface IssueTools { clock: Clock; random: Random }
export interface Pair { certificate: string; key: string }

/** Paths of a federation's files. */
export interface Federation {
  dir: string
  authority: string
  hostnames: string[]
  /** PEM of the root: what to trust. */
  trust: string
  /** Folder of the lists of revoked certificates; it need not exist. */
  crls: string
  am: Pair
  sa: Pair
  ma: Pair
}

export interface User extends Pair { name: string; urn: string; uuid: string; email: string; credential: string }

export interface Slice {
  name: string
  urn: string
  uuid: string
  user: string
  certificate: string
  credential: string
  /** ms since 1970: when the credential ends. */
  expires: number
}

/** Makes a federation in `dir`, which must not exist or be empty. It appears whole or not at all. */
export async function createFederation(
  dir: string, options: IssueTools & { authority: string; hostnames: readonly string[] },
): Promise<Federation> {
  const { authority, random } = options
  const hostnames = [...new Set([...options.hostnames, 'localhost', '127.0.0.1'])]
  checkAuthority(authority)
  hostnames.forEach(checkHostname)
  const home = resolve(dir)
  await makeFolder(dirname(home))
  const aside = join(dirname(home), `.${basename(home)}.${token(random)}.part`)
  try {
    await fill(aside, authority, hostnames, options)
    await rename(aside, home)
  } catch (error) {
    await rm(aside, { recursive: true, force: true })
    const code = (error as NodeJS.ErrnoException).code
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOTDIR') throw error
    throw new Refusal('exists', `${home} exists already and is not an empty folder; give another --dir or remove it`)
  }
  await syncFolder(dirname(home))
  return openFederation(home)
}

async function fill(dir: string, authority: string, hostnames: string[], tools: IssueTools): Promise<void> {
  for (const folder of [dir, join(dir, 'users'), join(dir, 'slices')]) await makeFolder(folder)
  const put = (name: string, content: string) => writeDurably(join(dir, name), content)
  const make = async (role: string, extra: Partial<Wanted>, lifeMs: number, issuer?: Signer): Promise<Signer> => {
    const key = await newKey()
    const certificate = await mint({
      commonName: `${role}.${authority.split(':')[0]!}`, organization: authority,
      urn: makeUrn(authority, 'authority', role), uuid: newUuid(tools.random), publicKey: key.publicKey,
      ...validity(tools.clock.now(), lifeMs, issuer?.certificate.notAfter), ...extra,
    }, issuer ?? { self: key.privateKey }, tools.random)
    const file = role === 'root' ? 'ca' : role
    await put(`${file}.key`, key.pem)
    await put(`${file}.pem`, toPem(certificate.der))
    return { certificate, key: key.privateKey }
  }
  const root = await make('root', { caDepth: 1 }, life.ca)
  await make('sa', { caDepth: 0 }, life.authority, root)
  await make('ma', { caDepth: 0 }, life.authority, root)
  await make('am', { hostnames }, life.am, root)
  await put('federation.json', `${JSON.stringify({ format: 1, authority, hostnames }, undefined, 2)}\n`)
}

/** The federation in `dir`. Refuses when there is none. */
export async function openFederation(dir: string): Promise<Federation> {
  const home = resolve(dir)
  let text: string
  try {
    text = await readFile(join(home, 'federation.json'), 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new Failure('failed', `cannot read the federation at ${home}`, { cause })
    }
    throw new Refusal('not-found', `there is no federation at ${home}; make one with "violin certs init --dir ${home}"`)
  }
  const { authority, hostnames } = parseRecord(text, join(home, 'federation.json'), form)
  const pair = (name: string): Pair => ({ certificate: join(home, `${name}.pem`), key: join(home, `${name}.key`) })
  return {
    dir: home, authority, hostnames, trust: join(home, 'ca.pem'), crls: join(home, 'crls'), am: pair('am'), sa: pair('sa'), ma: pair('ma'),
  }
}

interface FederationRecord { format: 1; authority: string; hostnames: string[] }
const form: Form<FederationRecord> = { format: 1, is: ({ authority, hostnames }) => typeof authority === 'string' && Array.isArray(hostnames) }

/** Issues a user: key, certificate chain and user credential. What a crash left unfinished is finished. */
export async function issueUser(dir: string, name: string, tools: IssueTools): Promise<User> {
  const federation = await openFederation(dir)
  const user = userOf(federation, name)
  if ([user.key, user.certificate, user.credential].every((file) => existsSync(file))) {
    throw new Refusal('exists', `the user ${name} exists already in ${federation.dir}; choose another name`)
  }
  const authority = await signerOf(federation.ma)
  await writeOnce(user.key, (await newKey()).pem) // false: left by a crash, or somebody is doing the same now
  const privateKey = keyFromPem(await readFile(user.key, 'utf8'))
  const made = await mint({
    commonName: name, organization: federation.authority, urn: user.urn, uuid: newUuid(tools.random), email: user.email,
    publicKey: createPublicKey(privateKey), ...validity(tools.clock.now(), life.user, authority.certificate.notAfter),
  }, authority, tools.random)
  await writeOnce(user.certificate, toPem(made.der) + toPem(authority.certificate.der))
  const pem = await readFile(user.certificate, 'utf8')
  const certificate = parseGeniCertificate(pem)
  const expires = Math.min(tools.clock.now() + life.userCredential, certificate.notAfter)
  const credential = credentialElement({
    owner: { urn: user.urn, pem }, target: { urn: user.urn, pem }, expires,
    privileges: ['refresh', 'resolve', 'info'], serial: token(tools.random),
  })
  if (!await writeOnce(user.credential, signed(credential, authority))) {
    throw new Refusal('exists', `the user ${name} was made by somebody else just now`)
  }
  return { ...user, uuid: certificate.uuid! }
}

/**
 * Gives `user` a credential for a slice. The slice is made when there is none of this name, or its certificate has
 * expired (then it is a new slice with a new UUID); otherwise it is the same slice, also for another user.
 */
export async function issueSlice(
  dir: string, user: string, sliceName: string, options: IssueTools & { lifeMs: number },
): Promise<Slice> {
  const federation = await openFederation(dir)
  checkSliceName(sliceName)
  const { lifeMs, clock } = options
  if (!(lifeMs >= 1000)) throw new Refusal('bad-arguments', 'a slice must live a second or more')
  const owner = userOf(federation, user)
  const ownerPem = await readFile(owner.certificate, 'utf8').catch((cause: unknown) => {
    const message = `there is no user ${user} in ${federation.dir}; make it with "violin certs user ${user}"`
    throw new Refusal('not-found', message, { cause })
  })
  const authority = await signerOf(federation.sa)
  const expires = clock.now() + lifeMs
  const latest = Math.min(parseGeniCertificate(ownerPem).notAfter, authority.certificate.notAfter)
  if (expires > latest) {
    const message = `the slice would outlive the certificate of ${user} (${rfc3339(latest)}); ask for fewer days`
    throw new Refusal('bad-arguments', message)
  }
  const file = sliceName.toLowerCase() // names of slices are the same in any case
  const path = join(federation.dir, 'slices', `${file}.pem`)
  const { pem, certificate } = await sliceCertificate(federation, sliceName, path, expires, authority, options)
  const credential = join(federation.dir, 'slices', `${file}.${user}-cred.xml`)
  const element = credentialElement({
    owner: { urn: owner.urn, pem: ownerPem }, target: { urn: certificate.urn, pem }, expires,
    privileges: ['refresh', 'embed', 'bind', 'control', 'info'], serial: token(options.random),
  })
  await writeDurably(credential, signed(element, authority))
  return {
    name: sliceName, urn: certificate.urn, uuid: certificate.uuid!, user, certificate: path, credential,
    expires: Math.floor(expires / 1000) * 1000, // as the credential says it
  }
}

async function sliceCertificate(
  federation: Federation, name: string, path: string, expires: number, authority: Signer, tools: IssueTools,
): Promise<{ pem: string; certificate: GeniCertificate }> {
  const old = existsSync(path) ? await readFile(path, 'utf8') : undefined
  const known = old === undefined ? undefined : parseGeniCertificate(old)
  const alive = known !== undefined && known.notAfter > tools.clock.now()
  if (alive && known.notAfter >= expires) return { pem: old!, certificate: known }
  const key = await newKey()
  const made = await mint({
    commonName: name, organization: federation.authority,
    urn: alive ? known.urn : makeUrn(federation.authority, 'slice', name),
    uuid: alive && known.uuid !== undefined ? known.uuid : newUuid(tools.random),
    email: `${name}@${mailHost(federation.authority)}`, publicKey: key.publicKey,
    notBefore: tools.clock.now() - backdateMs, notAfter: Math.ceil(expires / 1000) * 1000,
  }, authority, tools.random)
  const pem = toPem(made.der) + toPem(authority.certificate.der)
  await writeDurably(path, pem)
  return { pem, certificate: parseGeniCertificate(pem) }
}

function signed(element: string, authority: Signer): string {
  return signCredential(element, authority.key, [authority.certificate.der])
}

export async function signerOf(pair: Pair): Promise<Signer> {
  const der = splitPem(await readFile(pair.certificate, 'utf8'))[0]!
  return { certificate: parseGeniCertificate(der), key: keyFromPem(await readFile(pair.key, 'utf8')) }
}

export function validity(now: number, lifeMs: number, issuerEnd = Infinity): { notBefore: number; notAfter: number } {
  return { notBefore: now - backdateMs, notAfter: Math.min(now + lifeMs, issuerEnd) }
}

export const mailHost = (authority: string) => authority.split(':')[0]!

export function userOf(federation: Federation, name: string): Omit<User, 'uuid'> {
  checkUserName(name)
  const base = join(federation.dir, 'users', name)
  return {
    name, urn: makeUrn(federation.authority, 'user', name), email: `${name}@${mailHost(federation.authority)}`,
    certificate: `${base}.pem`, key: `${base}.key`, credential: `${base}-usercred.xml`,
  }
}
