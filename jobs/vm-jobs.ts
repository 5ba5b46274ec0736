// Operations on the VMs of a slice: define, start, stop, destroy. Each may run again after a worker's death and does then
// what is left to do.
import { explain, Failure } from '../base/errors.js'
import { nextRun } from '../overlay/run.js'
import { noteEvent } from '../slices/event.js'
import type { Operation } from '../slices/operation.js'
import type { Mandate } from '../slices/needs.js'
import { provisioned, type SliceRecord } from '../slices/slice.js'
import { endOperation, holds } from '../slices/slice-lock.js'
import type { Sliver } from '../slices/sliver.js'
import { vmSpecOf } from '../slices/vm-spec-of.js'
import { fetchImages, type Postponed } from './fetch-images.js'
import { keepSnapshots, leaseWho, removeSnapshots } from './kept-snapshots.js'
import type { JobParts } from './surroundings.js'
import { noteHosts } from './vm-watch.js'

const maximaMs = 10_000

const chosen = (slice: SliceRecord, operation: Operation): Sliver[] =>
  slice.slivers.filter((s) => operation.params.slivers?.includes(s.id) ?? true)

/** Does something to each chosen sliver at once; slivers where it failed become geni_failed with the reason. */
async function onEach(
  at: JobParts, slice: SliceRecord, operation: Operation, verb: string, act: (sliver: Sliver) => Promise<void>, then: (sliver: Sliver) => void,
  also: (record: SliceRecord) => void = () => undefined,
): Promise<void> {
  const slivers = chosen(slice, operation)
  const wrong = new Map<string, string>()
  await Promise.all(slivers.map(async (sliver) => {
    try {
      await act(sliver)
    } catch (error) {
      wrong.set(sliver.id, `it could not be ${verb}: ${explain(error)}`)
    }
  }))
  if (operation.kind === 'provision') await noteHosts(at) // what these take is counted before the lock goes
  const [first] = wrong.values()
  await endOperation(at, operation, first === undefined ? { state: 'done' } : { state: 'failed', error: first }, (record) => {
    also(record)
    for (const sliver of chosen(record, operation)) {
      const why = wrong.get(sliver.id)
      if (why === undefined) then(sliver)
      else Object.assign(sliver, { operational: 'geni_failed', error: why, resourceStatus: why })
    }
  })
}

/**
 * Hosts remember an earlier slice of this UUID and refuse its tokens: the next operation's is higher than theirs. With `boot`
 * each VM is started as soon as it is there: API v2 has no other call for it.
 */
export async function provisionJob(at: JobParts, slice: SliceRecord, operation: Operation): Promise<Postponed | undefined> {
  const postponed = await fetchImages(at, slice, chosen(slice, operation), operation)
  if (postponed) return postponed
  let token = 0
  const boot = operation.params.boot === true
  const run = boot ? await runOf(at, slice, operation) : undefined
  if (boot && run === undefined) return undefined // another operation came first
  await onEach(at, slice, operation, 'provisioned', async (sliver) => {
    const lost = operation.params.lost?.[sliver.id]
    if (lost !== undefined) throw new Failure('failed', lost)
    await at.hosts.defineVm(sliver.host, vmSpecOf(slice, sliver))
    token = Math.max(token, (await at.hosts.ask(sliver.host, 'maxima', { slice: slice.uuid }, maximaMs)).token)
    if (run) await at.hosts.startVm(sliver.host, sliver.id, run)
  }, (sliver) => {
    if (!run) sliver.resourceStatus = 'provisioned: geni_start boots it'
  }, (record) => { record.token = Math.max(record.token, token) })
  return undefined
}

/** Boots VMs. They become geni_ready when their login answers (jobs/vm-watch.ts), which this does not wait for. */
export async function startJob(at: JobParts, slice: SliceRecord, operation: Operation): Promise<void> {
  const run = await runOf(at, slice, operation)
  if (run === undefined) return
  const restart = operation.kind === 'restart'
  await onEach(at, slice, operation, 'started', async (sliver) => {
    if (restart) await at.hosts.stopVm(sliver.host, sliver.id, mandate(slice, operation))
    await at.hosts.startVm(sliver.host, sliver.id, run)
  }, (sliver) => { if (sliver.operational !== 'geni_failed') sliver.error = '' }) // it may have died in the meantime
}

export async function stopJob(at: JobParts, slice: SliceRecord, operation: Operation): Promise<void> {
  await onEach(at, slice, operation, 'stopped', (sliver) => at.hosts.stopVm(sliver.host, sliver.id, mandate(slice, operation)), (sliver) => {
    Object.assign(sliver, { operational: 'geni_notready', error: '', resourceStatus: 'stopped' })
  })
}

