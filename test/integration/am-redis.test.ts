// The AM's methods, a real Redis with BullMQ between, and the worker's jobs; only hosts and snapshot core are in memory.
import assert from 'node:assert/strict'
import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { answer } from '../../am-plugin/call.js'
import type { AmParts } from '../../am-plugin/context.js'
import type { Struct, Value } from '../../am-plugin/xmlrpc/value.js'
import { silentLog } from '../../base/log.js'
import { realRandom as random } from '../../base/random.js'
import { realClock as clock, until } from '../../base/time.js'
import { splitPem } from '../../certs/certificate.js'
import { expireSlivers, keepSchedules, mendLocks, snapshotTick, type PeriodicParts } from '../../jobs/periodic.js'
import { clockQueue, openOperationQueue, openRedis, openSchedulers, operationsQueue, runWorker, type Tick } from '../../jobs/queues.js'
import { openQuestions, questionAnswerer, questionsQueue, type Question } from '../../jobs/questions.js'
import { operationRunner } from '../../jobs/slice-jobs.js'
import { SnapshotRoom } from '../../jobs/snapshot-room.js'
import { noteHosts, noteReport } from '../../jobs/vm-watch.js'
import { standardQuotas } from '../../slices/quota.js'
import { openSliceStore } from '../../slices/redis-slice-store.js'
import { beginOperation } from '../../slices/slice-lock.js'
import { aSlice } from '../a-slice.js'
import { openMemoryHosts } from '../fakes/memory-hosts.js'
import { openMemorySnapshots } from '../fakes/memory-snapshots.js'
import { listOf, ok, refused, requestOf, states, type Answered } from '../unit/am-plugin/aggregate.js'
import { field, read } from '../unit/certs/field.js'
import { startRedis, type PrivateRedis } from './redis.js'

type Closing = (() => Promise<unknown> | void)[]

/** A worker of its own connection, which can be killed: then it renews no lock and ends no job. What it was at goes on, and must end. */
async function startWorker(path: string, closing: Closing, given: Pick<PeriodicParts, 'hosts' | 'snapshots'>, quotas = standardQuotas) {
  const redis = openRedis({ path })
  const queue = openOperationQueue(redis)
  const schedulers = openSchedulers(redis)
  const parts: PeriodicParts = {
    ...given, room: new SnapshotRoom({ quotas, floorBytes: 0 }), store: openSliceStore(redis), mode: 'live', graceMs: 1000, clock, random, log: silentLog, queue, schedulers,
  }
  await parts.snapshots.recover()
  const run = operationRunner(parts)
  const runs = new Set<Promise<unknown>>()
  const operations = runWorker<{ operation: string }>(redis, operationsQueue, (job) => {
    const at = run(job.data.operation)
    runs.add(at)
    return at
  }, () => undefined)
  const ticks = runWorker<Tick>(redis, clockQueue, (job) => snapshotTick(parts, job.data), () => undefined)
  const questions = runWorker<Question>(redis, questionsQueue, questionAnswerer(redis, parts), () => undefined)
  await noteHosts(parts)
  let killed: Promise<unknown> | undefined
  const kill = () => (killed ??= Promise.all([operations.close(true), ticks.close(true), questions.close(true)]))
  const idle = () => Promise.allSettled(runs)
  closing.push(async () => {
    await kill()
    await idle()
    await Promise.all([queue.close(), schedulers.close()])
    redis.disconnect()
  })
  return { parts, kill, idle }
}

