import assert from 'node:assert/strict'
import { Failure } from '../../../base/errors.js'
import { finishEndings } from '../../../jobs/periodic.js'
import { noteHosts, reconcile, reconcileUnanswered } from '../../../jobs/vm-watch.js'
import { aSliver } from '../../a-slice.js'
import { worker } from './worker.js'

describe('operations on VMs', () => {
  it('provision defines every VM as the record has it, and says what the host has left before the slice is free', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [] })
    await w.store.update(slice.urn, (r) => ({ ...r, slivers: [aSliver('a', { operational: 'geni_notready' }), aSliver('b', { operational: 'geni_notready' })] }))
    const operation = await w.begin(slice, 'provision')
    await w.run(operation.id)
    assert.deepEqual([...w.hosts.specs.keys()], ['v-a', 'v-b'])
    assert.deepEqual(w.hosts.specs.get('v-a')!.neighbours, [{ name: 'a', ip: '10.0.0.1' }, { name: 'b', ip: '10.0.0.1' }])
    assert.deepEqual(await w.states(slice), ['geni_notready', 'geni_notready'])
    assert.equal((await w.store.hosts())[0]!.memoryFreeMiB, 4096 - 2 * (128 + 96))
    const { state, ended } = await w.ended(operation)
    assert.deepEqual([state, ended !== '', (await w.record(slice)).operation], ['done', true, null])
  })

  it('provision goes on from what hosts remember of an earlier life of the slice: a lower token would be refused for ever', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a', { operational: 'geni_notready' })], token: 3 })
    w.hosts.maxima = { run: '00000007deadbeef', k: 12, token: 40 }
    await w.run((await w.begin(slice, 'provision')).id)
    assert.ok((await w.begin(slice, 'snapshot')).token > 40)
  })

  it('provision with boot starts each VM as soon as it is defined, in the run of the slice', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a', { operational: 'geni_notready' }), aSliver('b', { operational: 'geni_notready' })] })
    const calls: string[] = []
    w.hosts.meanwhile = async (call) => { calls.push(call) }
    const operation = await w.begin(slice, 'provision', { params: { boot: true } }, 'geni_configuring')
    await w.run(operation.id)
    assert.deepEqual(calls.filter((c) => c.endsWith('v-a')), ['defineVm v-a', 'startVm v-a'])
    assert.deepEqual(await w.states(slice), ['geni_configuring', 'geni_configuring'])
    assert.notEqual((await w.record(slice)).run, '')
    for (const vm of ['v-a', 'v-b']) w.hosts.set(vm, 'ready')
    await w.settled()
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_ready'])
  })

  it('provision waits for disk images that are fetched, says how far they are, and gives its place to others meanwhile', async () => {
    const w = await worker()
    const from = (url: string) => ({ url, sha256: url.slice(-1).repeat(64) })
    const of = (name: string, url?: string) => {
      const sliver = aSliver(name, { operational: 'geni_notready' })
      return { ...sliver, node: { ...sliver.node, ...(url === undefined ? {} : { diskFrom: from(url) }) } }
    }
    const slice = await w.slice({ slivers: [] })
    await w.store.update(slice.urn, (r) => ({ ...r, slivers: [of('a', 'https://h/1'), of('b', 'https://h/1'), of('c', 'https://h/2'), of('d')] }))
    const operation = await w.begin(slice, 'provision')
    w.hosts.fetching.push({ state: 'under-way', how: '1 MiB of 9 MiB fetched' }, { state: 'there' })
    assert.deepEqual(await w.run(operation.id), { againMs: 250 })
    assert.deepEqual(w.hosts.calls, ['fetchImage https://h/1', 'fetchImage https://h/2'])
    const texts = async () => (await w.record(slice)).slivers.map((s) => s.resourceStatus)
    assert.deepEqual(await texts(), [...Array<string>(2).fill('its disk image is being fetched: 1 MiB of 9 MiB fetched'), '', ''])
    assert.deepEqual([w.hosts.specs.size, (await w.ended(operation)).state, (await w.record(slice)).operation?.id], [0, 'running', operation.id])

    w.hosts.meanwhile = async (call) => { if (call === 'fetchImage https://h/2') throw new Failure('failed', 'the answer is 404') }
    w.hosts.fetching.push({ state: 'under-way', how: '8 MiB' })
    w.time.at += 10_000
    assert.deepEqual(await w.run(operation.id), { againMs: 2_000 })
    w.hosts.meanwhile = undefined
    w.hosts.calls.length = 0
    assert.equal(await w.run(operation.id), undefined)
    assert.deepEqual(w.hosts.calls.filter((c) => c.startsWith('fetchImage')), ['fetchImage https://h/1'], 'what was lost is not asked for again')
    assert.deepEqual([...w.hosts.specs].map(([vm, spec]) => [vm, spec.diskFrom?.url]), [['v-a', 'https://h/1'], ['v-b', 'https://h/1'], ['v-d', undefined]])
    assert.deepEqual(await w.states(slice), ['geni_notready', 'geni_notready', 'geni_failed', 'geni_notready'])
    assert.equal((await w.record(slice)).slivers[2]!.error, 'it could not be provisioned: the answer is 404')
    assert.equal((await w.ended(operation)).state, 'failed')
  })

  it('a provision that waits for a disk image gives way to a delete', async () => {
    const w = await worker()
    const a = aSliver('a', { operational: 'geni_notready' })
    const slice = await w.slice({ slivers: [{ ...a, node: { ...a.node, diskFrom: { url: 'https://h/1', sha256: '1' } } }] })
    const operation = await w.begin(slice, 'provision')
    w.hosts.fetching.push({ state: 'under-way', how: '1 MiB' })
    assert.ok(await w.run(operation.id))
    await w.run((await w.begin(slice, 'delete', { preempts: true })).id)
    assert.equal(await w.run(operation.id), undefined)
    assert.equal((await w.ended(operation)).state, 'pre-empted')
    assert.equal(w.hosts.condition('v-a'), undefined)
  })

  it('an image that was begun by an agent that died over its answer is the one that was asked for; one that is away for long is an error', async () => {
    const w = await worker()
    const slice = await w.slice()
    const image = { id: 'i-1', name: 'web', global: false }
    let dies = 2
    w.hosts.meanwhile = async (call) => { if (call.startsWith('createImage') && dies-- > 0) throw new Failure('host-lost', 'the agent is gone') }
    const operation = await w.begin(slice, 'create-image', { params: { slivers: ['v-a'], image } })
    await w.run(operation.id)
    assert.deepEqual([(await w.ended(operation)).state, w.hosts.images.map((i) => i.name)], ['done', ['web']])
    dies = 100
    const second = await w.begin(slice, 'create-image', { params: { slivers: ['v-a'], image: { ...image, id: 'i-2', name: 'other' } } })
    await w.run(second.id)
    assert.deepEqual([(await w.ended(second)).state, (await w.ended(second)).error, dies], ['failed', 'the agent is gone', 97])
  })

  it('accounts are changed on each VM; one where that fails runs on with those that it had, and says why', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a'), aSliver('b')] })
    const bob = [{ urn: 'urn:bob', name: 'bob', keys: [] }]
    w.hosts.meanwhile = async (call) => { if (call === 'setLogins v-b') throw new Failure('failed', 'its disk is gone') }
    const operation = await w.begin(slice, 'update-users', { params: { logins: bob } }, 'geni_updating_users')
    await w.run(operation.id)
    const [a, b] = (await w.record(slice)).slivers
    assert.deepEqual([a!.operational, a!.error, a!.logins, w.hosts.specs.get('v-a')!.logins], ['geni_ready', '', bob, bob])
    assert.deepEqual([b!.operational, b!.logins], ['geni_ready', slice.slivers[1]!.logins])
    assert.match(b!.error, /its accounts could not be changed: its disk is gone/)
    assert.deepEqual([(await w.ended(operation)).state, (await w.ended(operation)).error], ['failed', b!.error])
  })

  it('a VM that dies while its accounts are changed has died', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a')] })
    w.hosts.meanwhile = async (call) => {
      if (call !== 'setLogins v-a') return
      w.hosts.set('v-a', 'dead', 'its kernel panicked')
      await w.settled()
    }
    await w.run((await w.begin(slice, 'update-users', { params: { logins: [] } }, 'geni_updating_users')).id)
    assert.deepEqual(await w.states(slice), ['geni_failed'])
  })

  it('a VM that cannot be started fails with the reason, the operation tells it, and the others run', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a', { operational: 'geni_notready' }), aSliver('b', { operational: 'geni_notready' })] })
    w.hosts.meanwhile = async (call) => { if (call === 'startVm v-b') throw new Failure('failed', 'port 22001 is taken') }
    const operation = await w.begin(slice, 'start', {}, 'geni_configuring')
    await w.run(operation.id)
    const [a, b] = (await w.record(slice)).slivers
    assert.deepEqual([a!.operational, a!.error], ['geni_configuring', ''])
    assert.equal(b!.operational, 'geni_failed')
    assert.match(b!.error, /could not be started: port 22001 is taken/)
    assert.match((await w.ended(operation)).error, /port 22001 is taken/)
    w.hosts.set('v-a', 'ready')
    await w.settled()
    assert.deepEqual(await w.states(slice), ['geni_ready', 'geni_failed'])
  })

  it('a VM that dies while the others are started stays failed, with its reason', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a', { operational: 'geni_notready' }), aSliver('b', { operational: 'geni_notready' })] })
    w.hosts.meanwhile = async (call) => {
      if (call !== 'startVm v-b') return
      w.hosts.set('v-a', 'dead', 'its kernel panicked')
      await w.settled()
    }
    await w.run((await w.begin(slice, 'start', {}, 'geni_configuring')).id)
    const [a] = (await w.record(slice)).slivers
    assert.equal(a!.operational, 'geni_failed')
    assert.match(a!.error, /its kernel panicked; violin_rollback .* geni_restart/)
  })

  it('a VM that dies in a restart, when deaths are no news, is failed once the operation has ended', async () => {
    const w = await worker()
    const slice = await w.slice()
    const operation = await w.begin(slice, 'restart', {}, 'geni_configuring')
    w.hosts.meanwhile = async (call) => {
      if (call === 'startVm v-b') setImmediate(() => w.hosts.set('v-b', 'dead', 'QEMU refused its disk'))
      if (call === 'reports') await w.settled()
    }
    await w.run(operation.id)
    await new Promise((done) => setImmediate(done))
    await w.settled()
    assert.deepEqual(await w.states(slice), ['geni_configuring', 'geni_failed'])
  })

  it('a VM that was told to stop is not a failure, one that ends by itself is, at once', async () => {
    const w = await worker()
    const slice = await w.slice()
    await w.run((await w.begin(slice, 'stop', { params: { slivers: ['v-a'] } })).id)
    assert.deepEqual(await w.states(slice), ['geni_notready', 'geni_ready'])
    w.hosts.set('v-b', 'dead', 'its QEMU process was killed by signal 9')
    await w.settled()
    const b = (await w.record(slice)).slivers[1]!
    assert.deepEqual([b.operational, b.resourceStatus], ['geni_failed', 'its QEMU process was killed by signal 9'])
  })

  it('the job of an operation that has lost its slice changes nothing on hosts', async () => {
    const w = await worker()
    const slice = await w.slice()
    const late = await w.begin(slice, 'stop')
    await w.begin(slice, 'delete', { preempts: true })
    await w.run(late.id)
    assert.deepEqual(w.hosts.calls, [])
    const { state, error, ended } = await w.ended(late)
    assert.deepEqual([state, error, ended !== ''], ['pre-empted', 'another operation came first', true])
  })

  it('a job that comes twice is done once, at the same time or later', async () => {
    const w = await worker()
    const slice = await w.slice()
    const operation = await w.begin(slice, 'stop')
    await Promise.all([w.run(operation.id), w.run(operation.id)])
    await w.run(operation.id)
    assert.deepEqual(w.hosts.calls.filter((c) => c.startsWith('stopVm')).sort(), ['stopVm v-a', 'stopVm v-b'])
  })

  it('a job that a dead worker had begun is done again, whole', async () => {
    const w = await worker()
    const slice = await w.slice()
    const operation = await w.begin(slice, 'stop')
    await w.store.saveOperation({ ...operation, state: 'running' })
    await w.run(operation.id)
    assert.deepEqual(await w.states(slice), ['geni_notready', 'geni_notready'])
    assert.equal((await w.ended(operation)).state, 'done')
  })

  it('Delete in the middle of Provision waits for its end, so that no VM is defined after it was destroyed', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [] })
    await w.store.update(slice.urn, (r) => ({ ...r, slivers: [aSliver('a', { operational: 'geni_notready' })] }))
    const provision = await w.begin(slice, 'provision')
    let deleting: Promise<unknown> | undefined
    w.hosts.meanwhile = async (call) => {
      if (call !== 'defineVm v-a' || deleting) return
      deleting = w.run((await w.begin(slice, 'delete', { preempts: true, params: { slivers: ['v-a'] } })).id)
      await new Promise((done) => setImmediate(done))
    }
    await w.run(provision.id)
    await deleting
    assert.deepEqual(w.hosts.calls.filter((c) => c.endsWith('v-a')), ['defineVm v-a', 'destroyVm v-a'])
    assert.equal(w.hosts.condition('v-a'), undefined)
    assert.equal(await w.store.slice(slice.urn), undefined)
    assert.equal((await w.ended(provision)).state, 'done')
  })

  it('Shutdown stops every VM that it can, and comes to its end when the host is back', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a', { host: 'h2' }), aSliver('b')], shutdown: true })
    w.hosts.away.add('h2')
    const operation = await w.begin(slice, 'shutdown', { preempts: true })
    await w.run(operation.id)
    assert.equal(w.hosts.condition('v-b'), 'stopped')
    const { state, error } = await w.ended(operation)
    assert.equal(state, 'failed')
    assert.match(error, /not every VM could be stopped: the agent of h2/)
    await finishEndings(w.parts)
    assert.equal(w.queue.added.length, 0, 'not at once')
    w.hosts.away.clear()
    w.time.at += 20_000
    await finishEndings(w.parts)
    assert.deepEqual(w.queue.added.map((o) => o.kind), ['shutdown'])
    await w.run(w.queue.added[0]!.id)
    assert.equal(w.hosts.condition('v-a'), 'stopped')
    assert.deepEqual(await w.states(slice), ['geni_notready', 'geni_notready'])
  })
})