/** A VM whose accounts could not be changed runs on with those that it had. */
export async function updateUsersJob(at: JobParts, slice: SliceRecord, operation: Operation): Promise<void> {
  const logins = operation.params.logins ?? []
  const tried = await Promise.all(chosen(slice, operation).map(async (sliver) => {
    try {
      await at.hosts.setLogins(sliver.host, sliver.id, logins)
      return { id: sliver.id, why: undefined }
    } catch (error) {
      return { id: sliver.id, why: `its accounts could not be changed: ${explain(error)}` }
    }
  }))
  const first = tried.find((t) => t.why !== undefined)?.why
  await endOperation(at, operation, first === undefined ? { state: 'done' } : { state: 'failed', error: first }, (record) => {
    for (const sliver of chosen(record, operation)) {
      const why = tried.find((t) => t.id === sliver.id)?.why
      if (why === undefined) sliver.logins = logins
      if (sliver.operational !== 'geni_updating_users') continue // it has died meanwhile
      Object.assign(sliver, { operational: 'geni_ready', error: why ?? '', resourceStatus: why ?? 'its accounts were changed' })
    }
  })
}

/** The policy's `suspend` and `fail`: nothing of the slice runs on beside a VM that has died. Asleep, it can be resumed from its snapshot. */
export async function haltJob(at: JobParts, slice: SliceRecord, operation: Operation): Promise<void> {
  const { snapshot } = operation.params
  const text = snapshot === undefined ? `stopped by the policy: ${operation.why}` : `suspended by the policy at snapshot ${snapshot}: ${operation.why}`
  await stopEvery(at, slice, operation)
  await endOperation(at, operation, { state: 'done', ...(snapshot !== undefined ? { result: { snapshot } } : {}) }, (record) => {
    if (snapshot !== undefined) record.head = snapshot
    else if (record.recovery) record.recovery.over = true
    for (const sliver of provisioned(record)) {
      Object.assign(sliver, {
        operational: snapshot === undefined ? 'geni_failed' : 'violin_suspended', error: snapshot === undefined ? text : '', resourceStatus: text,
      })
    }
  })
  await noteEvent(at, slice, { kind: 'recovered', text, op: operation.id, who: operation.who })
}

/** Every VM is tried: one host that is away must not let the others run on. */
async function stopEvery(at: JobParts, slice: SliceRecord, operation: Operation): Promise<void> {
  const tried = await Promise.allSettled(provisioned(slice).map((sliver) => at.hosts.stopVm(sliver.host, sliver.id, mandate(slice, operation))))
  for (const t of tried) if (t.status === 'rejected') throw new Failure('failed', 'not every VM could be stopped', { cause: t.reason })
}

/** After Shutdown nothing of the slice runs; what it has on disk stays for the operator. */
export async function shutdownJob(at: JobParts, slice: SliceRecord, operation: Operation): Promise<void> {
  await stopEvery(at, slice, operation)
  await endOperation(at, operation, { state: 'done' }, (record) => {
    for (const sliver of provisioned(record)) Object.assign(sliver, { operational: 'geni_notready', resourceStatus: 'the slice was shut down by its operator' })
  })
}

/**
 * Removes slivers; with the last one the slice and its snapshots go. Where the lease has ended and nobody has said that
 * the work may go, the snapshots wait for their owner.
 */
export async function deleteJob(at: JobParts, slice: SliceRecord, operation: Operation, forget: (slice: SliceRecord) => Promise<void>): Promise<void> {
  const gone = chosen(slice, operation)
  for (const sliver of gone) await at.hosts.destroyVm(sliver.host, sliver.id, mandate(slice, operation))
  await noteHosts(at) // the next Allocate may count on the room
  const left = slice.slivers.filter((s) => !gone.includes(s))
  if (left.length > 0) {
    return endOperation(at, operation, { state: 'done' }, (record) => { record.slivers = without(record, gone) })
  }
  if (operation.who === leaseWho) await keepSnapshots(at, slice)
  else await removeSnapshots(at, slice, operation.who)
  await forget(slice)
  await endOperation(at, operation, { state: 'done' }, (record) => { record.slivers = without(record, gone) })
  const now = await at.store.slice(slice.urn)
  if (now?.slivers.length === 0 && !now.shutdown) await at.store.remove(slice.urn, now.rev) // unless somebody allocates again
}

const mandate = ({ uuid }: SliceRecord, { token }: Operation): Mandate => ({ slice: uuid, token })

const without = (record: SliceRecord, gone: Sliver[]): Sliver[] => record.slivers.filter((s) => !gone.some((g) => g.id === s.id))

/** The run that VMs boot into: the slice's present one, or its first. Written down before anything boots in it. */
async function runOf(at: JobParts, slice: SliceRecord, operation: Operation): Promise<{ run: string; epoch: number } | undefined> {
  const hosts = [...new Set(slice.slivers.map((s) => s.host))]
  const seen = await Promise.all(hosts.map((host) => at.hosts.ask(host, 'maxima', { slice: slice.uuid }, maximaMs)))
  const epoch = Math.max(slice.epoch, ...seen.map((m) => m.k))
  if (slice.run !== '') return { run: slice.run, epoch }
  const run = nextRun(seen.map((m) => m.run), at.random) // hosts may remember an earlier slice of this UUID
  const record = await at.store.update(slice.urn, (now) => (holds(now, operation) ? { ...now, run, epoch: epoch + 1 } : undefined))
  return holds(record, operation) ? { run: record.run, epoch: record.epoch } : undefined
}
