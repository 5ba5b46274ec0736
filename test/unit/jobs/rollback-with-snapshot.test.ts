import assert from 'node:assert/strict'
import { realClock, until } from '../../../base/time.js'
import type { Operation } from '../../../slices/operation.js'
import type { SliceRecord } from '../../../slices/slice.js'
import type { RestoreRequest, SnapshotRequest } from '../../../snapshots/needs.js'
import { removeByRetention } from '../../../jobs/snapshot-room.js'
import { worker } from './worker.js'

type Worker = Awaited<ReturnType<typeof worker>>
const isCut = (request: SnapshotRequest | RestoreRequest): request is SnapshotRequest => 'id' in request
const steps = (w: Worker) => w.snapshots.requests.map((r) => (isCut(r) ? `cut ${r.id}` : `restore ${r.snapshot}`))

/** A slice with the snapshot s-1, and a rollback to it that is to keep the present as s-2. */
async function begun(more: Partial<SliceRecord> = {}): Promise<{ w: Worker; slice: SliceRecord; operation: Operation }> {
  const w = await worker()
  const slice = await w.slice(more)
  await w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } })).id)
  w.snapshots.requests.length = 0
  const params = { snapshot: 's-1', first: { snapshot: 's-2', name: 'kept', note: 'the failed upgrade' } }
  const operation = await w.begin(slice, 'rollback', { params }, 'violin_rolling_back')
  return { w, slice, operation }
}

