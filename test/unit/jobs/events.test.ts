import assert from 'node:assert/strict'
import { silentLog } from '../../../base/log.js'
import { expireSlivers, mendLocks, snapshotTick } from '../../../jobs/periodic.js'
import { recoverSlices } from '../../../jobs/recovery.js'
import { noteHostChange, reconcile } from '../../../jobs/vm-watch.js'
import { noteEvent, type SliceEvent } from '../../../slices/event.js'
import { listed } from '../../../slices/operation-events.js'
import { aliceUrn, aSliver } from '../../a-slice.js'
import { openMemoryStore } from '../../fakes/memory-store.js'
import { day, worker } from './worker.js'

async function told(more: Parameters<Awaited<ReturnType<typeof worker>>['slice']>[0] = {}) {
  const w = await worker()
  const slice = await w.slice(more)
  const events = (): Promise<SliceEvent[]> => w.store.events(slice.uuid, 1000)
  const kinds = async () => (await events()).map((e) => e.kind)
  async function snapshot(id: string, who = aliceUrn): Promise<void> {
    await w.run((await w.begin(slice, 'snapshot', { who, params: { snapshot: id } }, 'violin_snapshotting')).id)
  }
  return { ...w, uuid: slice.uuid, of: slice, events, kinds, snapshot }
}