describe('records and hosts', () => {
  it('what a host does not know, or says is gone, is failed; a host that does not answer is left for later', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a'), aSliver('b'), aSliver('c', { host: 'h2' }), aSliver('d', { operational: 'violin_suspended' })] })
    await w.hosts.destroyVm('h1', 'v-a')
    w.hosts.set('v-b', 'stopped', 'the aggregate was stopped')
    w.hosts.away.add('h2')
    await reconcile(w.parts)
    assert.deepEqual(await w.states(slice), ['geni_failed', 'geni_failed', 'geni_ready', 'violin_suspended'])
    const { slivers } = await w.record(slice)
    assert.deepEqual(slivers.map((s) => s.resourceStatus), ['its host knows nothing of it', 'the aggregate was stopped', '', ''])
    w.hosts.away.delete('h2') // no connection was lost over it, so nobody is told that it answers again
    await w.hosts.destroyVm('h2', 'v-c')
    await reconcileUnanswered(w.parts)
    assert.deepEqual((await w.states(slice))[2], 'geni_failed')
  })

  it('a slice with an operation under way is left to that operation', async () => {
    const w = await worker()
    const slice = await w.slice({ slivers: [aSliver('a', { operational: 'geni_notready' })] })
    await w.begin(slice, 'start', {}, 'geni_configuring')
    await reconcile(w.parts)
    assert.deepEqual(await w.states(slice), ['geni_configuring'])
  })

  it('a host that does not answer is on record as away', async () => {
    const w = await worker()
    await noteHosts(w.parts)
    assert.deepEqual((await w.store.hosts()).map((h) => h.alive), [true])
    w.hosts.away.add('h1')
    await noteHosts(w.parts)
    assert.deepEqual((await w.store.hosts()).map((h) => h.alive), [false])
  })
})
