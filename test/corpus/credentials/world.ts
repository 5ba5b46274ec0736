// The small federation that the corpus of attacks plays in. Keys lie beside it, the clock stands still and the dice are
// loaded, so that making it again gives the same bytes.
import { createHash, createPublicKey, generateKeyPairSync, webcrypto } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Random } from '../../../base/random.js'
import { makeUrn } from '../../../base/urn.js'
import { toPem } from '../../../certs/certificate.js'
import { credentialElement, type CredentialText } from '../../../certs/credential-xml.js'
import { der } from '../../../certs/der.js'
import { keyFromPem, mint, newUuid, type Signer, type Wanted } from '../../../certs/mint.js'
import { signCredential } from '../../../certs/sign.js'
import * as x509 from '../../../certs/x509.js'

export const folder = import.meta.dirname
export const now = Date.UTC(2026, 5, 1, 12)
export const dayMs = 24 * 3600_000
const [begin, end] = [Date.UTC(2026, 0, 1), Date.UTC(2055, 0, 1)]
const worldFolder = join(folder, 'world')
const keyFolder = join(worldFolder, 'keys')

/** Bytes that follow from how many were taken before. */
export function loadedDice(seed: string): Random {
  let n = 0
  return {
    bytes: (count) => {
      const chunks: Buffer[] = []
      for (let have = 0; have < count; have += 32) chunks.push(createHash('sha256').update(`${seed} ${n++}`).digest())
      return Buffer.concat(chunks).subarray(0, count)
    },
  }
}

export function keyOf(name: string) {
  const file = join(keyFolder, `${name}.key`)
  if (!existsSync(file)) {
    mkdirSync(keyFolder, { recursive: true })
    writeFileSync(file, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }))
  }
  return keyFromPem(readFileSync(file, 'utf8'))
}

export interface Party extends Signer { pem: string; urn: string; chain: Buffer[] }

/** A certificate; its file is `name.pem`, its key that of `key` (the name when not given). */
export async function party(
  name: string, wanted: Partial<Wanted> & { urn: string; key?: string }, issuer?: Party, hide: { chain?: false } = {},
): Promise<Party> {
  const key = keyOf(wanted.key ?? name)
  const dice = loadedDice(name)
  const certificate = await mint({
    commonName: name, organization: 'corpus', uuid: newUuid(dice), notBefore: begin, notAfter: end, publicKey: createPublicKey(key), ...wanted,
  }, issuer ?? { self: key }, dice)
  const chain = [certificate.der, ...(issuer === undefined || hide.chain === false ? [] : issuer.chain.filter((c) => !c.equals(rootDer ?? c)))]
  return { certificate, key, urn: wanted.urn, chain, pem: chain.map(toPem).join('') }
}
let rootDer: Buffer | undefined

/** A user certificate by `issuer` whose subjectAltName is these URIs, byte for byte, whatever they are. Not parsed: it may be beyond that. */
export async function oddUser(name: string, uris: readonly (string | Buffer)[], issuer: Party): Promise<string> {
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
  const key = keyOf('eve')
  const publicKey = await webcrypto.subtle.importKey('spki', createPublicKey(key).export({ type: 'spki', format: 'der' }), algorithm, true, ['verify'])
  const signingKey = await webcrypto.subtle.importKey('pkcs8', issuer.key.export({ type: 'pkcs8', format: 'der' }), algorithm, false, ['sign'])
  const names = der(0x30, ...uris.map((uri) => der(0x86, Buffer.from(uri))))
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: `40${loadedDice(name).bytes(15).toString('hex')}`, subject: [{ CN: [name] }],
    issuer: new x509.X509Certificate(issuer.certificate.der).subject, notBefore: new Date(begin), notAfter: new Date(end),
    signingAlgorithm: algorithm, publicKey, signingKey,
    extensions: [new x509.BasicConstraintsExtension(false, undefined, true), new x509.Extension('2.5.29.17', false, names)],
  })
  return toPem(Buffer.from(made.rawData)) + issuer.pem
}

export const urn = (type: string, name: string, authority = 'lab.example') => makeUrn(authority, type, name)

export interface World {
  root: Party; sa: Party; ma: Party; am: Party; project: Party
  alice: Party; bob: Party; eve: Party; portal: Party
  exp1: Party; exp2: Party
  stranger: Party; foreign: Party
}

export async function makeWorld(): Promise<World> {
  const root = await party('root', { urn: urn('authority', 'root'), caDepth: 2 })
  rootDer = root.certificate.der
  const sa = await party('sa', { urn: urn('authority', 'sa'), caDepth: 1 }, root)
  const ma = await party('ma', { urn: urn('authority', 'ma'), caDepth: 1 }, root)
  const user = (name: string) => party(name, { urn: urn('user', name) }, ma)
  const slice = (name: string) => party(name, { urn: urn('slice', name), key: 'slice' }, sa)
  return {
    root, sa, ma, am: await party('am', { urn: urn('authority', 'am') }, root),
    project: await party('project', { urn: urn('authority', 'sa', 'lab.example:one'), caDepth: 0 }, root),
    alice: await user('alice'), bob: await user('bob'), eve: await user('eve'),
    portal: await party('portal', { urn: urn('tool', 'portal') }, ma), exp1: await slice('exp1'), exp2: await slice('exp2'),
    stranger: await party('stranger', { urn: urn('authority', 'sa'), commonName: 'sa', caDepth: 1 }),
    foreign: await party('foreign', { urn: urn('authority', 'sa', 'lab.example.evil'), caDepth: 1 }),
  }
}

/** What alice's credential for exp1 says, with some things different; signed by the slice authority or by `signer`. */
export function credential(w: World, changes: Partial<CredentialText> = {}, signer: Party = w.sa): string {
  return signCredential(credentialElement({ ...text(w), ...changes }), signer.key, signer.chain)
}

export const text = (w: World): CredentialText => ({
  owner: w.alice, target: w.exp1, expires: now + 30 * dayMs, privileges: ['refresh', 'embed', 'bind', 'info'], serial: '7',
})

export function write(name: string, content: string): void {
  mkdirSync(join(folder, name, '..'), { recursive: true })
  writeFileSync(join(folder, name), content)
}

export function writeWorld(w: World): void {
  for (const [name, { pem }] of Object.entries(w) as [string, Party][]) write(`world/${name}.pem`, pem)
}

/** A copy of `whole` with one replacement; fails when there is nothing to replace. */
export function edit(whole: string, from: string | RegExp, to: string): string {
  const changed = whole.replace(from, () => to)
  if (changed === whole) throw new Error(`nothing to replace: ${String(from)}`)
  return changed
}