describe('the story of a slice', () => {
  it('tells begin and end of an operation, on whose behalf, and of which node', async () => {
    const w = await told({ slivers: [aSliver('a', { operational: 'geni_notready' }), aSliver('b', { operational: 'geni_notready' })] })
    const { id } = await w.begin(w.of, 'start', { params: { slivers: ['v-a'] } })
    await w.store.update(w.of.urn, (r) => { r.slivers[0]!.operational = 'geni_configuring'; return r })
    await w.run(id)
    w.hosts.set('v-a', 'ready')
    await w.settled()
    const at = '2026-03-01T12:00:00.000Z'
    const common = { at, slice: w.of.urn, op: id, who: aliceUrn, node: 'a' }
    assert.deepEqual(await w.events(), [
      { ...common, kind: 'operation-begun', text: 'start of a has begun' },
      { ...common, kind: 'operation-done', text: 'start of a is done' },
      { ...common, op: '', who: '', kind: 'vm-ready', text: 'a is up: its login answers' },
    ])
  })

  it('tells a death, the recovery that nobody called for, and what it cost, in this order', async () => {
    const w = await told({ policy: { keep: 8, onFailure: 'rollback' } })
    await w.snapshot('s-1')
    w.time.at += 6_000
    w.hosts.set('v-a', 'dead', 'its QEMU process was ended by SIGKILL')
    await w.settled()
    await recoverSlices(w.parts)
    await w.run(w.queue.added.at(-1)!.id)
    const events = await w.events()
    assert.deepEqual(events.map((e) => [e.kind, e.who, e.node]), [
      ['operation-begun', aliceUrn, ''], ['snapshot-committed', aliceUrn, ''], ['operation-done', aliceUrn, ''], ['vm-died', '', 'a'],
      ['operation-begun', 'recovery', ''], ['operation-done', 'recovery', ''], ['recovered', 'recovery', ''],
    ])
    assert.equal(events[3]!.text, 'a has died: its QEMU process was ended by SIGKILL')
    assert.equal(events[4]!.text, 'rollback to snapshot s-1 has begun: a: its QEMU process was ended by SIGKILL')
    assert.equal(events[5]!.text, 'rollback to snapshot s-1 is done: running again after 900 ms')
    assert.match(events[6]!.text, /^recovered by itself .*: the work of 6 s since the snapshot is lost; rolled back to snapshot s-1/)
    assert.deepEqual(new Set(events.slice(4).map((e) => e.op)), new Set([w.queue.added.at(-1)!.id]))
  })

  it('tells once that a recovery is given up', async () => {
    const w = await told({ policy: { keep: 8, onFailure: 'rollback' } })
    w.hosts.set('v-a', 'dead', 'gone')
    await w.settled()
    for (let i = 0; i < 3; i++) await recoverSlices(w.parts)
    assert.deepEqual(await w.kinds(), ['vm-died', 'recovery-given-up'])
    assert.match((await w.events())[1]!.text, /there is no snapshot of today's nodes to go back to/)
  })

  it('tells what the policy says to do without a way back as its end', async () => {
    const w = await told({ policy: { keep: 8, onFailure: 'fail' } })
    w.hosts.set('v-a', 'dead', 'gone')
    await w.settled()
    await recoverSlices(w.parts)
    await w.run(w.queue.added.at(-1)!.id)
    assert.deepEqual(await w.kinds(), ['vm-died', 'operation-begun', 'operation-done', 'recovered'])
    assert.equal((await w.events())[3]!.text, 'stopped by the policy: a: gone')
  })

  it('tells of periodic snapshots only what became of them, and removals by retention', async () => {
    const w = await told({ policy: { keep: 1, intervalMs: 5_000 } })
    for (const id of ['s-1', 's-2', 's-3']) await w.snapshot(id, 'policy')
    assert.deepEqual(await w.kinds(), ['snapshot-committed', 'snapshot-committed', 'snapshot-removed', 'snapshot-committed', 'snapshot-removed'])
    w.snapshots.failNext = 'the disk is full'
    await w.snapshot('s-4', 'policy')
    const [aborted, failed] = (await w.events()).slice(5)
    assert.deepEqual([aborted!.kind, aborted!.text], ['snapshot-aborted', 'snapshot s-4 failed: the disk is full'])
    assert.deepEqual([failed!.kind, failed!.text], ['operation-failed', 'snapshot s-4 failed: the disk is full'])
  })

  it('tells of skipped snapshots once for each reason in a row', async () => {
    const w = await told({ policy: { keep: 8, intervalMs: 5_000 }, slivers: [aSliver('a', { operational: 'geni_failed' }), aSliver('b')] })
    const tick = () => snapshotTick(w.parts, { tick: 'snapshot', slice: w.of.urn })
    for (let i = 0; i < 3; i++) await tick()
    await w.store.update(w.of.urn, (r) => { r.slivers[0]!.operational = 'geni_notready'; return r })
    await tick()
    assert.deepEqual((await w.events()).map((e) => [e.kind, e.text]), [
      ['snapshot-skipped', 'a periodic snapshot was skipped: a was geni_failed'], ['snapshot-skipped', 'a periodic snapshot was skipped: a was geni_notready'],
    ])
  })

  it('tells the end of a lease, the Delete that it brings and what is kept', async () => {
    const w = await told()
    await w.snapshot('s-1')
    w.time.at += 2 * day
    await expireSlivers(w.parts)
    await w.run(w.queue.added.at(-1)!.id)
    const events = (await w.events()).slice(3)
    assert.deepEqual(events.map((e) => [e.kind, e.who]), [
      ['lease-ended', 'lease'], ['operation-begun', 'lease'], ['lease-ended', 'lease'], ['operation-done', 'lease'],
    ])
    assert.deepEqual([events[0]!.text, events[3]!.text], ['the lease of a, b has ended', 'delete of a, b is done'])
    assert.match(events[2]!.text, /1 snapshots wait for their owner until 2026-03-10T12:00:00Z/)
  })

  it('tells an operation that gave way, one that failed, and one that was lost', async () => {
    const w = await told()
    const stop = await w.begin(w.of, 'stop', {}, 'geni_stopping')
    const shutdown = await w.begin(w.of, 'shutdown', { preempts: true })
    await w.run(stop.id)
    w.hosts.failing.set('stopVm', 'the host is busy')
    await w.run(shutdown.id)
    const lost = await w.begin(w.of, 'restart', {}, 'geni_configuring')
    await w.store.saveOperation({ ...lost, state: 'done', ended: lost.created })
    w.time.at += 60_000
    await mendLocks(w.parts)
    const failed = (await w.events()).filter((e) => e.kind === 'operation-failed')
    assert.deepEqual(failed.map((e) => e.op), [stop.id, shutdown.id, lost.id])
    assert.equal(failed[0]!.text, 'stop of a, b was given up: another operation came first')
    assert.match(failed[1]!.text, /^shutdown of the whole slice failed: not every VM could be stopped: the host is busy/)
    assert.match(failed[2]!.text, /^the restart that began at .* was lost/)
  })

  it('tells of a host only the slices that have VMs there, and finds after it what has died meanwhile', async () => {
    const w = await told()
    await w.store.create({ ...w.of, urn: `${w.of.urn}2`, uuid: 'other', slivers: [aSliver('c', { id: 'v-c', urn: 'urn:c', host: 'h2' })] })
    await noteHostChange(w.parts, 'h1', 'host-lost')
    w.hosts.set('v-b', 'stopped')
    await w.settled()
    await noteHostChange(w.parts, 'h1', 'host-back')
    await reconcile(w.parts)
    assert.deepEqual((await w.events()).map((e) => [e.kind, e.node]), [['host-lost', ''], ['host-back', ''], ['vm-died', 'b']])
    assert.deepEqual((await w.store.events('other', 9)).map((e) => e.kind), ['vm-died']) // its host knows nothing of it
  })
})

describe('an event', () => {
  it('that cannot be noted fails nothing, and the log says so', async () => {
    const warned: object[] = []
    const store = { ...openMemoryStore(), addEvent: () => Promise.reject(new Error('the disk is full')) }
    const log = Object.assign(Object.create(silentLog) as typeof silentLog, { warn: (what: object) => { warned.push(what) } })
    const clock = { now: () => 0, monotonic: () => 0, sleep: () => Promise.resolve() }
    await noteEvent({ store, clock, log }, { uuid: 'u', urn: 'urn:s' }, { kind: 'policy-set', text: 'as it was' })
    assert.deepEqual(warned, [{ slice: 'urn:s', kind: 'policy-set', text: 'as it was', why: 'the disk is full' }])
  })

  it('names few nodes all, and of many the first', () => {
    assert.deepEqual([listed([]), listed(['a']), listed(['a', 'b'])], ['no node', 'a', 'a, b'])
    assert.equal(listed(['a', 'b', 'c', 'd', 'e', 'f', 'g']), 'a, b, c, d, e and 2 more')
  })
})
