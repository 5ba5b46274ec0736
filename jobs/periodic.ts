// What happens by the clock: snapshots of a policy, and the end of leases. Neither ever stands in a user's way.
import { Refusal } from '../base/errors.js'
import { token } from '../base/random.js'
import { beginOperation } from '../slices/slice-lock.js'
import type { OperationQueue } from '../slices/slice-store.js'
import { provisioned } from '../slices/slice.js'
import type { Schedulers, Tick } from './queues.js'
import type { JobParts } from './surroundings.js'

const orphanedMs = 30_000

export interface PeriodicParts extends JobParts { queue: OperationQueue; schedulers: Schedulers }

/** A firing of a slice's scheduler: one snapshot, unless the slice is not in a state for it. */
export async function snapshotTick(at: PeriodicParts, tick: Tick): Promise<void> {
  const slice = await at.store.slice(tick.slice)
  if (!slice?.policy?.intervalMs || slice.shutdown) return
  const slivers = provisioned(slice)
  const notReady = slivers.find((s) => s.operational !== 'geni_ready')
  const why = slice.operation ? `the slice was busy with ${slice.operation.kind}` : notReady ? `${notReady.clientId} was ${notReady.operational}` : undefined
  if (why !== undefined || slivers.length === 0) {
    at.log.info({ slice: slice.urn, why }, 'periodic snapshot skipped')
    await at.store.update(slice.urn, (record) => ({ ...record, lastSnapshot: `the last periodic snapshot was skipped: ${why ?? 'there is nothing to save'}` }))
    return
  }
  try {
    const { operation } = await beginOperation(at, slice.urn, {
      kind: 'snapshot', who: 'policy', why: 'the interval of the checkpoint policy', callId: '-', params: { snapshot: `s-${token(at.random, 6)}` },
    }, () => undefined)
    await at.queue.add(operation)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error // a user's call came first
  }
}

/** Every slice with a policy and running VMs has a scheduler, and no other one. */
export async function keepSchedules(at: PeriodicParts): Promise<void> {
  for (const slice of await at.store.slices()) {
    const ready = provisioned(slice).some((s) => s.operational === 'geni_ready')
    if (slice.policy?.intervalMs && ready && !slice.shutdown) await at.schedulers.set(slice.uuid, slice.urn, slice.policy.intervalMs)
    else await at.schedulers.remove(slice.uuid)
  }
}

/**
 * An AM that died between taking a slice and adding the job leaves it locked with nobody at work: the job is added again
 * (adding it twice is adding it once), and a lock without an operation's record is given up after a while.
 */
export async function mendLocks(at: PeriodicParts): Promise<void> {
  for (const slice of await at.store.slices()) {
    if (!slice.operation) continue
    const { id, since } = slice.operation
    const operation = await at.store.operation(id)
    if (operation?.state === 'queued') await at.queue.add(operation)
    else if ((!operation || operation.ended !== '') && at.clock.now() - Date.parse(since) > orphanedMs) {
      at.log.warn({ slice: slice.urn, id }, 'a lock without an operation at work is given up')
      await at.store.update(slice.urn, (record) => (record.operation?.id === id ? { ...record, operation: null } : undefined))
    }
  }
}

/** Slivers whose lease has ended go, whatever else is under way. */
export async function expireSlivers(at: PeriodicParts): Promise<void> {
  const now = at.clock.now()
  for (const slice of await at.store.slices()) {
    if (slice.operation?.kind === 'delete') continue
    const over = slice.slivers.filter((s) => Date.parse(s.expires) <= now)
    if (over.length === 0) continue
    const { operation } = await beginOperation(at, slice.urn, {
      kind: 'delete', who: 'lease', why: 'the lease has ended', callId: '-', params: { slivers: over.map((s) => s.id) }, preempts: true,
    }, (record) => {
      for (const sliver of record.slivers.filter((s) => over.some((o) => o.id === s.id))) sliver.allocation = 'geni_unallocated'
    })
    await at.queue.add(operation)
  }
}
