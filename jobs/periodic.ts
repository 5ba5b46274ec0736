// What happens by the clock: snapshots of a policy, the end of leases, and what a failure left to be done again. None of
// it ever stands in a user's way.
import { Refusal } from '../base/errors.js'
import { token } from '../base/random.js'
import { readableOr } from '../base/records.js'
import { noteEvent } from '../slices/event.js'
import { listed } from '../slices/operation-events.js'
import type { OperationKind } from '../slices/operation.js'
import { beginOperation } from '../slices/slice-lock.js'
import type { OperationQueue } from '../slices/slice-store.js'
import { provisioned, type SliceRecord } from '../slices/slice.js'
import { isWaiting } from '../slices/sliver.js'
import type { SnapshotEntry } from '../snapshots/needs.js'
import { leaseWho } from './kept-snapshots.js'
import type { Schedulers, Tick } from './queues.js'
import { outlived } from './retention.js'
import { policyWho, type JobParts } from './surroundings.js'

const orphanedMs = 30_000
const againMs = 15_000

export interface PeriodicParts extends JobParts { queue: OperationQueue; schedulers: Schedulers }

/** A firing of a slice's scheduler: one snapshot, unless the slice is not in a state for it. */
export async function snapshotTick(at: PeriodicParts, tick: Tick): Promise<void> {
  const slice = await at.store.slice(tick.slice)
  if (!slice?.policy?.intervalMs || slice.shutdown) return
  const why = hindrance(slice) ?? await at.room.objection(at, slice)
  if (why !== undefined) {
    at.log.info({ slice: slice.urn, why }, 'periodic snapshot skipped')
    const text = `the last periodic snapshot was skipped: ${why}`
    await at.store.update(slice.urn, (record) => ({ ...record, lastSnapshot: text }))
    // once for each reason in a row: a slice that stays as it is must not fill its log with it
    if (slice.lastSnapshot !== text) await noteEvent(at, slice, { kind: 'snapshot-skipped', text: `a periodic snapshot was skipped: ${why}`, who: 'policy' })
    return
  }
  try {
    const { operation } = await beginOperation(at, slice.urn, {
      kind: 'snapshot', who: policyWho, why: 'the interval of the checkpoint policy', callId: '-', params: { snapshot: `s-${token(at.random, 6)}` },
    }, (record) => {
      const changed = hindrance({ ...record, operation: null }) // since we looked
      if (changed !== undefined) throw new Refusal('busy', changed)
    })
    await at.queue.add(operation)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error // a user's call came first
  }
}

function hindrance(slice: SliceRecord): string | undefined {
  if (slice.operation && !isRetention(slice)) return `the slice was busy with ${slice.operation.kind}`
  const slivers = provisioned(slice)
  const notReady = slivers.find((s) => s.operational !== 'geni_ready')
  if (notReady) return `${notReady.clientId} was ${notReady.operational}`
  return slivers.length === 0 ? 'there is nothing to save' : undefined
}

/** The policy's own removal of an old snapshot: the next one need not be skipped for it, its job only waits a moment. */
const isRetention = ({ operation }: SliceRecord): boolean => operation?.byPolicy === true && operation.kind === 'delete-snapshot'

/**
 * The `max_age` of a policy holds also while no new snapshot comes. What goes is an operation, as every change of a slice: so
 * it never meets a rollback to the same snapshot. One for each look.
 */
