import assert from 'node:assert/strict'
import { request } from 'node:http'
import { silentLog } from '../../../base/log.js'
import { realClock } from '../../../base/time.js'
import { serveMetrics } from '../../../jobs/metrics-server.js'
import { openMetrics } from '../../../jobs/metrics.js'
import { recoverSlices } from '../../../jobs/recovery.js'
import { noteHosts } from '../../../jobs/vm-watch.js'
import { aliceUrn, aSlice, aSliver } from '../../a-slice.js'
import { openMemoryStore } from '../../fakes/memory-store.js'
import { worker } from './worker.js'

async function counted(more: Parameters<Awaited<ReturnType<typeof worker>>['slice']>[0] = {}) {
  const w = await worker()
  const metrics = openMetrics({ store: w.store, clock: w.parts.clock })
  w.parts.meter = metrics
  const slice = await w.slice(more)
  /** Samples by name and labels: `violin_slivers{state="geni_ready"}`. */
  async function samples(): Promise<Record<string, number>> {
    w.time.at += 60_000 // what was read before is old
    const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('violin_'))
    return Object.fromEntries(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]))
  }
  async function snapshot(id: string): Promise<void> {
    await w.run((await w.begin(slice, 'snapshot', { who: aliceUrn, params: { snapshot: id } }, 'violin_snapshotting')).id)
  }
  return { ...w, of: slice, metrics, samples, snapshot }
}

describe('metrics', () => {
  it('count operations by their ends, and measure pauses, snapshots and rollbacks', async () => {
    const w = await counted()
    await w.snapshot('s-1')
    w.snapshots.failNext = 'the disk is full'
    await w.snapshot('s-2')
    await w.run((await w.begin(w.of, 'rollback', { params: { snapshot: 's-1' } }, 'violin_rolling_back')).id)
    const late = await w.begin(w.of, 'stop', {}, 'geni_stopping')
    await w.begin(w.of, 'shutdown', { preempts: true })
    await w.run(late.id)
    const now = await w.samples()
    assert.deepEqual([
      now['violin_operations_total{kind="snapshot",end="done"}'], now['violin_operations_total{kind="snapshot",end="failed"}'],
      now['violin_operations_total{kind="rollback",end="done"}'], now['violin_operations_total{kind="stop",end="pre-empted"}'],
    ], [1, 1, 1, 1])
    // two VMs stood 7 ms each, in one snapshot of 300 ms
    assert.deepEqual([
      now['violin_snapshot_pause_seconds_count'], now['violin_snapshot_pause_seconds_bucket{le="0.005"}'], now['violin_snapshot_pause_seconds_bucket{le="0.01"}'],
      now['violin_snapshot_duration_seconds_sum'], now['violin_rollback_seconds_sum'], now['violin_rollback_seconds_count'],
    ], [2, 0, 2, 0.3, 0.9, 1])
  })

  it('count deaths, and recoveries by what was done and how it ended', async () => {
    const w = await counted({ policy: { keep: 8, onFailure: 'rollback', retries: 1 } })
    await w.snapshot('s-1')
    for (let i = 0; i < 2; i++) {
      w.time.at += 5_000
      w.hosts.set('v-a', 'dead', 'gone')
      await w.settled()
      await recoverSlices(w.parts)
      for (const operation of w.queue.added.splice(0)) await w.run(operation.id)
    }
    const now = await w.samples()
    assert.deepEqual([
      now['violin_vm_deaths_total'], now['violin_recoveries_total{action="rollback",end="done"}'], now['violin_recoveries_total{action="rollback",end="given-up"}'],
    ], [2, 1, 1])
  })

  it('show what the store knows: slices, slivers by state, snapshots of lost slices too, hosts and room', async () => {
    const w = await counted({ slivers: [aSliver('a'), aSliver('b', { operational: 'geni_failed' })] })
    await w.store.create(aSlice('empty', { slivers: [] }))
    await w.snapshot('s-1')
    await w.store.saveSnapshots('gone', [{ bytes: 500 }, { bytes: 250 }])
    await w.store.keep({ format: 1, uuid: 'gone', urn: 'urn:gone', owner: aliceUrn, until: '2026-03-08T12:00:00Z' })
    await w.store.saveSnapshots(w.of.uuid, [{ bytes: 1000 }])
    await noteHosts(w.parts)
    await w.store.update(w.of.urn, (r) => { r.slivers[0]!.operational = 'violin_suspended'; return r })
    const first = await w.samples()
    assert.deepEqual([
      first['violin_slices'], first['violin_slivers{state="violin_suspended"}'], first['violin_slivers{state="geni_failed"}'], first['violin_slivers{state="geni_ready"}'],
      first['violin_snapshots'], first['violin_snapshot_bytes'], first['violin_hosts{alive="true"}'], first['violin_hosts{alive="false"}'],
      first['violin_store_free_bytes{host="h1"}'],
    ], [1, 1, 1, 0, 3, 1750, 1, 0, 1e10])
    w.hosts.away.add('h1')
    await noteHosts(w.parts)
    const then = await w.samples()
    assert.deepEqual([then['violin_hosts{alive="true"}'], then['violin_hosts{alive="false"}']], [0, 1])
  })

  it('tell nothing of who uses the aggregate', async () => {
    const w = await counted()
    await w.snapshot('s-1')
    assert.doesNotMatch(await w.metrics.text(), /alice|exp1|urn:publicid/)
  })

  it('read the store once, however many ask at the same time or again soon', async () => {
    const store = openMemoryStore()
    const reads = { slices: 0, fail: false }
    const time = { at: 0 }
    const clock = { now: () => time.at, monotonic: () => time.at, sleep: () => Promise.resolve() }
    const slices = async () => {
      reads.slices++
      if (reads.fail) throw new Error('Redis is away')
      return store.slices()
    }
    const metrics = openMetrics({ store: { ...store, slices }, clock })
    await Promise.all(Array.from({ length: 20 }, () => metrics.text()))
    time.at += 1_000
    await metrics.text()
    assert.equal(reads.slices, 1)
    time.at += 1_000
    reads.fail = true
    await assert.rejects(metrics.text(), /Redis is away/)
    reads.fail = false
    await metrics.text() // a failure is not kept
    assert.equal(reads.slices, 3)
  })
})

