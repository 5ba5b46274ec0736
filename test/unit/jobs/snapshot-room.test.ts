import assert from 'node:assert/strict'
import { retireOld, snapshotTick } from '../../../jobs/periodic.js'
import type { SliceRecord } from '../../../slices/slice.js'
import { aSlice, aSliver } from '../../a-slice.js'
import { worker } from './worker.js'

type Worker = Awaited<ReturnType<typeof worker>>
const policy = { intervalMs: 10_000, keep: 8 }
const mebi = 2 ** 20

/** One firing of the clock, with the job that it brings. */
async function tick(w: Worker, slice: SliceRecord): Promise<void> {
  w.time.at += 10_000
  await snapshotTick(w.parts, { tick: 'snapshot', slice: slice.urn })
  for (const operation of w.queue.added.splice(0)) await w.run(operation.id)
}
const ids = async (w: Worker, slice: SliceRecord) => (await w.snapshots.list(slice.uuid)).map((e) => e.id)
const named = (w: Worker, slice: SliceRecord, id: string) => w.begin(slice, 'snapshot', { params: { snapshot: id, name: `n-${id}` } })

describe('room for snapshots', () => {
  it('under a quota is made by older ones of the policy, and neither named ones nor those of a user go', async () => {
    const w = await worker({ quotas: { 'slice-snapshots-bytes': 4000 } })
    w.snapshots.disk.each = 1000
    const slice = await w.slice({ policy, slivers: [aSliver('a', { node: { ...aSliver('a').node, memoryMiB: 0 } })] })
    await w.run((await named(w, slice, 's-mine')).id)
    for (let i = 0; i < 6; i++) await tick(w, slice)
    const entries = await w.snapshots.list(slice.uuid)
    assert.deepEqual(entries.map((e) => e.origin), ['user', 'policy', 'policy', 'policy'])
    assert.equal((await w.record(slice)).head, entries.at(-1)!.id)
    assert.deepEqual(await w.store.snapshots(slice.uuid), entries, 'the copy says the same')
  })

  it('that cannot be made is told in Status, and nothing has gone in vain', async () => {
    const w = await worker({ quotas: { 'slice-snapshots-bytes': 2500 } })
    const slice = await w.slice({ policy, slivers: [aSliver('a', { node: { ...aSliver('a').node, memoryMiB: 0 } })] })
    for (const id of ['s-1', 's-2']) await w.run((await named(w, slice, id)).id)
    await tick(w, slice)
    assert.deepEqual(await ids(w, slice), ['s-1', 's-2'])
    assert.match((await w.record(slice)).lastSnapshot,
      /^the last periodic snapshot was skipped: quota slice-snapshots-bytes: .* 1.9 KiB of at most 2.4 KiB, and this one needs about 1000 bytes: remove some/)
    assert.equal((await w.store.operations(slice.urn, 10)).length, 2, 'no operation for what cannot be')
  })

  it('before the first snapshot is reckoned with all memory of the VMs', async () => {
    const w = await worker({ quotas: { 'user-snapshots-bytes': 255 * mebi } })
    const slice = await w.slice({ policy })
    await tick(w, slice)
    assert.match((await w.record(slice)).lastSnapshot, /quota user-snapshots-bytes: .* 0 bytes of at most 255 MiB, and this one needs about 256 MiB/)
    const enough = await worker({ quotas: { 'user-snapshots-bytes': 256 * mebi } })
    const other = await enough.slice({ policy })
    await tick(enough, other)
    assert.equal((await ids(enough, other)).length, 1)
  })

  it('of a user counts all slices of that user, and what waits after the end of a lease', async () => {
    const w = await worker({ quotas: { 'user-snapshots-bytes': 256 * mebi + 1500 } })
    const slice = await w.slice({ policy })
    await w.store.create(aSlice('other'))
    await w.store.saveSnapshots(aSlice('other').uuid, [{ bytes: 1000 }])
    await w.store.create(aSlice('foreign', { creator: 'urn:publicid:IDN+ch.example+user+bob' }))
    await w.store.saveSnapshots(aSlice('foreign').uuid, [{ bytes: 1e12 }])
    assert.equal(await w.parts.room.objection(w.parts, slice), undefined)
    await w.store.keep({ format: 1, uuid: 'gone', urn: 'urn:gone', owner: slice.creator, until: '2030-01-01T00:00:00Z' })
    await w.store.saveSnapshots('gone', [{ bytes: 501 }])
    assert.match((await w.parts.room.objection(w.parts, slice))!, /of all slices of .*alice have 1.4 KiB/)
  })

  it('is not given twice: of two cuts at once of one user the second is refused while the first is under way', async () => {
    const w = await worker({ quotas: { 'user-snapshots-bytes': 300 * mebi } })
    const slice = await w.slice()
    const second = aSlice('exp2', { run: 'r1' })
    await w.store.create(second)
    let operation: Awaited<ReturnType<Worker['begin']>> | undefined
    w.snapshots.meanwhile = async () => {
      w.snapshots.meanwhile = undefined
      operation = await w.begin(second, 'snapshot', { params: { snapshot: 's-2' } }, 'violin_snapshotting')
      await w.run(operation.id)
    }
    await w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } }, 'violin_snapshotting')).id)
    assert.deepEqual([await ids(w, slice), await ids(w, second)], [['s-1'], []])
    assert.match((await w.ended(operation!)).error, /quota user-snapshots-bytes: .* have 256 MiB of at most 300 MiB/)
    assert.deepEqual([await w.states(slice), await w.states(second)], [['geni_ready', 'geni_ready'], ['geni_ready', 'geni_ready']])
  })

  it('on a full disk is made the same way, and a layer that frees nothing does not stop it', async () => {
    const w = await worker({ floorBytes: 5000 })
    const slice = await w.slice({ policy })
    w.snapshots.disk.free = 8500
    for (let i = 0; i < 4; i++) await tick(w, slice) // 4500 are free after the fourth
    const before = await ids(w, slice)
    const remove = w.snapshots.remove.bind(w.snapshots)
    w.snapshots.remove = async (uuid, id) => {
      w.snapshots.remove = remove
      await remove(uuid, id)
      w.snapshots.disk.free -= 1000 // the first one shares its layer with others
    }
    await tick(w, slice)
    const after = await ids(w, slice)
    assert.deepEqual(after.slice(0, -1), before.slice(2))
    assert.equal(w.snapshots.disk.free, 4500)
  })

  it('on a full disk with nothing that may go is told, and the newest stays', async () => {
    const w = await worker({ floorBytes: 5000 })
    const slice = await w.slice({ policy })
    await tick(w, slice)
    w.snapshots.disk.free = 4000
    await tick(w, slice)
    assert.equal((await ids(w, slice)).length, 1)
    assert.match((await w.record(slice)).lastSnapshot, /skipped: only 3.9 KiB are free where snapshots are kept, 4.8 KiB must stay free/)
  })
})

