// Allocate(slice_urn, credentials, rspec, options): all or nothing; the slivers are ours for ten minutes.
import { randomUUID } from 'node:crypto'
import { Refusal } from '../../base/errors.js'
import { rfc3339 } from '../../base/time.js'
import { parseUrn } from '../../base/urn.js'
import { parseRequest } from '../../rspec/request.js'
import type { Topology } from '../../rspec/topology.js'
import { grantedExpiry } from '../../slices/lease.js'
import { makeSlivers } from '../../slices/make-slivers.js'
import { placeVms } from '../../slices/placement.js'
import type { SliceRecord } from '../../slices/slice.js'
import type { HostRecord } from '../../slices/slice-store.js'
import { manifestOf, refuseShutDown, sliverStruct, type AmCall, type AmParts, type Granted } from '../context.js'
import { credentialsArgument, optionsArgument, textArgument, timeOption } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

const overheadMiB = 96

export async function allocate(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const sliceUrn = textArgument(params[0], 'slice_urn')
  if (parseUrn(sliceUrn)?.type !== 'slice') throw new Refusal('bad-arguments', `"${sliceUrn.slice(0, 200)}" is not the URN of a slice`)
  const granted = call.authorize(credentialsArgument(params[1]), 'change', sliceUrn)
  const requestXml = textArgument(params[2], 'rspec')
  const options = optionsArgument(params[3])
  const hosts = await freeHosts(at)
  const images = [...new Set(hosts.flatMap((h) => h.images))]
  const topology = parseRequest(requestXml, { componentManager: at.urn, images, defaultImage: images[0] ?? '' })
  const placement = placeVms({ nodes: topology.nodes, hosts })
  if (!placement.placed) throw new Refusal('too-big', placement.why)

  const now = at.clock.now()
  const expires = grantedExpiry({ now, credentialExpires: granted.expires, allocation: 'geni_allocated' }, timeOption(options, 'geni_end_time'))
  if (expires <= now) throw new Refusal('bad-arguments', 'geni_end_time is in the past')
  const taken = new Set((await at.store.slices()).flatMap((s) => s.slivers.map((v) => v.loginPort)))
  await createSlice(at, sliceUrn, granted)
  let made: SliceRecord['slivers'] = []
  const slice = await at.store.update(sliceUrn, (record) => {
    refuseShutDown(record)
    refuseKnownNames(record, topology)
    const { slivers, nextPort } = makeSlivers({
      topology, hostOf: placement.hostOf, authority: at.authority, allocationIndex: record.allocations.length,
      nextPort: record.nextPort, takenPorts: new Set(taken), random: at.random, expires,
    })
    made = slivers
    return {
      ...record, nextPort, slivers: [...record.slivers, ...slivers], credentialExpires: rfc3339(granted.expires),
      allocations: [...record.allocations, { requestXml, at: rfc3339(now) }], policy: topology.policy ?? record.policy,
    }
  })
  return {
    geni_rspec: await manifestOf(at, slice, made),
    geni_slivers: made.map((s) => sliverStruct(s)),
  }
}

async function createSlice(at: AmParts, urn: string, granted: Granted): Promise<void> {
  await at.store.create({
    format: 1, rev: 1, urn, uuid: granted.sliceUuid ?? randomUUID(), creator: granted.owner, credentialExpires: rfc3339(granted.expires),
    run: '', epoch: 0, token: 0, head: '', operation: null, lastSnapshot: '', shutdown: false, allocations: [], policy: null, slivers: [], nextPort: 1,
  })
}

/** geni_disjoint: each Allocate stands for itself, and names are unique in the slice. */
function refuseKnownNames(record: SliceRecord, topology: Topology): void {
  const known = new Set(record.slivers.map((s) => s.clientId))
  const twice = topology.nodes.find((n) => known.has(n.clientId))
  if (twice) throw new Refusal('exists', `the slice has a node ${twice.clientId} already: delete it first, or ask for other client_ids`)
}

/** Hosts with what is promised to slivers that are allocated and not yet known to them taken off. */
async function freeHosts(at: AmParts): Promise<HostRecord[]> {
  const promised = (await at.store.slices()).flatMap((s) => s.slivers.filter((v) => v.allocation === 'geni_allocated'))
  return (await at.store.hosts()).map((host) => ({
    ...host,
    memoryFreeMiB: host.memoryFreeMiB - promised.filter((s) => s.host === host.host).reduce((sum, s) => sum + s.node.memoryMiB + overheadMiB, 0),
  }))
}
