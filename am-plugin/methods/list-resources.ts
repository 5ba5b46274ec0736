// ListResources: what this aggregate has to offer, as an advertisement.
import { Refusal } from '../../base/errors.js'
import { rfc3339 } from '../../base/time.js'
import { makeUrn } from '../../base/urn.js'
import { writeAdvertisement } from '../../rspec/advertisement.js'
import { hostsLessPromised, isAvailable } from '../../slices/placement.js'
import type { Quotas } from '../../slices/quota.js'
import type { HostRecord, SliceStore } from '../../slices/slice-store.js'
import type { AmCall, AmParts } from '../context.js'
import { usableDisks } from '../disk-images.js'
import { checkRspecVersion, credentialsArgument, flag, maybeCompressed, optionsArgument } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

/** Reading every slice for every caller would make a full aggregate slow; so old may it be what is said of the room. */
const freshMs = 1_000
const known = new WeakMap<SliceStore, { at: number; hosts: Promise<HostRecord[]> }>()

/** ListResources(credentials, options): the advertisement. Any valid credential will do. */
export async function listResources(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const options = optionsArgument(params[1])
  const granted = call.authorize(credentialsArgument(params[0]), 'list-resources')
  if (options['geni_slice_urn'] !== undefined) throw new Refusal('bad-arguments', 'geni_slice_urn is an option of API v2: use Describe')
  checkRspecVersion(options, true)
  const hosts = (await hostsNow(at)).map((h) => ({
    name: h.host, componentId: makeUrn(at.authority, 'node', h.host), available: isAvailable(h), images: h.images,
    diskImages: usableDisks([h], granted).filter((d) => d.unready === undefined).map((d) => d.name),
  }))
  const images = [...new Set(hosts.flatMap((h) => h.images))]
  return maybeCompressed(writeAdvertisement({
    componentManager: at.urn, authority: at.authority, hosts: hosts.filter((h) => h.available || !flag(options, 'geni_available')),
    images, defaultImage: images[0] ?? '', generated: rfc3339(at.clock.now()), ...sliceQuotas(at.quotas),
  }), options)
}

/** The hosts with the room that they really have: what is allocated is taken, though no VM has it yet. */
function hostsNow({ store, clock }: AmParts): Promise<HostRecord[]> {
  const before = known.get(store)
  if (before && clock.monotonic() - before.at < freshMs) return before.hosts
  const hosts = Promise.all([store.hosts(), store.slices()]).then(([all, slices]) => hostsLessPromised(all, slices))
  known.set(store, { at: clock.monotonic(), hosts })
  hosts.catch(() => known.delete(store))
  return hosts
}

function sliceQuotas(quotas: Quotas): { sliceVms?: number; sliceSnapshotsBytes?: number } {
  const [vms, bytes] = [quotas['slice-vms'], quotas['slice-snapshots-bytes']]
  return { ...vms !== undefined && { sliceVms: vms }, ...bytes !== undefined && { sliceSnapshotsBytes: bytes } }
}
