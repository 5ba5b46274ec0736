// CreateSliver of API v2: Allocate, Provision and geni_start in one call. It answers with the manifest as soon as all is
// reserved; SliverStatus tells how the boot goes on.
import { limits } from '../../base/limits.js'
import { noteEvent } from '../../slices/event.js'
import { listed } from '../../slices/operation-events.js'
import type { SliceRecord } from '../../slices/slice.js'
import type { Sliver } from '../../slices/sliver.js'
import { manifestOf, type AmCall, type AmParts } from '../context.js'
import { credentialsArgument, loginsOf, optionsArgument, sliceUrnArgument, textArgument, timeOption } from '../options.js'
import type { Value } from '../xmlrpc/value.js'
import { allocateSlivers } from './allocate.js'
import { provisionedUntil, provisionSlivers } from './provision.js'

/** CreateSliver(slice_urn, credentials, rspec, users, options): the manifest. */
export async function createSliver(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const sliceUrn = sliceUrnArgument(params[0])
  const granted = call.authorize(credentialsArgument(params[1]), 'change', sliceUrn)
  const requestXml = textArgument(params[2], 'rspec')
  const logins = loginsOf(params[3], 'users')
  const expires = provisionedUntil(at, granted, timeOption(optionsArgument(params[4]), 'geni_end_time'))
  const now = at.clock.now()
  const reserved = Math.min(expires, now + limits.allocatedLifeMs)
  const { slice, made } = await allocateSlivers(at, { sliceUrn, granted, requestXml, now, expires: reserved, alone: true })
  try {
    const ids = made.map((s) => s.id)
    const { after } = await provisionSlivers(at, call, { slice, granted, ids, expires, logins, boot: true })
    return await manifestOf(at, after, after.slivers.filter((s) => ids.includes(s.id)))
  } catch (error) {
    await giveBack(at, slice, made, granted.owner)
    throw error
  }
}

/** All or nothing: what could not be provisioned does not stay allocated. */
async function giveBack(at: AmParts, slice: SliceRecord, made: Sliver[], who: string): Promise<void> {
  const isOurs = (sliver: Sliver) => sliver.allocation === 'geni_allocated' && made.some((m) => m.id === sliver.id)
  await at.store.update(slice.urn, (record) => ({ ...record, slivers: record.slivers.filter((s) => !isOurs(s)) }))
  await noteEvent(at, slice, { kind: 'allocation-dropped', text: `${listed(made.map((s) => s.clientId))} given back: they could not be provisioned`, who })
}