describe('retention by age and bytes', () => {
  it('holds after each snapshot of the policy', async () => {
    const w = await worker()
    const slice = await w.slice({ policy: { ...policy, maxBytes: 2500 } })
    for (let i = 0; i < 5; i++) await tick(w, slice)
    assert.equal((await ids(w, slice)).length, 2)
    await w.store.update(slice.urn, (r) => ({ ...r, policy: { ...policy, maxAgeMs: 25_000 } }))
    for (let i = 0; i < 5; i++) await tick(w, slice)
    assert.equal((await ids(w, slice)).length, 3)
    await w.store.update(slice.urn, (r) => ({ ...r, policy: { ...policy, maxBytes: 1 } }))
    await tick(w, slice)
    assert.deepEqual(await ids(w, slice), [(await w.record(slice)).head], 'the newest stays, however large')
  })

  async function aged() {
    const w = await worker()
    const slice = await w.slice({ policy: { ...policy, maxAgeMs: 60_000 } })
    for (let i = 0; i < 3; i++) await tick(w, slice)
    const look = async () => {
      await retireOld(w.parts)
      for (const operation of w.queue.added.splice(0)) await w.run(operation.id)
    }
    return { w, slice, look, first: await ids(w, slice) }
  }

  it('holds by the clock too, one operation at a time, and leaves the newest and the head', async () => {
    const { w, slice, look, first } = await aged()
    await w.store.update(slice.urn, (r) => ({ ...r, head: first[0]! }))
    const text = (await w.record(slice)).slivers[0]!.resourceStatus
    w.time.at += 60_001 - 20_000
    await look()
    assert.deepEqual(await ids(w, slice), first, 'the oldest is the head, the next is not old enough')
    w.time.at += 3_600_000
    for (let i = 0; i < 3; i++) await look()
    assert.deepEqual(await ids(w, slice), [first[0], first[2]])
    const [last] = await w.store.operations(slice.urn, 1)
    assert.deepEqual([last!.kind, last!.who, last!.state], ['delete-snapshot', 'policy', 'done'])
    assert.equal((await w.record(slice)).slivers[0]!.resourceStatus, text, 'nobody asked, so nobody is told')
  })

  it('never stands in the way of a user, nor of the next snapshot', async () => {
    const { w, slice, first } = await aged()
    w.time.at += 3_600_000
    await retireOld(w.parts)
    const [removal] = w.queue.added.splice(0)
    await snapshotTick(w.parts, { tick: 'snapshot', slice: slice.urn })
    const [snapshot] = w.queue.added.splice(0)
    await Promise.all([w.run(removal!.id), w.run(snapshot!.id)])
    assert.equal((await w.ended(snapshot!)).state, 'done')
    await retireOld(w.parts)
    const rollback = await w.begin(slice, 'rollback', { params: { snapshot: first[0]! } }, 'violin_rolling_back')
    for (const operation of w.queue.added.splice(0)) await w.run(operation.id)
    assert.equal((await w.record(slice)).operation?.id, rollback.id)
  })

  it('does nothing while the slice is at something else, was shut down, or went back to that snapshot since the look', async () => {
    const { w, slice, first } = await aged()
    w.time.at += 3_600_000
    const update = w.store.update.bind(w.store)
    w.store.update = async (urn, change, alongside) => {
      w.store.update = update
      await update(urn, (r) => ({ ...r, head: first[0]! }))
      return update(urn, change, alongside)
    }
    await retireOld(w.parts)
    await w.store.update(slice.urn, (r) => ({ ...r, shutdown: true }))
    await retireOld(w.parts)
    await w.store.update(slice.urn, (r) => ({ ...r, shutdown: false }))
    await w.begin(slice, 'stop')
    await retireOld(w.parts)
    assert.deepEqual(w.queue.added, [])
  })
})