async function aggregate(server: PrivateRedis, redis: Redis, closing: Closing, quotas = standardQuotas) {
  await redis.flushall()
  const { alice, slice, trust, credential } = await field()
  const store = openSliceStore(redis)
  const queue = openOperationQueue(redis)
  const questions = openQuestions(redis, { clock, random, waitMs: 1_500 })
  closing.push(() => Promise.all([queue.close(), questions.close()]))
  const hosts = openMemoryHosts()
  const snapshots = openMemorySnapshots({ hosts, clock })
  const worker = await startWorker(server.path, closing, { hosts, snapshots }, quotas)
  hosts.onVmChanged((report) => void noteReport(worker.parts, report))
  const am: AmParts = {
    store, queue, questions, authority: 'lab.example', urn: 'urn:publicid:IDN+lab.example+authority+am', publicUrl: 'https://am.lab.example:8443',
    software: '0.1.0', quotas, clock, random, log: silentLog,
  }
  const peer = splitPem(read(alice.certificate))
  const credentials: Value[] = [{ geni_type: 'geni_sfa', geni_version: '3', geni_value: credential }]
  async function call(method: string, params: Value[], path = '/am/3.0'): Promise<Answered> {
    const whole = (await answer(am, () => trust, { callId: 'c1', path, peer, method, params })) as Struct
    return { code: (whole['code'] as Struct)['geni_code'] as number, value: whole['value']!, output: whole['output'] as string, whole }
  }
  const on = (method: string, ...rest: Value[]) => call(method, [[slice.urn], credentials, ...rest])
  const poa = (action: string, options: Struct = {}) => call('PerformOperationalAction', [[slice.urn], credentials, action, options])
  const allocate = (names: string[], extra = '') => call('Allocate', [slice.urn, credentials, requestOf(names, extra), {}])
  const record = () => store.slice(slice.urn)
  /** Waits until the slice is free and every VM is in this state. */
  async function reach(state: string): Promise<void> {
    const there = await until(clock, 15_000, 20, async () => {
      const now = await record()
      return now?.operation === null && now.slivers.every((s) => s.operational === state) ? true : undefined
    })
    assert.ok(there, `not ${state}: ${JSON.stringify((await record())?.slivers.map((s) => [s.operational, s.resourceStatus]))}`)
  }
  async function reachOne(state: string): Promise<void> {
    assert.ok(await until(clock, 15_000, 20, async () => ((await record())?.slivers.some((s) => s.operational === state) ? true : undefined)), `none is ${state}`)
  }
  async function ready(names = ['a', 'b'], extra = ''): Promise<void> {
    ok(await allocate(names, extra))
    ok(await on('Provision', {}))
    ok(await poa('geni_start'))
    await reach('geni_configuring')
    for (const s of (await record())!.slivers) hosts.set(s.id, 'ready')
    await reach('geni_ready')
  }
  return { worker, hosts, snapshots, store, slice, credentials, call, on, poa, allocate, record, reach, reachOne, ready }
}

