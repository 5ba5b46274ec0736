import assert from 'node:assert/strict'
import type { Redis } from 'ioredis'
import type { Failure } from '../../base/errors.js'
import { Refusal } from '../../base/errors.js'
import { realRandom as random } from '../../base/random.js'
import { realClock as clock } from '../../base/time.js'
import { openRedis } from '../../jobs/queues.js'
import type { SliceEvent } from '../../slices/event.js'
import type { Operation } from '../../slices/operation.js'
import { openSliceStore } from '../../slices/redis-slice-store.js'
import { beginOperation, endOperation } from '../../slices/slice-lock.js'
import { aSlice, aSliver } from '../a-slice.js'
import { startRedis, type PrivateRedis } from './redis.js'

const operation = (id: string, slice: string): Operation => ({
  format: 1, rev: 1, id, kind: 'start', slice, who: 'alice', why: 'geni_start', callId: 'c', token: 1, state: 'queued', params: {}, result: {},
  error: '', created: '2026-03-01T12:00:00Z', ended: '',
})

const event = (n: number, slice: string): SliceEvent => ({
  at: '2026-03-01T12:00:00.000Z', slice, kind: 'vm-ready', text: `event ${n}`, op: '', who: '', node: 'a',
})

describe('the store of record in Redis', function () {
  this.timeout(30_000)
  let server: PrivateRedis
  let redis: Redis
  before(async () => {
    server = await startRedis()
    redis = openRedis({ path: server.path })
  })
  after(async () => {
    redis.disconnect()
    await server.close()
  })

  it('creates a slice once, finds it without regard to case, and by its slivers', async () => {
    const store = openSliceStore(redis)
    const slice = aSlice('exp1')
    assert.deepEqual(await Promise.all([store.create(slice), store.create(slice)]).then((made) => made.sort()), [false, true])
    assert.deepEqual(await store.slice(slice.urn.replace('exp1', 'EXP1')), slice)
    assert.equal((await store.sliceOfSliver(slice.slivers[1]!.urn.replace('lab.', 'LAB.')))?.urn, slice.urn)
    await store.update(slice.urn, (r) => ({ ...r, slivers: [aSliver('a')] }))
    assert.equal(await store.sliceOfSliver(slice.slivers[1]!.urn), undefined)
  })

  it('loses no write of many writers at once', async () => {
    const stores = [openSliceStore(redis), openSliceStore(redis)]
    const { urn } = aSlice('many')
    await stores[0]!.create(aSlice('many'))
    await Promise.all(Array.from({ length: 20 }, (_, i) => stores[i % 2]!.update(urn, (r) => ({ ...r, epoch: r.epoch + 1 }))))
    const { epoch, rev } = (await stores[0]!.slice(urn))!
    assert.deepEqual({ epoch, rev }, { epoch: 20, rev: 21 })
  })

  it('writes nothing when a change throws or declines', async () => {
    const store = openSliceStore(redis)
    const slice = aSlice('still')
    await store.create(slice)
    await assert.rejects(store.update(slice.urn, () => { throw new Refusal('busy', 'no') }, () => operation('start-still', slice.urn)), /no/)
    await store.update(slice.urn, (r) => { r.epoch = 9; return undefined }, () => operation('start-still', slice.urn))
    assert.deepEqual(await store.slice(slice.urn), slice)
    assert.equal(await store.operation('start-still'), undefined)
  })

  it('removes a slice only if nobody has changed it since', async () => {
    const store = openSliceStore(redis)
    const { urn } = aSlice('gone')
    await store.create(aSlice('gone'))
    await store.update(urn, (r) => ({ ...r, epoch: 1 }))
    assert.equal(await store.remove(urn, 1), false)
    assert.equal(await store.remove(urn, 2), true)
    assert.equal(await store.slice(urn), undefined)
    assert.ok(!(await store.slices()).some((s) => s.urn === urn))
    await assert.rejects(store.update(urn, (r) => r), /there is no slice/)
  })

  it('keeps the last 200 operations of a slice, newest first, each for a bounded time', async () => {
    const store = openSliceStore(redis)
    const { urn } = aSlice('busy')
    for (let i = 0; i < 205; i++) await store.saveOperation(operation(`start-${i}`, urn))
    await store.saveOperation({ ...operation('start-204', urn), state: 'done' })
    assert.deepEqual((await store.operations(urn, 3)).map((o) => [o.id, o.state]), [['start-204', 'done'], ['start-203', 'queued'], ['start-202', 'queued']])
    assert.equal((await store.operations(urn, 999)).length, 200)
    assert.equal(await store.operation('start-4'), undefined)
    assert.ok(await store.operation('start-5'))
    for (const key of ['op:start-204', `ops:${urn.toLowerCase()}`]) assert.ok((await redis.ttl(key)) > 0, key)
  })

  it('leaves an operation that has ended as it ended, also when a worker comes late', async () => {
    const store = openSliceStore(redis)
    const { urn } = aSlice('ended')
    const slow = operation('rollback-1', urn)
    await store.saveOperation(slow)
    await store.saveOperation({ ...slow, state: 'done', ended: slow.created })
    await store.saveOperation({ ...slow, state: 'running' })
    await store.saveOperation({ ...slow, state: 'pre-empted', ended: slow.created })
    assert.equal((await store.operation('rollback-1'))!.state, 'done')
    await redis.set('op:rollback-1', '{')
    await store.saveOperation(slow)
    assert.equal((await store.operation('rollback-1'))!.state, 'queued', 'one that cannot be read is no obstacle')
  })

  it('gives a slice to one of many operations that want it, and tokens only grow', async () => {
    const store = openSliceStore(redis)
    const { urn } = aSlice('lock')
    await store.create(aSlice('lock'))
    const at = { store, clock, random }
    const want = () => beginOperation(at, urn, { kind: 'start', who: 'alice', why: 'test', callId: 'c' }, () => undefined)
    const tried = await Promise.allSettled(Array.from({ length: 10 }, want))
    const won = tried.filter((t) => t.status === 'fulfilled')
    assert.equal(won.length, 1)
    for (const t of tried) if (t.status === 'rejected') assert.match((t.reason as Refusal).message, /busy with start since/)
    const first = won[0]!.value.operation
    assert.deepEqual(await store.operation(first.id), first)
    await endOperation(at, first, { state: 'done' }, () => undefined)
    const { operation: second } = await want()
    assert.deepEqual([first.token, second.token], [1, 2])
    assert.deepEqual((await store.operations(urn, 9)).map((o) => [o.id, o.state]), [[second.id, 'queued'], [first.id, 'done']])
  })

  it('keeps the newest 1000 events of a slice in the order in which they came, each slice its own, for a bounded time', async () => {
    const store = openSliceStore(redis)
    const { urn } = aSlice('told')
    assert.deepEqual(await store.events('u-told', 10), [])
    for (let i = 0; i < 1005; i++) await store.addEvent(i % 2 ? 'u-told' : 'U-TOLD', event(i, urn))
    await store.addEvent('u-other', event(1, urn))
    assert.deepEqual((await store.events('u-told', 2)).map((e) => e.text), ['event 1003', 'event 1004'])
    const all = await store.events('u-told', 5000)
    assert.deepEqual([all.length, all[0]], [1000, event(5, urn)])
    const ttl = await redis.ttl('events:u-told')
    assert.ok(ttl > 29 * 24 * 3600 && ttl <= 30 * 24 * 3600, String(ttl))
  })

  it('feeds the events of all slices with numbers that have no hole, so that a reader sees what it has missed', async () => {
    const store = openSliceStore(redis)
    const { feed } = store
    const before = await feed.last()
    const { urn } = aSlice('fed')
    await Promise.all(Array.from({ length: 20 }, (_, i) => store.addEvent(`u-fed-${i % 2}`, event(i, urn))))
    const fed = await feed.after(before, 100)
    assert.deepEqual(fed.map((f) => f.n), Array.from({ length: 20 }, (_, i) => before + 1 + i))
    assert.deepEqual(fed.map((f) => f.event.text).sort(), Array.from({ length: 20 }, (_, i) => `event ${i}`).sort())
    assert.deepEqual((await feed.after(before + 5, 3)).map((f) => f.n), [before + 6, before + 7, before + 8])
    assert.deepEqual([await feed.after(before + 20, 9), await feed.last()], [[], before + 20])
    for (let i = 0; i < 990; i++) await store.addEvent('u-fed-0', event(i, urn))
    assert.equal((await feed.after(before, 1))[0]!.n, before + 11) // the oldest 10 are gone
    assert.equal(await feed.read('hook'), undefined)
    await feed.noteRead('hook', 7)
    assert.deepEqual([await feed.read('hook'), await feed.read('other')], [7, undefined])
  })

  it('remembers snapshots whose slice is gone until they are forgotten', async () => {
    const store = openSliceStore(redis)
    const kept = { format: 1 as const, uuid: 'u-1', urn: aSlice('x').urn, owner: 'alice', until: '2026-03-08T12:00:00Z' }
    await store.keep(kept)
    assert.deepEqual(await store.kept(), [kept])
    await store.forgetKept('u-1')
    assert.deepEqual(await store.kept(), [])
  })

  it('refuses a record of a later format instead of misreading it', async () => {
    const store = openSliceStore(redis)
    const { urn } = aSlice('later')
    await redis.set(`slice:${urn.toLowerCase()}`, JSON.stringify({ ...aSlice('later'), format: 2 }))
    await assert.rejects(store.slice(urn), (e: Failure) => e.code === 'damaged' && e.message.includes('format 2'))
  })

  it('gives every other record where one cannot be read, tells of that one once, and writes nothing over it', async () => {
    await redis.flushall()
    const told: [string, string][] = []
    const store = openSliceStore(redis, (what, why) => told.push([what, why]))
    const [later, torn, well] = [aSlice('later', { slivers: [aSliver('z')] }), aSlice('torn'), aSlice('well')]
    for (const slice of [later, torn, well]) await store.create(slice)
    const key = (urn: string) => `slice:${urn.toLowerCase()}`
    await redis.set(key(later.urn), JSON.stringify({ ...later, format: 2 }))
    await redis.set(key(torn.urn), '{"format":1,"ur')
    for (let i = 0; i < 3; i++) assert.deepEqual((await store.slices()).map((s) => s.urn), [well.urn])
    assert.deepEqual(told.map(([what]) => what).sort(), [later.urn.toLowerCase(), torn.urn.toLowerCase()])
    assert.match(told.join(), /has format 2, this program understands 1/)
    await assert.rejects(store.update(torn.urn, (r) => r), /the record of .*torn is damaged/)
    await assert.rejects(store.sliceOfSliver(later.slivers[0]!.urn), /format 2/)
    assert.equal(await redis.get(key(torn.urn)), '{"format":1,"ur')

    for (const id of ['start-1', 'start-2']) await store.saveOperation(operation(id, well.urn))
    await redis.set('op:start-1', '{"format":2}')
    assert.deepEqual((await store.operations(well.urn, 9)).map((o) => o.id), ['start-2'])
    await store.keep({ format: 1, uuid: 'u-1', urn: well.urn, owner: 'alice', until: '2026-03-08T12:00:00Z' })
    await redis.hset('kept-snapshots', 'u-2', '{"format":2}')
    assert.deepEqual((await store.kept()).map((k) => k.uuid), ['u-1'])
  })
})
