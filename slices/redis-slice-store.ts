// The store of record, in Redis. Every record is one JSON value with `format` and `rev`; a slice changes only by
// compare-and-set on `rev`, so that two writers never overwrite each other's work.
import type { Redis } from 'ioredis'
import { Failure, Refusal } from '../base/errors.js'
import type { Operation } from './operation.js'
import type { HostRecord, SliceStore } from './slice-store.js'
import type { SliceRecord } from './slice.js'

export interface RedisSliceStore extends SliceStore {
  /** Where coordinators keep their state before they act. */
  journal: { save(op: string, state: unknown): Promise<void>; remove(op: string): Promise<void> }
}

const updateTries = 50
const keptOperations = 200
/** The index from slivers to slices is written again with every change; of a sliver that is gone it ends by itself. */
const sliverIndexSeconds = 400 * 24 * 3600
const format = 1

// KEYS: record, set of all. ARGV: revision expected (0: must not exist), new value, URN.
const compareAndSet = `
local now = redis.call('GET', KEYS[1])
local rev = 0
if now then rev = cjson.decode(now)['rev'] end
if rev ~= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
return 1`

// KEYS: record, set of all. ARGV: revision expected, URN.
const compareAndRemove = `
local now = redis.call('GET', KEYS[1])
if not now or cjson.decode(now)['rev'] ~= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2])
return 1`

const sliceKey = (urn: string): string => `slice:${urn.toLowerCase()}`
const sliverKey = (urn: string): string => `sliver:${urn.toLowerCase()}`
const allSlices = 'slices'

export function openSliceStore(redis: Redis): RedisSliceStore {
  async function swap(record: SliceRecord, expected: number): Promise<boolean> {
    const done = await redis.eval(compareAndSet, 2, sliceKey(record.urn), allSlices, expected, JSON.stringify(record), record.urn.toLowerCase())
    if (done !== 1) return false
    for (const sliver of record.slivers) await redis.set(sliverKey(sliver.urn), record.urn, 'EX', sliverIndexSeconds)
    return true
  }

  async function slice(urn: string): Promise<SliceRecord | undefined> {
    return read<SliceRecord>(await redis.get(sliceKey(urn)), urn)
  }

  return {
    slice,
    async slices() {
      const urns = (await redis.smembers(allSlices)).sort()
      const records = await Promise.all(urns.map((urn) => slice(urn)))
      return records.filter((r): r is SliceRecord => r !== undefined)
    },
    async sliceOfSliver(sliverUrn) {
      const urn = await redis.get(sliverKey(sliverUrn))
      const record = urn === null ? undefined : await slice(urn)
      return record?.slivers.some((s) => s.urn.toLowerCase() === sliverUrn.toLowerCase()) ? record : undefined
    },
    create: (record) => swap({ ...record, rev: 1 }, 0),
    async update(urn, change) {
      for (let i = 0; i < updateTries; i++) {
        const before = await slice(urn)
        if (!before) throw new Refusal('not-found', `there is no slice ${urn} here`)
        const { rev } = before
        const after = change(structuredClone(before))
        if (after === undefined) return before
        after.rev = rev + 1
        if (await swap(after, rev)) return after
      }
      throw new Failure('failed', `the record of ${urn} is changed too often`)
    },
    async remove(urn, rev) {
      return (await redis.eval(compareAndRemove, 2, sliceKey(urn), allSlices, rev, urn.toLowerCase())) === 1
    },
    async operation(id) {
      return read<Operation>(await redis.get(`op:${id}`), id)
    },
    async saveOperation(operation) {
      const list = `ops:${operation.slice.toLowerCase()}`
      const fresh = (await redis.getset(`op:${operation.id}`, JSON.stringify(operation))) === null
      if (!fresh) return
      await redis.lpush(list, operation.id)
      for (const old of await redis.lrange(list, keptOperations, -1)) await redis.del(`op:${old}`)
      await redis.ltrim(list, 0, keptOperations - 1)
    },
    async operations(sliceUrn, count) {
      const ids = await redis.lrange(`ops:${sliceUrn.toLowerCase()}`, 0, count - 1)
      const found = await Promise.all(ids.map(async (id) => read<Operation>(await redis.get(`op:${id}`), id)))
      return found.filter((o): o is Operation => o !== undefined)
    },
    async hosts() {
      const all = await redis.hgetall('hosts')
      return Object.keys(all).sort().map((name) => JSON.parse(all[name]!) as HostRecord)
    },
    async saveHost(host) {
      await redis.hset('hosts', host.host, JSON.stringify(host))
    },
    async snapshots(sliceUuid) {
      const text = await redis.get(`snapshots:${sliceUuid}`)
      return text === null ? [] : JSON.parse(text) as unknown[]
    },
    async saveSnapshots(sliceUuid, entries) {
      if (entries.length === 0) await redis.del(`snapshots:${sliceUuid}`)
      else await redis.set(`snapshots:${sliceUuid}`, JSON.stringify(entries))
    },
    journal: {
      save: async (op, state) => { await redis.set(`cut:${op}`, JSON.stringify(state)) },
      remove: async (op) => { await redis.del(`cut:${op}`) },
    },
  }
}

function read<T extends { format: number }>(text: string | null, what: string): T | undefined {
  if (text === null) return undefined
  const record = JSON.parse(text) as T
  if (record.format !== format) throw new Failure('damaged', `the record of ${what} has format ${record.format}, this program reads ${format}`)
  return record
}
