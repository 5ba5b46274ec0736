import assert from 'node:assert/strict'
import type { SnapshotRequest } from '../../../snapshots/needs.js'
import { aSliver } from '../../a-slice.js'
import { worker } from './worker.js'

const turn = () => new Promise((done) => setImmediate(done))

describe('snapshot operations', () => {
  it('a snapshot leaves the slice ready, is its new head, and is in the catalogue that the AM reads', async () => {
    const w = await worker()
    const slice = await w.slice({ head: 's-0' })
    const operation = await w.begin(slice, 'snapshot', { params: { snapshot: 's-1', name: 'first' } }, 'violin_snapshotting')
    await w.run(operation.id)
    const [request] = w.snapshots.requests as SnapshotRequest[]
    assert.deepEqual({ id: request!.id, name: request!.name, op: request!.op, token: request!.token, parent: request!.parent, origin: request!.origin }, {
      id: 's-1', name: 'first', op: operation.id, token: operation.token, parent: 's-0', origin: 'user',
    })
    assert.deepEqual(request!.members.map((m) => [m.vm, m.clientId, m.host, m.ports]), [['v-a', 'a', 'h1', [1]], ['v-b', 'b', 'h1', [1]]])
    const record = await w.record(slice)
    assert.deepEqual([record.head, record.epoch, record.operation], ['s-1', 5, null])
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_ready'])
    assert.match(record.slivers[0]!.resourceStatus, /^snapshot first \(s-1\) committed at .*: longest pause 7\.0 ms, cuts 1\.0 ms apart, no frame held, 2 recorded; 1000 bytes, committed after 0\.3 s$/)
    assert.deepEqual((await w.store.snapshots(slice.uuid)).map((e) => (e as { id: string }).id), ['s-1'])
    assert.deepEqual((await w.ended(operation)).result, { snapshot: 's-1' })
  })

  it('a snapshot that aborts leaves the VMs ready without an error of theirs, and its reason in operation and Status', async () => {
    const w = await worker()
    const slice = await w.slice()
    w.snapshots.failNext = 'only 3 bytes are free'
    const operation = await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } }, 'violin_snapshotting')
    await w.run(operation.id)
    const { slivers, lastSnapshot, head } = await w.record(slice)
    assert.deepEqual(slivers.map((s) => [s.operational, s.error, s.resourceStatus]), [
      ['geni_ready', '', 'snapshot s-1 failed: only 3 bytes are free'], ['geni_ready', '', 'snapshot s-1 failed: only 3 bytes are free'],
    ])
    assert.deepEqual([lastSnapshot, head], ['snapshot s-1 failed: only 3 bytes are free', ''])
    assert.deepEqual([(await w.ended(operation)).state, (await w.ended(operation)).error], ['failed', 'only 3 bytes are free'])
  })

  it('a VM that died while the snapshot was taken stays failed, and why it did is what Status says', async () => {
    const w = await worker()
    const slice = await w.slice()
    w.snapshots.meanwhile = async () => {
      w.hosts.set('v-b', 'dead', 'killed')
      await w.settled()
    }
    await w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } }, 'violin_snapshotting')).id)
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_failed'])
    const [ready, failed] = (await w.record(slice)).slivers
    assert.match(ready!.resourceStatus, /^snapshot s-1 /)
    assert.deepEqual([failed!.resourceStatus, failed!.error.startsWith('killed; ')], ['killed', true])
  })

  it("a user's call makes the policy's cut give way at once, and begins only when that has ended", async () => {
    const w = await worker()
    const slice = await w.slice()
    let user: Promise<unknown> | undefined
    w.snapshots.meanwhile = async (request) => {
      if (request.origin !== 'policy') return
      user = w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-user' } }, 'violin_snapshotting')).id)
      for (let i = 0; i < 20; i++) await turn()
    }
    const policy = await w.begin(slice, 'snapshot', { who: 'policy', params: { snapshot: 's-policy' } })
    await w.run(policy.id)
    await user
    assert.equal(w.snapshots.open.most, 1)
    assert.deepEqual((await w.snapshots.list(slice.uuid)).map((e) => e.id), ['s-user'])
    const { state, error } = await w.ended(policy)
    assert.deepEqual([state, error], ['pre-empted', 'snapshot came first'])
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_ready'])
  })

  it('after the death of the worker that led it, a snapshot that was committed counts, one that was not is told as failed', async () => {
    for (const committed of [true, false]) {
      const w = await worker()
      const slice = await w.slice()
      const operation = await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } }, 'violin_snapshotting')
      await w.store.saveOperation({ ...operation, state: 'running' })
      if (committed) {
        await w.snapshots.take({
          id: 's-1', op: operation.id, token: 1, slice, run: 'r1', epoch: 4, origin: 'user', kind: 'live', mode: 'live', members: [], topology: {},
        })
      }
      const asked = w.snapshots.requests.length
      await w.run(operation.id)
      assert.equal(w.snapshots.requests.length, asked, 'there is no second cut under the same id')
      assert.equal((await w.ended(operation)).state, committed ? 'done' : 'failed')
      assert.equal((await w.record(slice)).head, committed ? 's-1' : '')
      assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_ready'])
    }
  })

  it('suspend ends in violin_suspended and resume in geni_ready, in a new run', async () => {
    const w = await worker()
    const slice = await w.slice()
    await w.run((await w.begin(slice, 'suspend', { params: { snapshot: 's-1' } }, 'violin_suspending')).id)
    assert.deepEqual(await w.states(slice), ['violin_suspended', 'violin_suspended'])
    const resume = await w.begin(slice, 'resume', { params: { snapshot: 's-1' } }, 'violin_resuming')
    await w.run(resume.id)
    const record = await w.record(slice)
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_ready'])
    assert.notEqual(record.run, slice.run)
    assert.match(record.slivers[0]!.resourceStatus, /resumed from snapshot s-1: running again after 900 ms/)
    assert.deepEqual((await w.ended(resume)).result, { snapshot: 's-1', runningMs: 900, firstFrameMs: 950 })
  })

  it('a suspension that aborts leaves the slice running', async () => {
    const w = await worker()
    const slice = await w.slice()
    w.snapshots.failNext = 'a host was lost'
    await w.run((await w.begin(slice, 'suspend', { params: { snapshot: 's-1' } }, 'violin_suspending')).id)
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_ready'])
  })

  it('a rollback that fails leaves every VM as it was: running, stopped, suspended, failed', async () => {
    const cases = [
      [['geni_ready', 'geni_notready'], ['geni_ready', 'geni_notready']],
      [['violin_suspended', 'violin_suspended'], ['violin_suspended', 'violin_suspended']],
      [['geni_ready', 'geni_failed'], ['geni_ready', 'geni_failed']],
    ] as const
    for (const [before, after] of cases) {
      const w = await worker()
      const slice = await w.slice({ slivers: before.map((operational, i) => aSliver(i === 0 ? 'a' : 'b', { operational })) })
      w.snapshots.failNext = 'its digest is wrong'
      const operation = await w.begin(slice, 'rollback', { params: { snapshot: 's-1' } }, 'violin_rolling_back')
      await w.run(operation.id)
      assert.deepEqual(await w.states(slice), after)
      assert.match((await w.record(slice)).slivers[0]!.resourceStatus, /^rollback to snapshot s-1 failed: /)
      assert.equal((await w.ended(operation)).state, 'failed')
    }
  })

  it('a VM that ends in a rollback, when ends are no news, is failed once the operation has ended', async () => {
    const w = await worker()
    const slice = await w.slice()
    await w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } }, 'violin_snapshotting')).id)
    const restore = w.snapshots.restore.bind(w.snapshots)
    w.snapshots.restore = async (request) => {
      const went = await restore(request)
      w.hosts.set('v-b', 'dead', 'its QEMU ended')
      await w.settled()
      return went
    }
    await w.run((await w.begin(slice, 'rollback', { params: { snapshot: 's-1' } }, 'violin_rolling_back')).id)
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_failed'])
  })

  it('retention keeps the newest of the policy, every one of a user, and the one that the slice descends from', async () => {
    const w = await worker()
    const slice = await w.slice({ policy: { keep: 2 } })
    const take = async (id: string, who?: string) => {
      w.time.at += 1000
      await w.run((await w.begin(slice, 'snapshot', { ...(who ? { who } : {}), params: { snapshot: id } })).id)
    }
    await take('s-u')
    for (const id of ['s-1', 's-2', 's-3']) await take(id, 'policy')
    assert.deepEqual((await w.snapshots.list(slice.uuid)).map((e) => e.id), ['s-u', 's-2', 's-3'])
    assert.deepEqual((await w.store.snapshots(slice.uuid)).map((e) => (e as { id: string }).id), ['s-u', 's-2', 's-3'])
  })

  it('a snapshot that is deleted leaves the list and is no head any more; one that cannot be deleted says so in Status', async () => {
    const w = await worker()
    const slice = await w.slice()
    await w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } })).id)
    const remove = w.snapshots.remove.bind(w.snapshots)
    w.snapshots.remove = () => Promise.reject(new Error('the disk is read-only'))
    await w.run((await w.begin(slice, 'delete-snapshot', { params: { snapshot: 's-1' } })).id)
    assert.deepEqual((await w.record(slice)).slivers.map((s) => [s.operational, s.error, s.resourceStatus])[0],
      ['geni_ready', '', 'delete-snapshot failed: the disk is read-only'])
    w.snapshots.remove = remove
    await w.run((await w.begin(slice, 'delete-snapshot', { params: { snapshot: 's-1' } })).id)
    assert.deepEqual([await w.store.snapshots(slice.uuid), (await w.record(slice)).head], [[], ''])
  })
})
