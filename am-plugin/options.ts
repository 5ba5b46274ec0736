// Arguments and options of the AM API: what clients really send, made into what was meant. Unknown options are ignored.
import { deflateSync } from 'node:zlib'
import { Refusal } from '../base/errors.js'
import type { WireCredential } from '../certs/authorize.js'
import type { Login } from '../rspec/topology.js'
import { parseUrn } from '../base/urn.js'
import { isStruct, type Struct, type Value } from './xmlrpc/value.js'

/** The slice that a call is about, in methods that take no slivers. */
export function sliceUrnArgument(value: Value | undefined): string {
  const urn = textArgument(value, 'slice_urn')
  if (parseUrn(urn)?.type !== 'slice') throw new Refusal('bad-arguments', `"${urn.slice(0, 200)}" is not the URN of a slice`)
  return urn
}

export function textArgument(value: Value | undefined, name: string): string {
  if (typeof value !== 'string') throw new Refusal('bad-arguments', `${name} must be a string`)
  return value
}

/** URNs: one slice URN, or sliver URNs. A lone string is taken for a list of one. */
export function urnsArgument(value: Value | undefined): string[] {
  const list = typeof value === 'string' ? [value] : value
  if (!Array.isArray(list) || list.length === 0 || !list.every((u) => typeof u === 'string')) {
    throw new Refusal('bad-arguments', 'urns must be an array with one slice URN, or sliver URNs of one slice')
  }
  for (const urn of list) if (!parseUrn(urn)) throw new Refusal('bad-arguments', `"${urn.slice(0, 200)}" is not a GENI URN`)
  return list
}

/** A string, or a number as one: old tools send versions as integers. Anything else is nothing. */
function plain(value: Value | undefined): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

/** v3 credentials are structs; plain strings (v2 habit) are taken as geni_sfa. */
export function credentialsArgument(value: Value | undefined): WireCredential[] {
  if (!Array.isArray(value)) throw new Refusal('bad-arguments', 'credentials must be an array')
  return value.map((entry) => {
    if (typeof entry === 'string') return { type: 'geni_sfa', version: '3', value: entry }
    if (!isStruct(entry)) throw new Refusal('bad-arguments', 'a credential must be a struct {geni_type, geni_version, geni_value}')
    const [type, version, value] = [plain(entry['geni_type']), plain(entry['geni_version']), plain(entry['geni_value'])]
    // so Omni names every delegated credential: what it is, its text says, and that is verified as any other
    return type.toLowerCase() === 'geni_unknown' ? { type: 'geni_sfa', version: '3', value } : { type, version, value }
  })
}

export function optionsArgument(value: Value | undefined): Struct {
  if (value === undefined || value === '') return {}
  if (!isStruct(value)) throw new Refusal('bad-arguments', 'options must be a struct')
  return value
}

export function flag(options: Struct, name: string): boolean {
  const value = options[name]
  if (value === undefined) return false
  if (value === true || value === 1 || value === '1' || value === 'true') return true
  if (value === false || value === 0 || value === '0' || value === 'false' || value === '') return false
  throw new Refusal('bad-arguments', `option ${name} must be a boolean`)
}

/** A whole number, or a string of digits: not every client has integers. */
export function countOption(options: Struct, name: string, bounds: { least: number; most: number; standard: number }): number {
  const value = options[name]
  if (value === undefined || value === '') return bounds.standard
  const n = typeof value === 'number' || (typeof value === 'string' && /^\d{1,9}$/.test(value)) ? Number(value) : NaN
  if (Number.isInteger(n) && n >= bounds.least && n <= bounds.most) return n
  throw new Refusal('bad-arguments', `option ${name} must be a whole number from ${bounds.least} to ${bounds.most}`)
}

export function textOption(options: Struct, name: string): string | undefined {
  const value = options[name]
  if (value === undefined || value === '') return undefined
  if (typeof value !== 'string') throw new Refusal('bad-arguments', `option ${name} must be a string`)
  return value
}