export async function retireOld(at: PeriodicParts): Promise<void> {
  for (const slice of await at.store.slices()) {
    const maxAgeMs = slice.policy?.maxAgeMs
    if (maxAgeMs === undefined || slice.operation || slice.shutdown) continue
    const entries = (await at.store.snapshots(slice.uuid)) as SnapshotEntry[]
    const [old] = outlived(entries, { keep: entries.length, maxAgeMs }, slice.head, at.clock.now())
    if (!old || !(await mayTryAgain(at, slice, 'delete-snapshot'))) continue
    try {
      const { operation } = await beginOperation(at, slice.urn, {
        kind: 'delete-snapshot', who: policyWho, why: 'it is older than the max_age of the checkpoint policy', callId: '-', params: { snapshot: old.id },
      }, (record) => {
        if (record.token !== slice.token + 1 || record.head === old.id) throw new Refusal('busy', 'another operation came first')
      })
      await at.queue.add(operation)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error // a user's call came first
    }
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
 * A job may have been lost, with Redis, with an AM that died before it added it, or because Redis did not answer at its
 * end: it is added again (adding twice is adding once). A lock without an operation at work is given up after a while, and
 * what waited for it is told.
 */
export async function mendLocks(at: PeriodicParts): Promise<void> {
  for (const slice of await at.store.slices()) {
    if (!slice.operation) continue
    const { id, kind, since } = slice.operation
    const operation = await readableOr(() => at.store.operation(id), (why) => at.log.error({ slice: slice.urn, why }, 'an operation is lost'))
    if (operation?.ended === '') await at.queue.add(operation)
    else if (at.clock.now() - Date.parse(since) > orphanedMs) {
      const given = { up: false }
      await at.store.update(slice.urn, (record) => {
        given.up = record.operation?.id === id // else it has ended since we looked
        if (!given.up) return undefined
        const why = `the ${kind} that began at ${since} was lost`
        for (const sliver of record.slivers.filter((s) => isWaiting(s.operational))) {
          Object.assign(sliver, { operational: 'geni_failed', error: why, resourceStatus: why })
        }
        return { ...record, operation: null }
      })
      if (!given.up) continue
      at.log.warn({ slice: slice.urn, id }, 'a lock without an operation at work is given up')
      await noteEvent(at, slice, { kind: 'operation-failed', text: `the ${kind} that began at ${since} was lost: the slice is free again`, op: id })
    }
  }
}

/** Slivers whose lease has ended go, whatever else is under way. */
export async function expireSlivers(at: PeriodicParts): Promise<void> {
  const now = at.clock.now()
  for (const slice of await at.store.slices()) {
    if (slice.operation?.kind === 'delete') continue
    const over = slice.slivers.filter((s) => Date.parse(s.expires) <= now)
    if (over.length === 0 || !(await mayTryAgain(at, slice, 'delete'))) continue
    await noteEvent(at, slice, { kind: 'lease-ended', text: `the lease of ${listed(over.map((s) => s.clientId))} has ended`, who: leaseWho })
    await beginDelete(at, slice, over.map((s) => s.id), leaseWho, 'the lease has ended')
  }
}

/** A Delete or a Shutdown must come to its end: what a host that was away has kept from it is tried again. */
export async function finishEndings(at: PeriodicParts): Promise<void> {
  for (const slice of await at.store.slices()) {
    if (slice.operation) continue
    const leaving = slice.slivers.filter((s) => s.allocation === 'geni_unallocated')
    if (leaving.length === 0 && !slice.shutdown) continue // most: nothing more is read for them, every second
    const [last] = await at.store.operations(slice.urn, 1)
    if (leaving.length > 0) {
      if (await mayTryAgain(at, slice, 'delete')) {
        await beginDelete(at, slice, leaving.map((s) => s.id), last?.kind === 'delete' ? last.who : slice.creator, 'an earlier Delete failed')
      }
    } else if (slice.shutdown && provisioned(slice).some((s) => s.operational !== 'geni_notready') && await mayTryAgain(at, slice, 'shutdown')) {
      const { operation } = await beginOperation(at, slice.urn, {
        kind: 'shutdown', who: last?.who ?? slice.creator, why: 'an earlier Shutdown failed', callId: '-', preempts: true,
      }, () => undefined)
      await at.queue.add(operation)
    }
  }
}

/** Not at once after it failed: a host that is away makes every try a long one. */
async function mayTryAgain(at: PeriodicParts, slice: SliceRecord, kind: OperationKind): Promise<boolean> {
  const [last] = await at.store.operations(slice.urn, 1)
  return last?.kind !== kind || last.state !== 'failed' || at.clock.now() - Date.parse(last.ended) >= againMs
}

async function beginDelete(at: PeriodicParts, slice: SliceRecord, ids: string[], who: string, why: string): Promise<void> {
  const { operation } = await beginOperation(at, slice.urn, {
    kind: 'delete', who, why, callId: '-', params: { slivers: ids }, preempts: true,
  }, (record) => {
    for (const sliver of record.slivers.filter((s) => ids.includes(s.id))) sliver.allocation = 'geni_unallocated'
  })
  await at.queue.add(operation)
}
