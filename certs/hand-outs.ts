// What a federation gives out besides users and slices: tools, what users sign for each other and for tools, lists of
// revoked certificates, and key files for browsers. In the folder of the federation (issue.ts):
//
//   tools/NAME.pem NAME.key                     a tool that may speak for users, with +tool+ in its URN
//   slices/SLICE.FROM.TO-delegated.xml          the credential of FROM for SLICE, handed on to TO
//   users/USER.TOOL-speaks-for.xml              USER lets TOOL speak for them
//   crls/root.pem sa.pem ma.pem                 what each authority has revoked
import { createPublicKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder, writeDurably, writeOnce } from '../base/durable.js'
import { Refusal } from '../base/errors.js'
import { token } from '../base/random.js'
import { makeUrn } from '../base/urn.js'
import { parseCertificate, parseGeniCertificate, splitPem, toPem, type Certificate } from './certificate.js'
import { crlPem, crlsInPem } from './crl.js'
import { delegate, letSpeak, letSpeakOldForm, type Holder } from './delegate.js'
import { mailHost, openFederation, signerOf, userOf, validity, type Federation, type IssueTools, type Pair } from './issue.js'
import { keyFromPem, mint, mintCrl, newKey, newUuid, type Signer } from './mint.js'
import { checkSliceName, checkUserName } from './names.js'
import { writePkcs12 } from './pkcs12.js'
import { verifiedBy } from './trust.js'

const dayMs = 24 * 3600_000
const toolLifeMs = 730 * dayMs
/** A list says when the next one comes; authorities of tests are asked for one about once a month. */
const crlLifeMs = 30 * dayMs

export interface Tool extends Pair { name: string; urn: string }

/** Issues a tool: key and certificate chain. */
export async function issueTool(dir: string, name: string, tools: IssueTools): Promise<Tool> {
  const federation = await openFederation(dir)
  const tool = toolOf(federation, name)
  if (existsSync(tool.certificate)) throw new Refusal('exists', `the tool ${name} exists already in ${federation.dir}; choose another name`)
  const authority = await signerOf(federation.ma)
  await makeFolder(join(federation.dir, 'tools'))
  await writeOnce(tool.key, (await newKey()).pem) // false: left by a crash
  const publicKey = createPublicKey(keyFromPem(await readFile(tool.key, 'utf8')))
  const made = await mint({
    commonName: name, organization: federation.authority, urn: tool.urn, uuid: newUuid(tools.random), publicKey,
    email: `${name}@${mailHost(federation.authority)}`, ...validity(tools.clock.now(), toolLifeMs, authority.certificate.notAfter),
  }, authority, tools.random)
  await writeOnce(tool.certificate, toPem(made.der) + toPem(authority.certificate.der))
  return tool
}

export interface Delegation {
  slice: string
  from: string
  /** A user of the federation, or a PEM file with somebody's certificate and its chain. */
  to: string
  /** A credential to hand on in place of the own one: one that was handed on before. */
  input?: string
  privileges?: readonly string[]
  lifeMs?: number
  keep?: boolean
}

/** Hands on the credential of a user for a slice. Returns the new file and its owner's URN. */
export async function delegateSlice(dir: string, wanted: Delegation, tools: IssueTools): Promise<{ credential: string; urn: string }> {
  const federation = await openFederation(dir)
  checkSliceName(wanted.slice)
  const slice = wanted.slice.toLowerCase()
  const input = wanted.input ?? join(federation.dir, 'slices', `${slice}.${wanted.from}-cred.xml`)
  const xml = await textOf(input, `make it with "violin certs slice ${wanted.slice} --user ${wanted.from}"`)
  const to = await certificateOf(federation, wanted.to, 'user')
  const made = delegate({
    xml, from: await holderOf(federation, wanted.from), to, serial: token(tools.random), keep: wanted.keep ?? false,
    ...(wanted.privileges === undefined ? {} : { privileges: wanted.privileges }),
    ...(wanted.lifeMs === undefined ? {} : { expires: tools.clock.now() + wanted.lifeMs }),
  })
  const name = existsSync(wanted.to) ? nameIn(to) : wanted.to
  const credential = join(federation.dir, 'slices', `${slice}.${wanted.from}.${name}-delegated.xml`)
  await writeDurably(credential, made)
  return { credential, urn: parseGeniCertificate(to).urn }
}

export interface Speaking { user: string; tool: string; lifeMs: number; oldForm?: boolean }