/** geni_rspec_version: GENI 3 or nothing else; letter case and int or string do not matter. */
export function checkRspecVersion(options: Struct, required: boolean): void {
  const wanted = options['geni_rspec_version']
  if (wanted === undefined) {
    if (required) throw new Refusal('bad-arguments', 'option geni_rspec_version is missing: give {type: GENI, version: 3}')
    return
  }
  if (!isStruct(wanted)) throw new Refusal('bad-arguments', 'option geni_rspec_version must be a struct {type, version}')
  const [type, version] = [plain(wanted['type']), plain(wanted['version'])]
  if (type.toLowerCase() !== 'geni' || version !== '3') {
    throw new Refusal('bad-version', `RSpecs of type ${type.slice(0, 60)} version ${version.slice(0, 60)} are not spoken here: GENI 3 is`)
  }
}

/** RFC 3339, also with a space for T, a fraction, or without zone (UTC); to ms. */
export function timeArgument(text: string, name: string): number {
  const m = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}:\d{2})(?:\.\d+)?(Z|[+-]\d{2}:?\d{2})?)?$/i.exec(text.trim())
  const ms = m ? Date.parse(`${m[1]!}T${(m[2] ?? '00:00:00').replace(/:60$/, ':59')}${m[3] ?? 'Z'}`) : NaN
  // Date.parse makes 3 March of 31 February
  const noDay = m && !Number.isNaN(ms) && !new Date(`${m[1]!}T00:00:00Z`).toISOString().startsWith(m[1]!)
  if (Number.isNaN(ms) || noDay) throw new Refusal('bad-arguments', `${name} "${text.slice(0, 60)}" is not a date as 2026-01-31T12:00:00Z`)
  return ms
}

export function timeOption(options: Struct, name: string): number | undefined {
  const text = textOption(options, name)
  return text === undefined ? undefined : timeArgument(text, name)
}

const loginForm = /^[a-z_][a-z0-9_-]{0,30}$/
const keyForm = /^(ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$/

export const usersOption = (options: Struct): Login[] => loginsOf(options['geni_users'], 'geni_users')

/** Users as [{urn, keys}] to logins; the name is the last part of the URN, made unique. `what`: how the caller named them. */
export function loginsOf(users: Value | undefined, what: string): Login[] {
  if (users === undefined || users === '') return []
  if (!Array.isArray(users)) throw new Refusal('bad-arguments', `${what} must be an array of structs {urn, keys}`)
  const taken = new Set<string>(['root'])
  return users.map((user) => {
    const urn = isStruct(user) ? plain(user['urn']) : ''
    const parsed = parseUrn(urn)
    if (!isStruct(user) || !parsed) throw new Refusal('bad-arguments', `${what}: "${urn.slice(0, 200)}" is not the URN of a user`)
    const given = user['keys'] ?? []
    const keys = (Array.isArray(given) ? given : [given]).map((k) => plain(k).trim()).filter((k) => k !== '')
    const bad = keys.find((k) => !keyForm.test(k) || k.includes('\n'))
    if (bad !== undefined) throw new Refusal('bad-arguments', `${what}: "${bad.slice(0, 40)}..." of ${urn} is not an SSH public key`)
    let name = parsed.name.toLowerCase().replace(/[^a-z0-9_-]/g, '').slice(0, 28)
    if (!loginForm.test(name)) name = `u${name}`
    for (let n = 2; taken.has(name); n++) name = `${name.replace(/\d+$/, '')}${n}`
    taken.add(name)
    return { urn, name, keys }
  })
}

/** As text, or (geni_compressed) base64 of zlib data in a string. */
export function maybeCompressed(rspec: string, options: Struct): string {
  return flag(options, 'geni_compressed') ? deflateSync(Buffer.from(rspec)).toString('base64') : rspec
}
