// A federation in a temporary folder, made once for all tests of certs/, and the means to make what it would never
// issue.
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { realRandom } from '../../../base/random.js'
import { realClock } from '../../../base/time.js'
import { authorize, type Authorization, type AuthorizeRequest } from '../../../certs/authorize.js'
import { parseGeniCertificate, splitPem, toPem, type Certificate } from '../../../certs/certificate.js'
import { credentialElement, type CredentialText } from '../../../certs/credential-xml.js'
import {
  createFederation, issueSlice, issueUser, type Federation, type Slice, type User,
} from '../../../certs/issue.js'
import { keyFromPem, mint, newKey, newUuid, type Signer, type Wanted } from '../../../certs/mint.js'
import { signCredential } from '../../../certs/sign.js'
import { loadTrust } from '../../../certs/trust-folder.js'
import type { TrustStore } from '../../../certs/trust.js'

/** One instant for all: TLS and xmlsec1 look at the real clock, so it is the real one at the start. */
export const now = Math.floor(realClock.now() / 1000) * 1000
export const tools = { clock: { ...realClock, now: () => now }, random: realRandom }
export const dayMs = 24 * 3600_000

export interface Field {
  federation: Federation
  /** A copy of its folder as it was made: tests issue more in the first one. */
  pristine: string
  alice: User
  bob: User
  slice: Slice
  other: Slice
  trust: TrustStore
  sa: Signer
  /** The text of alice's credential for `slice`. */
  credential: string
}

let made: Promise<Field> | undefined
const folders: string[] = []

export function field(): Promise<Field> {
  made ??= makeField()
  return made
}

export function freshFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'certs-test-'))
  folders.push(folder)
  return folder
}

process.once('exit', () => { for (const folder of folders) rmSync(folder, { recursive: true, force: true }) })

async function makeField(): Promise<Field> {
  const dir = join(freshFolder(), 'federation')
  const federation = await createFederation(dir, { ...tools, authority: 'lab.example', hostnames: ['am.lab.example'] })
  const alice = await issueUser(dir, 'alice', tools)
  const bob = await issueUser(dir, 'bob', tools)
  const slice = await issueSlice(dir, 'alice', 'exp1', { ...tools, lifeMs: 7 * dayMs })
  const other = await issueSlice(dir, 'alice', 'exp2', { ...tools, lifeMs: 7 * dayMs })
  const pristine = join(freshFolder(), 'federation')
  cpSync(dir, pristine, { recursive: true })
  return {
    federation, pristine, alice, bob, slice, other, trust: loadTrust([federation.trust]),
    sa: signerOf(federation.sa.certificate, federation.sa.key), credential: read(slice.credential),
  }
}

export const read = (path: string) => readFileSync(path, 'utf8')

export function signerOf(certificate: string, key: string): Signer {
  return { certificate: parseGeniCertificate(read(certificate)), key: keyFromPem(read(key)) }
}

export const callerOf = (user: { certificate: string }) => parseGeniCertificate(read(user.certificate))

/** alice asks to change `exp1` with these credentials, unless said otherwise. */
export async function ask(values: string | string[], other: Partial<AuthorizeRequest> = {}): Promise<Authorization> {
  const { alice, slice, trust } = await field()
  const credentials = [values].flat().map((value) => ({ type: 'geni_sfa', version: '3', value }))
  return authorize({
    caller: callerOf(alice), credentials, operation: 'change', sliceUrn: slice.urn, trust, now, ...other,
  })
}

/** A certificate with whatever is wanted; by `issuer`, or self-signed. */
export async function certify(wanted: Partial<Wanted> & { urn: string }, issuer?: Signer): Promise<Signer> {
  const key = await newKey()
  const certificate = await mint({
    commonName: 'test', organization: 'test', uuid: newUuid(realRandom), notBefore: now - dayMs, notAfter: now + dayMs,
    publicKey: key.publicKey, ...wanted,
  }, issuer ?? { self: key.privateKey }, realRandom)
  return { certificate, key: key.privateKey }
}

export const pemOf = (...certificates: Certificate[]) => certificates.map((c) => toPem(c.der)).join('')

/** A credential of alice for exp1 with some things different, properly signed: by the slice authority or `signer`. */
export async function credential(changes: Partial<CredentialText> = {}, signer?: Signer): Promise<string> {
  return sign(credentialElement({ ...await usual(), ...changes }), signer)
}

/** What alice's credential for exp1 says. */
export async function usual(): Promise<CredentialText> {
  const { alice, slice } = await field()
  return {
    owner: { urn: alice.urn, pem: read(alice.certificate) }, target: { urn: slice.urn, pem: read(slice.certificate) },
    expires: now + dayMs, privileges: ['refresh', 'embed', 'bind', 'control', 'info'], serial: '1',
  }
}

export async function sign(element: string, signer?: Signer): Promise<string> {
  const { sa, federation } = await field()
  const by = signer ?? sa
  return signCredential(element, by.key, [by.certificate.der, ...chainOf(federation.ma.certificate)])
}

/** A copy of `text` with one replacement; fails when there is nothing to replace. */
export function edit(text: string, from: string | RegExp, to: string): string {
  const changed = text.replace(from, () => to)
  if (changed === text) throw new Error(`the test wants to replace ${String(from)}, which is not there`)
  return changed
}

export const chainOf = (path: string) => splitPem(read(path))