describe('a rollback that keeps the present first', () => {
  it('takes the snapshot, then rolls back: one operation, both in its result, the list and Status', async () => {
    const { w, slice, operation } = await begun()
    await w.run(operation.id)
    assert.deepEqual(steps(w), ['cut s-2', 'restore s-1'])
    const [cut, restore] = w.snapshots.requests as [SnapshotRequest, RestoreRequest]
    assert.deepEqual([cut.name, cut.note, cut.parent, cut.origin, cut.kind], ['kept', 'the failed upgrade', 's-1', 'user', 'live'])
    assert.deepEqual([restore.token, restore.epoch], [operation.token, cut.epoch + 1])
    const record = await w.record(slice)
    assert.deepEqual([record.head, record.operation, await w.states(slice)], ['s-1', null, ['geni_ready', 'geni_ready']])
    assert.match(record.slivers[0]!.resourceStatus, /^rolled back to snapshot s-1: running again after 900 ms.*; what was before is kept as snapshot kept$/)
    const ended = await w.ended(operation)
    assert.deepEqual([ended.state, ended.result['snapshot'], ended.result['first']], ['done', 's-1', 's-2'])
    assert.deepEqual((await w.store.snapshots(slice.uuid)).map((e) => (e as { id: string; note?: string }).note), [undefined, 'the failed upgrade'])
  })

  it('does not roll back when the snapshot is aborted: the VMs run on and the reason is told', async () => {
    const { w, slice, operation } = await begun()
    w.snapshots.failNext = 'only 3 bytes are free'
    await w.run(operation.id)
    assert.deepEqual(steps(w), ['cut s-2'])
    const record = await w.record(slice)
    assert.deepEqual([record.head, record.run, record.operation, await w.states(slice)], ['s-1', slice.run, null, ['geni_ready', 'geni_ready']])
    assert.match(record.slivers[0]!.resourceStatus, /^rollback to snapshot s-1 failed: the snapshot s-2 of the present has failed, so nothing was rolled back: only 3 bytes are free$/)
    assert.equal(record.slivers[0]!.error, '')
    assert.deepEqual([(await w.ended(operation)).state, (await w.ended(operation)).error.includes('only 3 bytes')], ['failed', true])
  })

  it('a VM that dies in the snapshot is failed afterwards, and nothing is rolled back', async () => {
    const { w, slice, operation } = await begun()
    w.snapshots.meanwhile = async () => {
      w.hosts.set('v-b', 'dead', 'killed')
      await w.settled()
    }
    await w.run(operation.id)
    assert.deepEqual(steps(w), ['cut s-2'])
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_failed'])
  })

  it('after the death of the worker before the snapshot was committed there is neither a second cut nor a rollback', async () => {
    const { w, slice, operation } = await begun()
    await w.store.saveOperation({ ...operation, state: 'running' })
    await w.run(operation.id)
    assert.deepEqual(steps(w), [])
    assert.equal((await w.ended(operation)).state, 'failed')
    assert.deepEqual([await w.states(slice), (await w.record(slice)).head], [['geni_ready', 'geni_ready'], 's-1'])
  })

  it('after the death of the worker between both steps the committed snapshot counts, and the rollback is done', async () => {
    const { w, slice, operation } = await begun()
    const seen = await w.record(slice)
    w.snapshots.restore = () => new Promise(() => undefined) // the worker dies in it
    void w.run(operation.id)
    assert.ok(await until(realClock, 30_000, 1, async () => ((await w.record(slice)).head === 's-2' ? true : undefined)))
    assert.deepEqual(steps(w), ['cut s-2'])
    assert.equal((await w.record(slice)).epoch, seen.epoch + 1, 'what the first step has changed is on record before the second begins')

    const next = await worker()
    Object.assign(next.parts, { store: w.store, hosts: w.hosts })
    const asked: RestoreRequest[] = []
    Object.assign(next.parts.snapshots, {
      take: () => { throw new Error('a second cut') }, list: (uuid: string) => w.snapshots.list(uuid),
      restore: async (request: RestoreRequest) => { asked.push(request); return { run: 'r2', epoch: request.epoch + 1, runningMs: 5 } },
    })
    await next.run(operation.id)
    const committed = (await w.store.events(slice.uuid, 100)).filter((e) => e.kind === 'snapshot-committed' && e.op === operation.id)
    assert.equal(committed.length, 1, 'told once')
    assert.deepEqual([asked.length, asked[0]!.snapshot, asked[0]!.token], [1, 's-1', operation.token])
    assert.notEqual(asked[0]!.op, operation.id, 'begun anew, under a name of its own')
    const record = await w.record(slice)
    assert.deepEqual([record.head, record.run, record.operation], ['s-1', 'r2', null])
    assert.deepEqual((await w.ended(operation)).state, 'done')
  })

  it('Delete that comes in the first step ends it: nothing is rolled back', async () => {
    const { w, slice, operation } = await begun()
    let deleting: Promise<unknown> | undefined
    w.snapshots.meanwhile = async () => {
      deleting = w.run((await w.begin(slice, 'delete', { preempts: true, params: { slivers: ['v-a', 'v-b'] } })).id)
    }
    await w.run(operation.id)
    await deleting
    assert.deepEqual(steps(w), ['cut s-2'])
    assert.equal((await w.ended(operation)).state, 'pre-empted')
  })

  it('a rollback that fails after its snapshot says that the present is kept', async () => {
    const { w, slice, operation } = await begun()
    const restore = w.snapshots.restore.bind(w.snapshots)
    w.snapshots.restore = async (request) => { w.snapshots.failNext = 'its digest is wrong'; return restore(request) }
    await w.run(operation.id)
    const record = await w.record(slice)
    assert.match(record.slivers[0]!.resourceStatus, /^rollback to snapshot s-1 failed: its digest is wrong; what was before is kept as snapshot kept$/)
    assert.deepEqual([record.head, await w.states(slice)], ['s-2', ['geni_ready', 'geni_ready']])
  })

  it('the retention of a snapshot by policy that it came upon leaves the one that is gone back to', async () => {
    const w = await worker()
    const slice = await w.slice({ policy: { keep: 1 } })
    const policy = async (id: string) => w.begin(slice, 'snapshot', { who: 'policy', params: { snapshot: id } })
    for (const id of ['s-1', 's-2']) {
      w.time.at += 1000
      await w.run((await policy(id)).id)
    }
    assert.deepEqual((await w.snapshots.list(slice.uuid)).map((e) => e.id), ['s-2'])
    const last = await policy('s-3')
    let rollback: Promise<unknown> | undefined
    const take = w.snapshots.take.bind(w.snapshots)
    w.snapshots.take = async (request, preempted) => {
      const cut = await take(request)
      // committed, and the user comes before the policy has looked at its retention
      if (request.id === 's-3') {
        rollback = w.run((await w.begin(slice, 'rollback', { params: { snapshot: 's-2', first: { snapshot: 's-4' } } }, 'violin_rolling_back')).id)
      }
      return preempted?.aborted && request.id !== 's-3' ? { committed: false, reason: 'given way', run: '', epoch: 0 } : cut
    }
    await w.store.update(slice.urn, (record) => ({ ...record, head: '' }))
    await w.run(last.id)
    await rollback
    assert.match((await w.record(slice)).slivers[0]!.resourceStatus, /^rolled back to snapshot s-2: /)
    assert.deepEqual((await w.snapshots.list(slice.uuid)).map((e) => e.id), ['s-2', 's-3', 's-4'])
  })

  it('is not robbed of its snapshot by one of the policy that makes room for itself', async () => {
    const { w, slice, operation } = await begun()
    const [entry] = await w.snapshots.list(slice.uuid)
    await removeByRetention(w.parts, slice, entry!, 'to make room for the next one')
    assert.equal((await w.snapshots.list(slice.uuid)).length, 1)
    await w.run(operation.id)
    await removeByRetention(w.parts, slice, entry!, 'to make room for the next one')
    assert.deepEqual((await w.snapshots.list(slice.uuid)).map((e) => e.id), ['s-2'])
  })
})