describe('the aggregate over a real Redis', function () {
  this.timeout(60_000)
  let server: PrivateRedis
  let redis: Redis
  const closing: Closing = []
  before(async () => {
    server = await startRedis()
    redis = openRedis({ path: server.path })
  })
  afterEach(async () => { for (const close of closing.splice(0).reverse()) await close() })
  after(async () => {
    redis.disconnect()
    await server.close()
  })

  it('leads a slice through its whole life', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    ok(await am.poa('violin_snapshot', { violin_name: 'first' }))
    await am.reach('geni_ready')
    const [listed] = listOf(ok(await am.poa('violin_list')))[0]!['violin_snapshots'] as Struct[]
    assert.deepEqual([listed!['name'], listed!['origin'], listed!['pause_ms']], ['first', 'user', { a: '7', b: '7' }])

    const [a] = (await am.record())!.slivers
    am.hosts.set(a!.id, 'dead', 'its QEMU process was killed by signal 9')
    const seen = await until(clock, 5_000, 20, async () => (states(ok(await am.on('Status', {})))[0] === 'geni_failed' ? true : undefined))
    assert.ok(seen)
    assert.match(listOf(ok(await am.on('Status', {})))[0]!['geni_error'] as string, /killed by signal 9; violin_rollback brings/)

    ok(await am.poa('violin_rollback', { violin_snapshot: 'first' }))
    await am.reach('geni_ready')
    ok(await am.poa('violin_suspend'))
    await am.reach('violin_suspended')
    ok(await am.poa('violin_resume'))
    await am.reach('geni_ready')
    ok(await am.on('Delete', {}))
    assert.ok(await until(clock, 10_000, 20, async () => ((await am.record()) === undefined ? true : undefined)))
    assert.deepEqual([await am.hosts.reports('h1'), await am.snapshots.list(am.slice.uuid)], [[], []])
    refused(await am.on('Status', {}), 12, /has no slivers/)
  })

  it('frees names and memory with a Delete: the same slice can be allocated at once', async () => {
    const am = await aggregate(server, redis, closing)
    const names = Array.from({ length: 18 }, (_, i) => `n${i}`) // as many as fit
    await am.ready(names)
    refused(await am.allocate(['one-more']), 6, /needs 224 MiB/)
    ok(await am.on('Delete', {}))
    ok(await am.allocate(names))
  })

  it('takes one operation of many calls at once', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    am.snapshots.meanwhile = () => clock.sleep(200)
    const codes = (await Promise.all(Array.from({ length: 6 }, () => am.poa('violin_snapshot')))).map((a) => a.code)
    assert.deepEqual(codes.sort((x, y) => x - y), [0, 14, 14, 14, 14, 14])
    await am.reach('geni_ready')
    assert.equal((await am.snapshots.list(am.slice.uuid)).length, 1)
  })

  it('takes snapshots by itself, one after the other, and a user never has to wait for them', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready(['a', 'b'], '<violin:rspec_checkpoint interval="PT5S"/>')
    await keepSchedules(am.worker.parts)
    const cutting = new Promise<void>((begun) => {
      am.snapshots.meanwhile = async () => {
        begun()
        await clock.sleep(300)
      }
    })
    await cutting
    assert.equal((await am.record())!.operation?.byPolicy, true)
    ok(await am.poa('violin_snapshot', { violin_name: 'mine' }))
    await am.reach('geni_ready')
    assert.deepEqual((await am.snapshots.list(am.slice.uuid)).map((e) => e.name), ['mine'])
    assert.equal(am.snapshots.open.most, 1)
    const two = await until(clock, 15_000, 50, async () => ((await am.snapshots.list(am.slice.uuid)).filter((e) => e.origin === 'policy').length >= 2 ? true : undefined))
    assert.ok(two, 'no periodic snapshots come')
  })

  it('takes away what is only allocated after ten minutes, and VMs when their lease ends', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready(['a'])
    ok(await am.allocate(['b']))
    const { parts } = am.worker
    const at = (now: number) => ({ ...parts, clock: { ...clock, now: () => now } })
    await expireSlivers(at(clock.now() + 9 * 60_000))
    assert.deepEqual((await am.record())!.slivers.map((s) => s.clientId), ['a', 'b'])
    await expireSlivers(at(clock.now() + 11 * 60_000))
    const left = async () => ((await am.record())?.slivers.map((s) => s.clientId).join() ?? 'nothing')
    assert.ok(await until(clock, 10_000, 20, async () => (await left() === 'a' && (await am.record())!.operation === null ? true : undefined)), await left())
    assert.deepEqual(states(ok(await am.on('Status', {}))), ['geni_ready'])
    const end = new Date(clock.now() + 3_600_000).toISOString()
    ok(await am.on('Renew', end, {}))
    await expireSlivers(at(clock.now() + 3_500_000))
    assert.equal(await left(), 'a')
    await expireSlivers(at(clock.now() + 3_601_000))
    assert.ok(await until(clock, 10_000, 20, async () => (await left() === 'nothing' ? true : undefined)), await left())
    assert.deepEqual(await am.hosts.reports('h1'), [])
  })

  it('creates by API v2 what is booted by the job of its Provision, and shows it in both versions', async () => {
    const am = await aggregate(server, redis, closing)
    const v2 = (method: string, ...rest: Value[]) => am.call(method, [am.slice.urn, am.credentials, ...rest], '/am/2.0')
    assert.match(ok(await v2('CreateSliver', requestOf(['a', 'b']), [], {})) as string, /type="manifest"/)
    await am.reach('geni_configuring')
    const status = async () => (ok(await v2('SliverStatus', {})) as Struct)['geni_status']
    assert.equal(await status(), 'configuring')
    for (const s of (await am.record())!.slivers) am.hosts.set(s.id, 'ready')
    await am.reach('geni_ready')
    assert.equal(await status(), 'ready')
    assert.deepEqual(states(ok(await am.on('Status', {}))), ['geni_ready', 'geni_ready'])
    assert.equal(ok(await v2('DeleteSliver', {})), true)
    assert.ok(await until(clock, 10_000, 20, async () => ((await am.record()) === undefined ? true : undefined)))
  })

  it('Delete voids a cut that is under way', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    let begun!: () => void
    const cutting = new Promise<void>((resolve) => { begun = resolve })
    am.snapshots.meanwhile = async () => {
      begun()
      await clock.sleep(300)
    }
    ok(await am.poa('violin_snapshot'))
    await cutting
    ok(await am.on('Delete', {}))
    assert.ok(await until(clock, 10_000, 20, async () => ((await am.record()) === undefined ? true : undefined)))
    const operations = await am.store.operations(am.slice.urn, 2)
    assert.deepEqual(operations.map((o) => [o.kind, o.state]), [['delete', 'done'], ['snapshot', 'pre-empted']])
  })

  it('a worker that dies in mid-snapshot: within 10 s the next one has ended it, the list is empty and the next one works', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    let begun!: () => void
    const cutting = new Promise<void>((resolve) => { begun = resolve })
    let comeBack!: () => void
    am.snapshots.meanwhile = () => {
      begun()
      return new Promise((resolve) => { comeBack = resolve })
    }
    ok(await am.poa('violin_snapshot', { violin_name: 'lost' }))
    await cutting
    await am.worker.kill()
    am.snapshots.meanwhile = undefined
    const from = clock.monotonic()
    await startWorker(server.path, closing, am)
    await am.reach('geni_ready')
    assert.ok(clock.monotonic() - from < 10_000, `${clock.monotonic() - from} ms`)
    assert.deepEqual(listOf(ok(await am.poa('violin_list')))[0]!['violin_snapshots'], [])
    assert.match(listOf(ok(await am.on('Status', {})))[0]!['geni_resource_status'] as string, /the worker that led it ended/)
    ok(await am.poa('violin_snapshot', { violin_name: 'lost' }))
    await am.reach('geni_ready')
    const after = await am.record()
    assert.deepEqual((await am.snapshots.list(am.slice.uuid)).map((e) => e.name), ['lost'])

    comeBack() // it was not dead, only slow: nobody listens to it any more
    await am.worker.idle()
    assert.deepEqual([await am.record(), (await am.snapshots.list(am.slice.uuid)).map((e) => e.name)], [after, ['lost']])
  })

  it('under quotas lets one of two Allocates at once through, and makes room for the policy while a user is refused', async () => {
    const am = await aggregate(server, redis, closing, { 'user-vms': 3, 'slice-snapshots-bytes': 256 * 2 ** 20 })
    const codes = (await Promise.all([am.allocate(['a', 'b']), am.allocate(['c', 'd'])])).map((answered) => answered.code)
    assert.deepEqual(codes.sort(), [0, 6])
    const names = (await am.record())!.slivers.map((s) => s.clientId)
    ok(await am.on('Delete', {}))
    await am.ready(names, '<violin:rspec_checkpoint interval="PT5S"/>')
    am.snapshots.disk.each = 200 * 2 ** 20
    const policys = async () => (await am.snapshots.list(am.slice.uuid)).filter((e) => e.origin === 'policy')
    await snapshotTick(am.worker.parts, { tick: 'snapshot', slice: am.slice.urn })
    await am.reach('geni_ready')
    const [first] = await policys()
    refused(await am.poa('violin_snapshot'), 6, /quota slice-snapshots-bytes: the snapshots of the slice have 200 MiB of at most 256 MiB/)
    await snapshotTick(am.worker.parts, { tick: 'snapshot', slice: am.slice.urn })
    await am.reach('geni_ready')
    assert.deepEqual(await policys(), [first], 'the newest stays')
    assert.match((await am.record())!.lastSnapshot, /^the last periodic snapshot was skipped: quota slice-snapshots-bytes/)
  })

  it('serves all others where the record of one slice or operation cannot be read, and says so to who asks for it', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    const alien = aSlice('alien')
    await am.store.create(alien)
    await redis.set(`slice:${alien.urn.toLowerCase()}`, '{"format":2,"everything":"else"}')
    const { operation } = await beginOperation(am.worker.parts, am.slice.urn, { kind: 'snapshot', who: 'policy', why: 'test', callId: 'c' }, () => undefined)
    await redis.set(`op:${operation.id}`, '{"format":2}')
    await am.worker.kill()
    const { parts } = await startWorker(server.path, closing, am)
    await expireSlivers({ ...parts, clock: { ...clock, now: () => Date.parse('2100-01-01T00:00:00Z') } })
    assert.equal(await until(clock, 10_000, 20, async () => ((await am.record()) === undefined ? true : undefined)), true, 'the other one has ended')
    assert.equal(await redis.get(`slice:${alien.urn.toLowerCase()}`), '{"format":2,"everything":"else"}')

    const key = `slice:${am.slice.urn.toLowerCase()}`
    await redis.set(key, '{"format":2}')
    for (const answered of [await am.on('Status', {}), await am.on('Delete', {}), await am.allocate(['x'])]) {
      refused(answered, 2, /^the record of .* has format 2, this program understands 1: use the program that wrote it/)
    }
    assert.equal(await redis.get(key), '{"format":2}')
  })

  it('gives a lock up whose operation cannot be read', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    await am.worker.kill()
    ok(await am.poa('geni_stop'))
    const { operation } = (await am.record())!
    await redis.set(`op:${operation!.id}`, '{"format":2}')
    await mendLocks({ ...am.worker.parts, clock: { ...clock, now: () => clock.now() + 60_000 } })
    assert.equal((await am.record())!.operation, null)
    assert.deepEqual((await am.record())!.slivers.map((s) => s.operational), ['geni_failed', 'geni_failed'])
  })

  it('makes VMs of disk images that take long to come, while as many others as there are places go on', async () => {
    const am = await aggregate(server, redis, closing)
    am.hosts.fetching.push(...Array.from({ length: 12 }, (_, i) => ({ state: 'under-way' as const, how: `${i} MiB` })))
    ok(await am.allocate(['a', 'b']))
    await am.store.update(am.slice.urn, (record) => {
      for (const s of record.slivers) s.node.diskFrom = { url: 'https://h/web.raw', sha256: '0'.repeat(64) }
      return record
    })
    ok(await am.on('Provision', {}))
    assert.ok(await until(clock, 15_000, 20, async () => ((await am.record())?.slivers[0]?.resourceStatus.includes('MiB') ? true : undefined)), 'Status tells how far it is')
    await am.reach('geni_notready')
    assert.equal(am.hosts.specs.size, 2)
    assert.equal(am.hosts.fetching.length, 0)
  })

  it('shows the ends of consoles, which only the hosts have, and says what is wrong when they cannot be had', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    const [a, b] = (await am.record())!.slivers
    assert.deepEqual(listOf(ok(await am.poa('violin_console', { violin_bytes: 5 }))).map((s) => s['violin_console']), ['hello', 'hello'])
    assert.deepEqual(listOf(ok(await am.poa('violin_console'))).map((s) => s['violin_console']), [`${a!.id} says hello`, `${b!.id} says hello`])
    am.hosts.away.add('h1')
    refused(await am.poa('violin_console'), 2, /^the agent of h1 is not connected$/)
    am.hosts.away.clear()
    await am.worker.kill()
    refused(await am.poa('violin_console'), 8, /the worker of this aggregate does not answer at present/)
    assert.deepEqual((await redis.keys('bull:questions:*')).filter((key) => /:q-|:wait$/.test(key)), [], 'a question that nobody waits for is gone')
    assert.deepEqual(await redis.keys('answer:*'), [])
  })

  it('shows a console while a long operation is under way', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    const waiting = { calls: 0, go: () => undefined as void }
    const gate = new Promise<void>((resolve) => { waiting.go = resolve })
    am.snapshots.meanwhile = async () => {
      waiting.calls++
      await gate
    }
    ok(await am.poa('violin_snapshot'))
    assert.ok(await until(clock, 5_000, 10, () => (waiting.calls > 0 ? true : undefined)))
    assert.equal(listOf(ok(await am.poa('violin_console', { violin_bytes: 5 }))).length, 2)
    waiting.go()
    await am.reach('geni_ready')
  })

  it('tells the whole story of a slice, with the call that each operation came from', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    ok(await am.poa('violin_snapshot', { violin_name: 'first' }))
    await am.reach('geni_ready')
    const [a] = (await am.record())!.slivers
    am.hosts.set(a!.id, 'dead', 'its QEMU process was ended by SIGKILL')
    await am.reachOne('geni_failed')
    ok(await am.poa('violin_rollback'))
    await am.reach('geni_ready')
    const wanted = ['allocated', 'operation-begun', 'operation-done', 'operation-begun', 'operation-done', 'vm-ready', 'vm-ready', 'operation-begun',
      'snapshot-committed', 'operation-done', 'vm-died', 'operation-begun', 'operation-done']
    const read = async () => listOf(ok(await am.poa('violin_events')))[0]!['violin_events'] as Struct[]
    const events = await until(clock, 5_000, 20, async () => ((await read()).length >= wanted.length ? read() : undefined))
    assert.deepEqual(events?.map((e) => e['kind']), wanted)
    for (const e of events.filter((one) => one['op'] !== '')) assert.equal((await am.store.operation(e['op'] as string))?.callId, 'c1')
  })

  it('an operation whose job was lost is done all the same', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    await am.worker.kill()
    ok(await am.poa('geni_stop'))
    for (const key of await redis.keys('bull:*')) await redis.del(key)
    const worker = await startWorker(server.path, closing, am)
    await mendLocks(worker.parts)
    await am.reach('geni_notready')
  })

  it('an operation whose job ended before it did is done all the same', async () => {
    const am = await aggregate(server, redis, closing)
    await am.ready()
    const { parts } = am.worker
    const { operation: early } = await beginOperation(parts, am.slice.urn, { kind: 'stop', who: 'alice', why: 'test', callId: 'c' }, () => undefined)
    await redis.del(`op:${early.id}`)
    await parts.queue.add(early)
    const jobs = new Queue(operationsQueue, { connection: redis })
    closing.push(() => jobs.close())
    assert.ok(await until(clock, 5_000, 20, async () => ((await jobs.getJobState(early.id)) === 'completed' ? true : undefined)))
    await am.store.saveOperation(early)
    await mendLocks(parts)
    await am.reach('geni_notready')
  })
})
