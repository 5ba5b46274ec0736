import assert from 'node:assert/strict'
import { recoverSlices } from '../../../jobs/recovery.js'
import type { CheckpointPolicy } from '../../../rspec/topology.js'
import type { SliceRecord } from '../../../slices/slice.js'
import { aSliver } from '../../a-slice.js'
import { worker } from './worker.js'

/** A slice of two running VMs with a policy, and a snapshot of it six seconds ago unless it shall have none. */
async function guarded(policy: Partial<CheckpointPolicy>, more: { snapshot?: boolean } = {}) {
  const w = await worker()
  const slice = await w.slice({ policy: { keep: 8, intervalMs: 10_000, ...policy } })
  const snapshot = async (): Promise<string> => {
    const { id } = await w.begin(slice, 'snapshot', { who: 'policy', params: { snapshot: `s-${w.time.at}` } }, 'violin_snapshotting')
    await w.run(id)
    return `s-${w.time.at}`
  }
  const first = more.snapshot === false ? '' : await snapshot()
  w.time.at += 6_000
  /** One look, and the operation that it has begun, if any. */
  async function look(): Promise<string | undefined> {
    const before = w.queue.added.length
    await recoverSlices(w.parts)
    const [operation] = w.queue.added.slice(before)
    if (operation) await w.run(operation.id)
    return operation?.kind
  }
  async function kill(vm = 'v-a'): Promise<void> {
    w.hosts.set(vm, 'dead', 'its QEMU process was ended by SIGKILL')
    await w.settled()
  }
  const now = (): Promise<SliceRecord> => w.record(slice)
  return { ...w, slice, first, snapshot, look, kill, now }
}

