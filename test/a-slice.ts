// Records of slices for tests: whole ones, with what a test is about laid over them.
import { rfc3339 } from '../base/time.js'
import type { SliceRecord } from '../slices/slice.js'
import type { Sliver } from '../slices/sliver.js'

export const noon = Date.parse('2026-03-01T12:00:00Z')
export const aliceUrn = 'urn:publicid:IDN+ch.example+user+alice'

export function aSliver(clientId: string, more: Partial<Sliver> = {}): Sliver {
  const id = `v-${clientId}`
  return {
    id, urn: `urn:publicid:IDN+lab.example+sliver+${id}`, clientId, allocationIndex: 0, allocation: 'geni_provisioned', operational: 'geni_ready',
    error: '', resourceStatus: '', expires: rfc3339(noon + 24 * 3600_000), host: 'h1', loginPort: 22_000, logins: [],
    node: { clientId, sliverType: 'violin-vm', image: 'bank', memoryMiB: 128, cpus: 1, diskMiB: 256, execute: [], interfaces: [] },
    nics: [{ port: 1, clientId: `${clientId}:0`, lan: 'lan', mac: '52:54:00:00:00:01', ip: '10.0.0.1', prefixLength: 24 }], ...more,
  }
}

export function aSlice(name: string, more: Partial<SliceRecord> = {}): SliceRecord {
  return {
    format: 1, rev: 1, urn: `urn:publicid:IDN+ch.example:lab+slice+${name}`, uuid: `00000000-0000-4000-8000-${name.padStart(12, '0').slice(-12)}`,
    creator: aliceUrn, credentialExpires: rfc3339(noon + 48 * 3600_000), run: '', epoch: 0, token: 0, head: '', operation: null,
    lastSnapshot: '', shutdown: false, allocations: [{ requestXml: '<rspec/>', at: rfc3339(noon) }], policy: null,
    slivers: [aSliver('a'), aSliver('b')], nextPort: 3, ...more,
  }
}
