import assert from 'node:assert/strict'
import type { Redis } from 'ioredis'
import { openRedis } from '../../jobs/queues.js'
import { openSliceStore } from '../../slices/redis-slice-store.js'
import { aSlice, aSliver } from '../a-slice.js'
import { startRedis, type PrivateRedis } from './redis.js'

describe('the index from slivers to slices', function () {
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

  /** A process that ends at the first write of this kind: it and what comes after it do not happen. */
  function dyingAt(command: 'set' | 'eval'): Redis {
    return new Proxy(redis, {
      get(target, name) {
        if (name === command) return () => Promise.reject(new Error('the process ended here'))
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
  }

  it('never misses a sliver that is on record, wherever its writer ends', async () => {
    const slice = aSlice('exp1')
    await assert.rejects(openSliceStore(dyingAt('set')).create(slice), /ended here/)
    assert.equal(await openSliceStore(redis).slice(slice.urn), undefined)
  })

  it('finds no slice for a sliver whose record was not written', async () => {
    const store = openSliceStore(redis)
    const slice = aSlice('exp2', { slivers: [aSliver('p')] })
    await store.create(slice)
    const grown = openSliceStore(dyingAt('eval')).update(slice.urn, (r) => ({ ...r, slivers: [...r.slivers, aSliver('q')] }))
    await assert.rejects(grown, /ended here/)
    assert.equal(await store.sliceOfSliver(aSliver('q').urn), undefined)
    assert.equal((await store.sliceOfSliver(aSliver('p').urn))?.urn, slice.urn)
  })
})
