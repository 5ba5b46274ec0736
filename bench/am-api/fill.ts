// Fills the store of record with slices that are there and do nothing: what an aggregate has that is used for long.
import { realRandom as random } from '../../base/random.js'
import { rfc3339 } from '../../base/time.js'
import { newUuid } from '../../certs/mint.js'
import { parseRequest } from '../../rspec/request.js'
import { makeSlivers } from '../../slices/make-slivers.js'
import type { SliceStore } from '../../slices/slice-store.js'

const perSlice = 10
const atOnce = 50

export function requestOf(names: string[]): string {
  const linked = names.length > 1
  const nodes = names.map((n) => `<node client_id="${n}" exclusive="false">${linked ? `<interface client_id="${n}:0"/>` : ''}</node>`).join('')
  const link = linked ? `<link client_id="lan0">${names.map((n) => `<interface_ref client_id="${n}:0"/>`).join('')}</link>` : ''
  return `<rspec type="request" xmlns="http://www.geni.net/resources/rspec/3">${nodes}${link}</rspec>`
}

/** Brings the number of slivers from `from` to `to`, ten in a slice. They lie on a host of which nothing is known, so they take no room here. */
export async function fill(store: SliceStore, authority: string, from: number, to: number): Promise<void> {
  let names: string[] = []
  for (let made = from; made < to; made += perSlice) {
    names.push(`fill${made}`)
    if (names.length < atOnce && made + perSlice < to) continue
    await Promise.all(names.map((name) => one(store, authority, name, Math.min(perSlice, to - from))))
    names = []
  }
}

async function one(store: SliceStore, authority: string, name: string, size: number): Promise<void> {
  const clientIds = Array.from({ length: size }, (_, i) => `n${i}`)
  const requestXml = requestOf(clientIds)
  const topology = parseRequest(requestXml, {
    componentManager: `urn:publicid:IDN+${authority}+authority+am`, images: ['violin-linux'], defaultImage: 'violin-linux',
  })
  const expires = Date.now() + 24 * 3600_000
  const hostOf = new Map(clientIds.map((id) => [id, 'elsewhere']))
  const { slivers, nextPort } = makeSlivers({ topology, hostOf, authority, allocationIndex: 0, nextPort: 1, takenPorts: new Set(), random, expires })
  await store.create({
    format: 1, rev: 1, urn: `urn:publicid:IDN+${authority}+slice+${name}`, uuid: newUuid(random), creator: `urn:publicid:IDN+${authority}+user+filler`,
    credentialExpires: rfc3339(expires), run: '', epoch: 0, token: 0, head: '', operation: null, lastSnapshot: '', shutdown: false,
    allocations: [{ requestXml, at: rfc3339(Date.now()) }], policy: null, slivers: slivers.map((s) => ({ ...s, loginPort: 0 })), nextPort,
  })
}
