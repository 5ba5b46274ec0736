// Renew(urns, credentials, expiration_time, options): moves the end of leases, never past the credential.
import { Refusal } from '../../base/errors.js'
import { rfc3339 } from '../../base/time.js'
import { noteEvent } from '../../slices/event.js'
import { latestExpiry } from '../../slices/lease.js'
import { listed } from '../../slices/operation-events.js'
import type { Sliver } from '../../slices/sliver.js'
import {
  expiredText, findTarget, missingStructs, mustHaveSlivers, refuseExpired, refuseOtherSlice, refuseShutDown, sliverStruct, type AmCall, type AmParts,
} from '../context.js'
import { credentialsArgument, flag, optionsArgument, textArgument, timeArgument, urnsArgument } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

export async function renew(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const options = optionsArgument(params[3])
  const bestEffort = flag(options, 'geni_best_effort')
  const target = await findTarget(at, urnsArgument(params[0]), bestEffort)
  const granted = call.authorize(credentialsArgument(params[1]), 'change', target.sliceUrn)
  const wanted = timeArgument(textArgument(params[2], 'expiration_time'), 'expiration_time')
  const slice = mustHaveSlivers(target)
  refuseOtherSlice(slice, granted)
  refuseShutDown(slice, granted)
  if (!bestEffort) refuseExpired(at, target.slivers)
  const now = at.clock.now()
  if (wanted <= now) throw new Refusal('bad-arguments', `expiration_time ${rfc3339(wanted)} is in the past`)
  const clip = flag(options, 'geni_extend_alap')
  const errors = new Map<string, string>()
  const granting = new Map<string, string>()
  for (const sliver of target.slivers) {
    const allocation = sliver.allocation === 'geni_allocated' ? 'geni_allocated' : 'geni_provisioned'
    const latest = latestExpiry({ now, credentialExpires: granted.expires, allocation })
    const over = expiredText(at, sliver)
    if (over !== undefined) errors.set(sliver.id, over)
    else if (wanted > latest && !clip) {
      const why = `sliver ${sliver.urn} cannot be renewed to ${rfc3339(wanted)}: ${rfc3339(latest)} is the latest that your credential and this aggregate allow`
      if (!bestEffort) throw new Refusal('refused', why)
      errors.set(sliver.id, why)
    } else granting.set(sliver.id, rfc3339(Math.min(wanted, latest)))
  }
  const after = await at.store.update(slice.urn, (record) => {
    record.credentialExpires = rfc3339(granted.expires)
    for (const sliver of record.slivers) sliver.expires = granting.get(sliver.id) ?? sliver.expires
    return record
  })
  await noteEvent(at, slice, { kind: 'lease-renewed', text: renewedText(target.slivers, granting), who: granted.owner })
  const done = after.slivers.filter((s) => target.slivers.some((t) => t.id === s.id))
  return [...done.map((s) => sliverStruct(s, { geni_error: errors.get(s.id) ?? s.error })), ...missingStructs(at, target)]
}

function renewedText(slivers: Sliver[], granted: Map<string, string>): string {
  const moved = slivers.filter((s) => granted.has(s.id))
  const ends = [...new Set(granted.values())].sort()
  return moved.length === 0 ? 'no lease could be renewed' : `the lease of ${listed(moved.map((s) => s.clientId))} now ends at ${ends.join(', ')}`
}
