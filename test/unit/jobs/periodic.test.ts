import assert from 'node:assert/strict'
import { sweepKept } from '../../../jobs/kept-snapshots.js'
import { expireSlivers, keepSchedules, mendLocks, snapshotTick } from '../../../jobs/periodic.js'
import { rfc3339 } from '../../../base/time.js'
import type { SliceRecord } from '../../../slices/slice.js'
import { aSliver, noon } from '../../a-slice.js'
import { day, worker } from './worker.js'

type Worker = Awaited<ReturnType<typeof worker>>
const policy = { intervalMs: 10_000, keep: 3 }
const tick = (w: Worker, slice: SliceRecord) => snapshotTick(w.parts, { tick: 'snapshot', slice: slice.urn })

async function runAdded(w: Worker): Promise<void> {
  for (const operation of w.queue.added.splice(0)) await w.run(operation.id)
}

describe('periodic snapshots', () => {
  it('are taken of slices whose VMs are all ready, without any change of state that a user would see', async () => {
    const w = await worker()
    const slice = await w.slice({ policy })
    await tick(w, slice)
    assert.deepEqual(w.queue.added.map((o) => [o.kind, o.who]), [['snapshot', 'policy']])
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_ready'])
    await runAdded(w)
    assert.deepEqual((await w.snapshots.list(slice.uuid)).map((e) => e.origin), ['policy'])
  })

  it('are skipped, and say why, while the slice is busy or a VM is not ready', async () => {
    const w = await worker()
    const slice = await w.slice({ policy })
    await w.begin(slice, 'stop', {}, 'geni_stopping')
    await tick(w, slice)
    assert.equal((await w.record(slice)).lastSnapshot, 'the last periodic snapshot was skipped: the slice was busy with stop')
    await w.store.update(slice.urn, (r) => ({ ...r, operation: null }))
    await tick(w, slice)
    assert.match((await w.record(slice)).lastSnapshot, /a was geni_stopping$/)
    assert.equal(w.queue.added.length, 0)
  })

  it('leave alone a slice that changed between look and lock', async () => {
    const w = await worker()
    const slice = await w.slice({ policy })
    const update = w.store.update.bind(w.store)
    w.store.update = async (urn, change, alongside) => {
      w.store.update = update
      await update(urn, (r) => ({ ...r, slivers: [aSliver('a', { operational: 'geni_notready' })] }))
      return update(urn, change, alongside)
    }
    await tick(w, slice)
    assert.deepEqual([w.queue.added, (await w.record(slice)).operation], [[], null])
  })

  it('have a schedule exactly while a slice has a policy with an interval and a VM that runs', async () => {
    const w = await worker()
    const slice = await w.slice({ policy })
    await keepSchedules(w.parts)
    assert.deepEqual([...w.schedules], [[slice.uuid, 10_000]])
    await w.run((await w.begin(slice, 'stop')).id)
    await keepSchedules(w.parts)
    assert.equal(w.schedules.size, 0)
  })
})

describe('the end of a lease', () => {
  const over = rfc3339(noon - 1)

  it('takes away exactly the slivers whose time is over, whatever holds the slice', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a', { expires: over }), aSliver('b')] })
    const snapshot = await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } })
    await expireSlivers(w.parts)
    await expireSlivers(w.parts)
    assert.equal(w.queue.added.length, 1, 'one Delete, however often we look')
    await runAdded(w)
    assert.deepEqual((await w.record(slice)).slivers.map((s) => s.clientId), ['b'])
    assert.equal(w.hosts.condition('v-a'), undefined)
    await w.run(snapshot.id)
    assert.equal((await w.ended(snapshot)).state, 'pre-empted')
  })

  it('keeps the snapshots for their owner for the grace time, then they go', async () => {
    const w = await worker()
    const slice = await w.slice()
    await w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } })).id)
    w.time.at += 2 * day
    await expireSlivers(w.parts)
    await runAdded(w)
    assert.equal(await w.store.slice(slice.urn), undefined)
    assert.deepEqual((await w.store.kept()).map((k) => [k.uuid, k.owner, k.until]), [[slice.uuid, slice.creator, rfc3339(noon + 9 * day)]])
    w.time.at += 7 * day - 1000
    await sweepKept(w.parts)
    assert.equal((await w.snapshots.list(slice.uuid)).length, 1)
    w.time.at += 1000
    await sweepKept(w.parts)
    assert.deepEqual([await w.snapshots.list(slice.uuid), await w.store.snapshots(slice.uuid), await w.store.kept()], [[], [], []])
  })

  it('a slice that lives again within the grace time has its snapshots back', async () => {
    const w = await worker()
    const slice = await w.slice()
    await w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } })).id)
    w.time.at += 2 * day
    await expireSlivers(w.parts)
    await runAdded(w)
    await w.store.create(slice)
    w.time.at += 30 * day
    await sweepKept(w.parts)
    assert.deepEqual([(await w.snapshots.list(slice.uuid)).length, await w.store.kept()], [1, []])
  })

  it('a user who deletes the last sliver has said that the work may go', async () => {
    const w = await worker()
    const slice = await w.slice()
    await w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } })).id)
    await w.run((await w.begin(slice, 'delete', { params: { slivers: ['v-a', 'v-b'] } })).id)
    assert.deepEqual([await w.snapshots.list(slice.uuid), await w.store.kept(), await w.store.slice(slice.urn)], [[], [], undefined])
  })

  it('with the host away is tried again later, and not without a pause', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a', { expires: over })] })
    w.hosts.away.add('h1')
    await expireSlivers(w.parts)
    await runAdded(w)
    await expireSlivers(w.parts)
    assert.equal(w.queue.added.length, 0)
    w.hosts.away.clear()
    w.time.at += 20_000
    await expireSlivers(w.parts)
    await runAdded(w)
    assert.equal(await w.store.slice(slice.urn), undefined)
  })
})

describe('locks', () => {
  it('of an operation whose job may be lost: the job is added again', async () => {
    const w = await worker()
    const slice = await w.slice()
    const operation = await w.begin(slice, 'stop')
    await mendLocks(w.parts)
    await w.store.saveOperation({ ...operation, state: 'running' })
    await mendLocks(w.parts)
    assert.deepEqual(w.queue.added.map((o) => o.id), [operation.id, operation.id])
  })

  it('without an operation at work are given up after a while, and slivers that waited for it are failed and say why', async () => {
    const w = await worker()
    const slice = await w.slice({
      operation: { id: 'snapshot-1', kind: 'snapshot', since: rfc3339(noon), byPolicy: false }, slivers: [aSliver('a', { operational: 'violin_snapshotting' }), aSliver('b')],
    })
    await mendLocks(w.parts)
    assert.notEqual((await w.record(slice)).operation, null)
    w.time.at += 31_000
    await mendLocks(w.parts)
    const { operation, slivers } = await w.record(slice)
    assert.deepEqual([operation, slivers.map((s) => [s.operational, s.error !== ''])], [null, [['geni_failed', true], ['geni_ready', false]]])
  })
})