describe('recovery by the policy', () => {
  it('rolls the whole slice back to its latest snapshot when a VM has died, and tells what that cost', async () => {
    const g = await guarded({ onFailure: 'rollback' })
    await g.kill()
    assert.deepEqual(await g.states(g.slice), ['geni_failed', 'geni_ready'])
    assert.equal(await g.look(), 'rollback')
    const record = await g.now()
    assert.deepEqual([record.slivers.map((s) => s.operational), record.head, record.operation], [['geni_ready', 'geni_ready'], g.first, null])
    assert.match(record.slivers[0]!.resourceStatus, /recovered by itself \(a: its QEMU process was ended by SIGKILL\): the work of 6 s since the snapshot is lost; rolled back/)
    assert.equal(record.slivers[0]!.error, '')
    assert.equal(await g.look(), undefined)
  })

  it('suspends the slice at its latest snapshot, from which it can be resumed', async () => {
    const g = await guarded({ onFailure: 'suspend' })
    await g.kill()
    assert.equal(await g.look(), 'halt')
    const record = await g.now()
    assert.deepEqual([record.slivers.map((s) => [s.operational, s.error]), record.head], [[['violin_suspended', ''], ['violin_suspended', '']], g.first])
    assert.deepEqual((await g.hosts.reports('h1')).map((r) => r.condition), ['stopped', 'stopped'])
    await g.run((await g.begin(g.slice, 'resume', { params: { snapshot: g.first } }, 'violin_resuming')).id)
    assert.deepEqual(await g.states(g.slice), ['geni_ready', 'geni_ready'])
  })

  it('stops all of it where the policy says fail', async () => {
    const g = await guarded({ onFailure: 'fail' })
    await g.kill()
    assert.equal(await g.look(), 'halt')
    const { slivers } = await g.now()
    assert.deepEqual(slivers.map((s) => s.operational), ['geni_failed', 'geni_failed'])
    assert.match(slivers[1]!.error, /stopped by the policy: a: its QEMU process was ended by SIGKILL/)
    assert.equal(await g.look(), undefined)
  })

  it('stops it later where a host would not let it at first, though the policy says fail', async () => {
    const g = await guarded({ onFailure: 'fail' })
    await g.kill()
    g.hosts.failing.set('stopVm', 'the host is busy')
    assert.equal(await g.look(), 'halt')
    g.hosts.failing.clear()
    g.time.at += 60_000
    assert.equal(await g.look(), 'halt')
    assert.deepEqual(await g.states(g.slice), ['geni_failed', 'geni_failed'])
    g.time.at += 60_000
    assert.equal(await g.look(), undefined)
  })

  it('recovers a slice though another one cannot be recovered at this moment', async () => {
    const g = await guarded({ onFailure: 'rollback' })
    await g.kill()
    const other = { ...structuredClone(await g.now()), urn: `${g.slice.urn}-other`, uuid: '00000000-0000-4000-8000-0000000000ff' }
    await g.store.create(other)
    const list = g.snapshots.list.bind(g.snapshots)
    g.snapshots.list = async (uuid) => { if (uuid === other.uuid) throw new Error('its folder cannot be read'); return list(uuid) }
    assert.equal(await g.look(), 'rollback')
    assert.deepEqual(await g.states(g.slice), ['geni_ready', 'geni_ready'])
  })

  for (const policy of [{}, { onFailure: 'continue' as const }]) {
    it(`leaves the others running where it says ${policy.onFailure ?? 'nothing'}`, async () => {
      const g = await guarded(policy)
      await g.kill()
      assert.equal(await g.look(), undefined)
      assert.deepEqual(await g.states(g.slice), ['geni_failed', 'geni_ready'])
    })
  }

  it('says what it lacks when there is no snapshot of today\'s nodes', async () => {
    const g = await guarded({ onFailure: 'rollback' }, { snapshot: false })
    await g.kill()
    assert.equal(await g.look(), undefined)
    assert.match((await g.now()).slivers[0]!.error, /SIGKILL; there is no snapshot of today's nodes to go back to/)
    const other = await guarded({ onFailure: 'rollback' })
    await other.store.update(other.slice.urn, (r) => ({ ...r, slivers: [...r.slivers, aSliver('c')] }))
    await other.kill()
    assert.equal(await other.look(), undefined)
    assert.match((await other.now()).slivers[0]!.error, /no snapshot of today's nodes/)
  })

  it('tries again later each time, a bounded number of times, and then tells the whole story', async () => {
    const g = await guarded({ onFailure: 'rollback', retries: 3 })
    await g.kill()
    const waits: number[] = []
    for (let attempt = 0; attempt < 3; attempt++) {
      g.snapshots.failNext = 'the host is full'
      const from = g.time.at
      while (await g.look() === undefined) g.time.at += 100
      waits.push(g.time.at - from)
    }
    assert.deepEqual(waits, [0, 1_000, 2_000])
    g.time.at += 30_000
    assert.equal(await g.look(), undefined)
    const { slivers } = await g.now()
    assert.equal(slivers[0]!.operational, 'geni_failed')
    assert.match(slivers[0]!.error, /given up after 3 recoveries in a row: .*SIGKILL; .*the host is full/)
    g.time.at += 3_600_000
    assert.equal(await g.look(), undefined)
  })

  it('is bounded for a slice that dies again as soon as it is back', async () => {
    const g = await guarded({ onFailure: 'rollback', retries: 2 })
    for (let i = 0; i < 2; i++) {
      await g.kill()
      g.time.at += 2_000
      assert.equal(await g.look(), 'rollback')
    }
    await g.kill()
    g.time.at += 4_000
    assert.equal(await g.look(), undefined)
    assert.match((await g.now()).slivers[0]!.error, /given up after 2 recoveries/)
  })

  it('counts anew once there was a new snapshot, or a minute without a failure', async () => {
    const g = await guarded({ onFailure: 'rollback', retries: 1 })
    await g.kill()
    assert.equal(await g.look(), 'rollback')
    g.time.at += 1_000
    const second = await g.snapshot()
    await g.kill('v-b')
    assert.equal(await g.look(), 'rollback')
    assert.equal((await g.now()).head, second)
    g.time.at += 61_000
    await g.kill()
    assert.equal(await g.look(), 'rollback')
    g.time.at += 61_000
    await g.look()
    assert.equal((await g.now()).recovery, undefined)
  })

  it('begins anew after a user has mended what it had given up', async () => {
    const g = await guarded({ onFailure: 'rollback', retries: 0 })
    await g.kill()
    assert.equal(await g.look(), undefined)
    assert.match((await g.now()).slivers[0]!.error, /given up after 0 recoveries/)
    await g.run((await g.begin(g.slice, 'rollback', { params: { snapshot: g.first } }, 'violin_rolling_back')).id)
    await g.look()
    assert.equal((await g.now()).recovery, undefined)
  })

  it('leaves alone a slice that is busy, shut down, or of which its user has stopped a part', async () => {
    const g = await guarded({ onFailure: 'rollback' })
    await g.kill()
    const record = await g.now()
    const changes: Partial<SliceRecord>[] = [
      { shutdown: true }, { slivers: record.slivers.map((s) => (s.clientId === 'b' ? { ...s, operational: 'geni_notready' as const } : s)) },
      { operation: { id: 'x', kind: 'snapshot', since: '2026-03-01T12:00:00Z', byPolicy: false } },
    ]
    for (const change of changes) {
      await g.store.update(g.slice.urn, (r) => ({ ...r, ...change }))
      assert.equal(await g.look(), undefined, JSON.stringify(Object.keys(change)))
      await g.store.update(g.slice.urn, (r) => ({ ...r, shutdown: false, slivers: record.slivers, operation: null }))
    }
    assert.equal(await g.look(), 'rollback')
  })
})
