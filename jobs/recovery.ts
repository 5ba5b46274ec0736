// What the `on_failure` of a checkpoint policy does when a VM has died, without anybody's call: bring the whole slice back to
// its latest snapshot, put it to sleep there, or stop it. Tried again a bounded number of times, each later than the one
// before; a slice that has come to a new snapshot since, or has run for a while, has recovered.
import { explain, Refusal } from '../base/errors.js'
import { rfc3339 } from '../base/time.js'
import { maxRetries } from '../rspec/checkpoint.js'
import type { CheckpointPolicy } from '../rspec/topology.js'
import { noteEvent } from '../slices/event.js'
import { beginOperation } from '../slices/slice-lock.js'
import { provisioned, type Recovery, type SliceRecord } from '../slices/slice.js'
import type { SnapshotEntry } from '../snapshots/needs.js'
import type { PeriodicParts } from './periodic.js'

/** Stands as the one who asked, in operations that nobody asked for. */
export const recoveryWho = 'recovery'

const wellAfterMs = 60_000
const firstWaitMs = 1_000
const longestWaitMs = 30_000
const keptLines = 20

/** Looks at every slice once. Cheap where nothing has failed; call it often. */
export async function recoverSlices(at: PeriodicParts): Promise<void> {
  for (const slice of await at.store.slices()) {
    if (slice.operation || slice.shutdown) continue
    const failed = provisioned(slice).filter((s) => s.operational === 'geni_failed')
    if (failed.length === 0) await forgetRecovery(at, slice)
    else if (isWhole(slice) && onFailureOf(slice) !== 'continue') {
      // one slice that cannot be recovered now (somebody was quicker, or Redis failed) must not keep the others from it
      await recover(at, slice, failed.map((s) => `${s.clientId}: ${s.resourceStatus}`).join('; ')).catch((error: unknown) => {
        if (!(error instanceof Refusal)) at.log.error({ slice: slice.urn, why: explain(error) }, 'a recovery could not begin: it is tried again')
      })
    }
  }
}

const onFailureOf = (slice: SliceRecord): NonNullable<CheckpointPolicy['onFailure']> => slice.policy?.onFailure ?? 'continue'

/** A slice of which its user has stopped a part, or that still boots, is left to its user. */
const isWhole = (slice: SliceRecord): boolean => provisioned(slice).every((s) => ['geni_ready', 'geni_failed'].includes(s.operational))

async function recover(at: PeriodicParts, slice: SliceRecord, cause: string): Promise<void> {
  const before = slice.recovery && !hasComeOn(at, slice, slice.recovery) ? slice.recovery : undefined
  if (before?.over || (before && at.clock.now() < Date.parse(before.notBefore))) return
  const attempts = before?.attempts ?? 0
  const action = onFailureOf(slice)
  const snapshot = action === 'fail' ? undefined : await latestOf(at, slice)
  if (action !== 'fail' && !snapshot) return giveUp(at, slice, `${cause}; there is no snapshot of today's nodes to go back to`)
  if (attempts >= (slice.policy?.retries ?? maxRetries)) {
    return giveUp(at, slice, `${cause}; given up after ${attempts} recoveries in a row: ${(before?.story ?? []).join('; ') || 'the policy allows none'}`)
  }
  const now = at.clock.now()
  const recovery: Recovery = {
    attempts: attempts + 1, last: rfc3339(now), snapshot: snapshot?.id ?? '', over: false,
    notBefore: rfc3339(now + Math.min(longestWaitMs, firstWaitMs * 2 ** attempts)),
    story: [...before?.story ?? [], `${rfc3339(now)} ${cause}`].slice(-keptLines),
  }
  const { operation } = await beginOperation(at, slice.urn, {
    kind: action === 'rollback' ? 'rollback' : 'halt', who: recoveryWho, why: cause, callId: '-', params: snapshot ? { snapshot: snapshot.id } : {},
  }, (record, begun) => {
    if (!isWhole(record) || provisioned(record).every((s) => s.operational === 'geni_ready')) throw new Refusal('busy', 'it was mended since we looked')
    record.recovery = recovery
    begun.params = { ...begun.params, was: Object.fromEntries(provisioned(record).map((s) => [s.id, s.operational])) }
    for (const sliver of provisioned(record)) {
      if (action === 'rollback') sliver.operational = 'violin_rolling_back'
      sliver.resourceStatus = `${cause}: ${action} by the policy, attempt ${recovery.attempts}`
    }
  })
  at.log.warn({ slice: slice.urn, op: operation.id, cause, action, attempt: recovery.attempts }, 'the slice is being recovered by its policy')
  await at.queue.add(operation)
}

/** What the policy cannot mend is told on the slivers that failed, once. */
async function giveUp(at: PeriodicParts, slice: SliceRecord, why: string): Promise<void> {
  at.log.error({ slice: slice.urn, why }, 'the slice cannot be recovered by its policy')
  const given = { up: false }
  await at.store.update(slice.urn, (record) => {
    given.up = record.operation === null
    if (!given.up) return undefined
    const now = rfc3339(at.clock.now())
    record.recovery = { attempts: 0, snapshot: '', story: [], ...record.recovery, last: now, notBefore: now, over: true }
    for (const sliver of provisioned(record).filter((s) => s.operational === 'geni_failed')) sliver.error = why
    return record
  })
  if (!given.up) return
  const action = onFailureOf(slice)
  if (action !== 'continue') at.meter?.recoveryEnded(action, 'given-up')
  await noteEvent(at, slice, { kind: 'recovery-given-up', text: why, who: recoveryWho })
}

/** Has it done well since? Then what comes now is a new failure and not the old one again. */
function hasComeOn(at: PeriodicParts, slice: SliceRecord, recovery: Recovery): boolean {
  if (recovery.over) return false
  return slice.head !== recovery.snapshot || at.clock.now() - Date.parse(recovery.last) > wellAfterMs
}

async function forgetRecovery(at: PeriodicParts, slice: SliceRecord): Promise<void> {
  const { recovery } = slice
  if (!recovery || (!recovery.over && !hasComeOn(at, slice, recovery))) return
  await at.store.update(slice.urn, (record) => {
    if (record.operation !== null || record.recovery?.last !== recovery.last) return undefined
    delete record.recovery
    return record
  })
}

/** The newest snapshot of exactly the nodes that the slice has today: no other can be gone back to. */
async function latestOf(at: PeriodicParts, slice: SliceRecord): Promise<SnapshotEntry | undefined> {
  const today = provisioned(slice).map((s) => s.id).sort().join()
  return (await at.snapshots.list(slice.uuid)).filter((e) => e.members.map((m) => m.vm).sort().join() === today).at(-1)
}