/** A credential by which a user lets a tool (its name, or a PEM file) speak. */
export async function letToolSpeak(dir: string, { user, tool, lifeMs, oldForm }: Speaking, tools: IssueTools): Promise<{ credential: string; urn: string }> {
  const federation = await openFederation(dir)
  const pem = await certificateOf(federation, tool, 'tool')
  const holder = await holderOf(federation, user)
  const expires = tools.clock.now() + lifeMs
  const made = oldForm ? letSpeakOldForm({ user: holder, tool: pem, expires, serial: token(tools.random) }) : letSpeak({ user: holder, tool: pem, expires })
  const name = existsSync(tool) ? nameIn(pem) : tool
  const credential = join(federation.dir, 'users', `${user}.${name}-speaks-for${oldForm ? '-old' : ''}.xml`)
  await writeDurably(credential, made)
  return { credential, urn: parseGeniCertificate(pem).urn }
}

/** Writes the lists of all authorities anew, with these certificates on them too. A list that is there is never shortened. */
export async function revoke(dir: string, wanted: { certificates: readonly string[] }, tools: IssueTools): Promise<{ crls: string[]; revoked: string[] }> {
  const federation = await openFederation(dir)
  const now = tools.clock.now()
  const authorities = await Promise.all([rootOf(federation), federation.sa, federation.ma].map(signerOf))
  const given = await Promise.all(wanted.certificates.map(async (file) => ({ file, certificate: parseCertificate(await textOf(file, 'give a PEM file')) })))
  const byAuthority = authorities.map(() => [] as Certificate[])
  for (const { file, certificate } of given) {
    const index = authorities.findIndex((a) => a.certificate.fingerprint !== certificate.fingerprint && issuedBy(a, certificate))
    if (index < 0) throw new Refusal('bad-arguments', `${file} was not issued by an authority of ${federation.dir}, so it cannot be revoked here`)
    byAuthority[index]!.push(certificate)
  }
  await makeFolder(federation.crls)
  const crls: string[] = []
  for (const [index, authority] of authorities.entries()) {
    const file = join(federation.crls, `${['root', 'sa', 'ma'][index]!}.pem`)
    const before = existsSync(file) ? crlsInPem(await readFile(file, 'utf8')).flatMap((crl) => [...crl.revoked]) : []
    const all = new Map([...byAuthority[index]!.map((c) => [c.serial, now] as const), ...before])
    const list = await mintCrl(authority, [...all].map(([serial, at]) => ({ serial, at })), now, now + crlLifeMs)
    await writeDurably(file, crlPem(list))
    crls.push(file)
  }
  return { crls, revoked: given.map(({ certificate }) => certificate.urn ?? certificate.serial) }
}

/** The certificate files of users, tools and slices of the federation, by name. */
export async function certificateFiles(
  dir: string, names: { users: readonly string[]; tools: readonly string[]; slices: readonly string[] },
): Promise<string[]> {
  const federation = await openFederation(dir)
  names.slices.forEach(checkSliceName)
  return [
    ...names.users.map((name) => userOf(federation, name).certificate), ...names.tools.map((name) => toolOf(federation, name).certificate),
    ...names.slices.map((name) => join(federation.dir, 'slices', `${name.toLowerCase()}.pem`)),
  ]
}

/** Key and certificates of a user (with the root) as PKCS#12. */
export async function pkcs12Of(dir: string, user: string, password: string, tools: IssueTools): Promise<Buffer> {
  const federation = await openFederation(dir)
  const { key, pem } = await holderOf(federation, user)
  const chain = [...splitPem(pem), ...splitPem(await readFile(federation.trust, 'utf8'))]
  return writePkcs12({ name: parseGeniCertificate(pem).urn, key, chain, password, random: tools.random })
}

const rootOf = ({ dir, trust }: Federation): Pair => ({ certificate: trust, key: join(dir, 'ca.key') })
const issuedBy = (authority: Signer, certificate: Certificate): boolean =>
  certificate.x509.checkIssued(authority.certificate.x509) && verifiedBy(authority.certificate, certificate)
/** For a file name: letters, digits, - and _ of the last part of the URN. */
const nameIn = (pem: string): string => parseGeniCertificate(pem).urn.split('+').at(-1)!.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 64)

function toolOf(federation: Federation, name: string): Tool {
  checkUserName(name)
  const base = join(federation.dir, 'tools', name)
  return { name, urn: makeUrn(federation.authority, 'tool', name), certificate: `${base}.pem`, key: `${base}.key` }
}

async function certificateOf(federation: Federation, who: string, kind: 'user' | 'tool'): Promise<string> {
  if (existsSync(who)) return textOf(who, 'give a PEM file')
  const file = kind === 'user' ? userOf(federation, who).certificate : toolOf(federation, who).certificate
  return textOf(file, `make it with "violin certs ${kind} ${who}", or give a PEM file`)
}

async function holderOf(federation: Federation, user: string): Promise<Holder> {
  const { certificate, key } = userOf(federation, user)
  const pem = await textOf(certificate, `make it with "violin certs user ${user}"`)
  return { pem, key: keyFromPem(await readFile(key, 'utf8')) }
}

async function textOf(file: string, fix: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Refusal('not-found', `cannot read ${file}; ${fix}`, { cause })
  })
}