describe('the server of metrics', () => {
  const metrics = { contentType: 'text/plain; version=0.0.4', text: () => Promise.resolve('violin_slices 1\n') }
  function get(port: number, path: string, method = 'GET'): Promise<{ status: number; type: string; text: string }> {
    return new Promise((resolve, reject) => {
      request({ host: '127.0.0.1', port, path, method, agent: false }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
        response.on('end', () => resolve({ status: response.statusCode!, type: response.headers['content-type'] ?? '', text }))
      }).once('error', reject).end()
    })
  }

  it('answers GET /metrics, and nothing else, and keeps nobody from ending', async () => {
    const server = await serveMetrics({ host: '127.0.0.1', port: 0 }, metrics, silentLog)
    assert.deepEqual(await get(server.port, '/metrics'), { status: 200, type: metrics.contentType, text: 'violin_slices 1\n' })
    assert.equal((await get(server.port, '/metrics?x=1')).status, 200)
    assert.deepEqual([(await get(server.port, '/')).status, (await get(server.port, '/metrics', 'POST')).status], [404, 405])
    await assert.rejects(serveMetrics({ host: '127.0.0.1', port: server.port }, metrics, silentLog), { message: `metrics cannot be served on 127.0.0.1:${server.port}` })
    await server.close()
    await assert.rejects(get(server.port, '/metrics'), /ECONNREFUSED/)
  })

  it('says that the store does not answer, and serves again when it does', async () => {
    const text = { now: () => Promise.reject<string>(new Error('Redis is away')) }
    const server = await serveMetrics({ host: '127.0.0.1', port: 0 }, { ...metrics, text: () => text.now() }, silentLog)
    assert.deepEqual(await get(server.port, '/metrics'), { status: 503, type: 'text/plain', text: 'metrics cannot be read: Redis is away\n' })
    text.now = () => openMetrics({ store: openMemoryStore(), clock: realClock }).text()
    const whole = await get(server.port, '/metrics')
    assert.match(whole.text, /^# TYPE process_cpu_seconds_total counter$/m)
    assert.match(whole.text, /^violin_slices 0$/m)
    await server.close()
  })
})
