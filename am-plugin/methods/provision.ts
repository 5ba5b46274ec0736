// Provision(urns, credentials, options): slivers that are allocated become VMs (disks and configuration; not running).
import { Refusal } from '../../base/errors.js'
import { rfc3339 } from '../../base/time.js'
import type { Login } from '../../rspec/topology.js'
import { grantedExpiry } from '../../slices/lease.js'
import type { Operation } from '../../slices/operation.js'
import { beginOperation } from '../../slices/slice-lock.js'
import type { SliceRecord } from '../../slices/slice.js'
import type { Sliver } from '../../slices/sliver.js'
import {
  expiredText, findTarget, manifestOf, missingStructs, mustHaveSlivers, refuseExpired, refuseOtherSlice, refuseShutDown, sliverStruct,
  type AmCall, type AmParts, type Granted,
} from '../context.js'
import { checkRspecVersion, credentialsArgument, flag, optionsArgument, timeOption, urnsArgument, usersOption } from '../options.js'
import type { Value } from '../xmlrpc/value.js'

export async function provision(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const options = optionsArgument(params[2])
  const bestEffort = flag(options, 'geni_best_effort')
  const target = await findTarget(at, urnsArgument(params[0]), bestEffort)
  const granted = call.authorize(credentialsArgument(params[1]), 'change', target.sliceUrn)
  checkRspecVersion(options, false)
  const logins = usersOption(options)
  const slice = mustHaveSlivers(target)
  refuseOtherSlice(slice, granted)
  refuseShutDown(slice, granted)
  const waiting = target.slivers.filter((s) => s.allocation === 'geni_allocated')
  if (waiting.length === 0) throw new Refusal('not-found', `slice ${slice.urn} has no slivers that wait for Provision`)
  const strangers = target.bySlice ? [] : target.slivers.filter((s) => s.allocation !== 'geni_allocated')
  if (strangers[0] && !bestEffort) throw new Refusal('unsupported', doneAlready(strangers[0]))
  const wanted = bestEffort ? waiting.filter((s) => expiredText(at, s) === undefined) : waiting
  refuseExpired(at, wanted.length > 0 ? wanted : waiting)
  const failed = [
    ...strangers.map((s) => sliverStruct(s, { geni_error: doneAlready(s) })),
    ...waiting.filter((s) => !wanted.includes(s)).map((s) => sliverStruct(s, { geni_error: expiredText(at, s)! })),
    ...missingStructs(at, target),
  ]
  const expires = provisionedUntil(at, granted, timeOption(options, 'geni_end_time'))
  const ids = wanted.map((s) => s.id)
  const { after, operation } = await provisionSlivers(at, call, { slice, granted, ids, expires, logins, boot: false })
  const done = after.slivers.filter((s) => ids.includes(s.id))
  return {
    geni_rspec: await manifestOf(at, after, done), geni_urn: after.urn, geni_slivers: [...done.map((s) => sliverStruct(s)), ...failed],
    violin_operation: operation.id,
  }
}

const doneAlready = (sliver: Sliver): string => `sliver ${sliver.urn} is provisioned already`

/** The end of a lease that begins now; `wanted` is clipped to what may be. */
export function provisionedUntil(at: AmParts, granted: Granted, wanted: number | undefined): number {
  const now = at.clock.now()
  const expires = grantedExpiry({ now, credentialExpires: granted.expires, allocation: 'geni_provisioned' }, wanted)
  if (expires <= now) throw new Refusal('bad-arguments', 'geni_end_time is in the past')
  return expires
}

interface Asked { slice: SliceRecord; granted: Granted; ids: string[]; expires: number; logins: Login[]; boot: boolean }

/** Takes the slice for the operation that makes VMs of these slivers, and with `boot` starts them. */
export async function provisionSlivers(
  at: AmParts, call: AmCall, { slice, granted, ids, expires, logins, boot }: Asked,
): Promise<{ after: SliceRecord; operation: Operation }> {
  const { slice: after, operation } = await beginOperation(at, slice.urn, {
    kind: 'provision', who: granted.owner, why: boot ? 'CreateSliver' : 'Provision', callId: call.callId, params: { slivers: ids, ...(boot ? { boot } : {}) },
  }, (record) => {
    const still = record.slivers.filter((s) => ids.includes(s.id) && s.allocation === 'geni_allocated')
    if (still.length < ids.length) throw new Refusal('not-found', `slivers of ${record.urn} were deleted or provisioned in the meantime`)
    record.credentialExpires = rfc3339(granted.expires)
    for (const sliver of still) {
      Object.assign(sliver, {
        allocation: 'geni_provisioned', operational: boot ? 'geni_configuring' : 'geni_notready', expires: rfc3339(expires), logins,
        resourceStatus: 'being provisioned',
      } satisfies Partial<Sliver>)
    }
  })
  await at.queue.add(operation)
  return { after, operation }
}
