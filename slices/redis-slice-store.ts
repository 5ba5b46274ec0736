// The store of record, in Redis. Every record is one JSON value with `format` and `rev`; a slice changes only by
// compare-and-set on `rev`, so that two writers never overwrite each other's work.
import type { Redis } from 'ioredis'
import { Failure, Refusal } from '../base/errors.js'
import { parseRecord, readableOr } from '../base/records.js'
import type { Operation } from './operation.js'
import { redisEvents, type EventFeed } from './redis-events.js'
import type { HostRecord, KeptSnapshots, SliceStore } from './slice-store.js'
import type { SliceRecord } from './slice.js'

export interface RedisSliceStore extends SliceStore, EventFeed {
  /** Where coordinators keep their state before they act. */
  journal: { save(op: string, state: unknown): Promise<void>; remove(op: string): Promise<void> }
}

const updateTries = 50
const keptOperations = 200
/** Operations are kept after their end for people who ask later, not for ever. */
const operationSeconds = 30 * 24 * 3600
/** The index from slivers to slices is written again with every change; of a sliver that is gone it ends by itself. */
const sliverIndexSeconds = 400 * 24 * 3600
const format = 1

// KEYS: operation, list of the slice's operations. ARGV: value, id, seconds to keep both. One that has ended stays as it ended.
const putOperation = `
local function put(operation, list, value, id, seconds)
  local now = redis.call('GET', operation)
  if now then
    local readable, was = pcall(cjson.decode, now)
    if readable and (was['ended'] or '') ~= '' then return end
  else redis.call('LPUSH', list, id) end
  redis.call('SET', operation, value, 'EX', seconds)
  redis.call('EXPIRE', list, seconds)
end
`
const saveOperation = `${putOperation}
put(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])`

// KEYS: record, set of all; and, for an operation beside it, those of putOperation.
// ARGV: revision expected (0: must not exist), new value, URN; and those of putOperation.
const compareAndSet = `${putOperation}
local now = redis.call('GET', KEYS[1])
local rev = 0
if now then rev = cjson.decode(now)['rev'] end
if rev ~= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
if KEYS[3] then put(KEYS[3], KEYS[4], ARGV[4], ARGV[5], ARGV[6]) end
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
const operationKey = (id: string): string => `op:${id}`
const listKey = (sliceUrn: string): string => `ops:${sliceUrn.toLowerCase()}`
const allSlices = 'slices'
const keptKey = 'kept-snapshots'

/** Finds a record for a list; one that cannot be read is told and left out. */
type Readable = <T>(what: string, find: () => Promise<T | undefined>) => Promise<T | undefined>

/**
 * `tell`: told once of every record that cannot be read (damaged, or of a format that we do not know). Asked for by name it is an
 * error; in lists it is left out, so that one record costs only itself.
 */
export function openSliceStore(redis: Redis, tell: (what: string, why: string) => void = () => undefined): RedisSliceStore {
  const told = new Set<string>()
  const readable: Readable = (what, find) => readableOr(find, (why) => {
    if (!told.has(what)) tell(what, why)
    told.add(what)
  })
  return {
    ...sliceRecords(redis, readable), ...operationRecords(redis, readable), ...otherRecords(redis, readable), ...redisEvents(redis),
    journal: {
      save: async (op, state) => { await redis.set(`cut:${op}`, JSON.stringify(state)) },
      remove: async (op) => { await redis.del(`cut:${op}`) },
    },
  }
}

type SliceRecords = Pick<SliceStore, 'slice' | 'slices' | 'sliceOfSliver' | 'create' | 'update' | 'remove'>

function sliceRecords(redis: Redis, readable: Readable): SliceRecords {
  async function swap(record: SliceRecord, expected: number, operation?: Operation): Promise<boolean> {
    const keys = [sliceKey(record.urn), allSlices, ...(operation ? [operationKey(operation.id), listKey(operation.slice)] : [])]
    // before the record: an entry too many is harmless (sliceOfSliver looks into the record), one too few hides a sliver
    await Promise.all(record.slivers.map((s) => redis.set(sliverKey(s.urn), record.urn, 'EX', sliverIndexSeconds)))
    const done = await redis.eval(
      compareAndSet, keys.length, ...keys, expected, JSON.stringify(record), record.urn.toLowerCase(),
      ...(operation ? [JSON.stringify(operation), operation.id, operationSeconds] : []),
    )
    if (done !== 1) return false
    if (operation) await trim(redis, operation.slice)
    return true
  }

  async function slice(urn: string): Promise<SliceRecord | undefined> {
    return read<SliceRecord>(await redis.get(sliceKey(urn)), urn)
  }

  return {
    slice,
    async slices() {
      const urns = (await redis.smembers(allSlices)).sort()
      const texts = urns.length > 0 ? await redis.mget(urns.map(sliceKey)) : [] // one by one it is as many turns of the event loop
      const records = await Promise.all(urns.map((urn, i) => readable(urn, async () => read<SliceRecord>(texts[i]!, urn))))
      return records.filter((r): r is SliceRecord => r !== undefined)
    },
    async sliceOfSliver(sliverUrn) {
      const urn = await redis.get(sliverKey(sliverUrn))
      const record = urn === null ? undefined : await slice(urn)
      return record?.slivers.some((s) => s.urn.toLowerCase() === sliverUrn.toLowerCase()) ? record : undefined
    },
    create: (record) => swap({ ...record, rev: 1 }, 0),
    async update(urn, change, alongside) {
      for (let i = 0; i < updateTries; i++) {
        const before = await slice(urn)
        if (!before) throw new Refusal('not-found', `there is no slice ${urn} here`)
        const { rev } = before
        const after = change(structuredClone(before))
        if (after === undefined) return before
        after.rev = rev + 1
        if (await swap(after, rev, alongside?.())) return after
      }
      throw new Failure('failed', `the record of ${urn} is changed too often`)
    },
    async remove(urn, rev) {
      return (await redis.eval(compareAndRemove, 2, sliceKey(urn), allSlices, rev, urn.toLowerCase())) === 1
    },
  }
}

function operationRecords(redis: Redis, readable: Readable): Pick<SliceStore, 'operation' | 'saveOperation' | 'operations'> {
  return {
    async operation(id) {
      return read<Operation>(await redis.get(operationKey(id)), id)
    },
    async saveOperation(operation) {
      const keys = [operationKey(operation.id), listKey(operation.slice)]
      await redis.eval(saveOperation, keys.length, ...keys, JSON.stringify(operation), operation.id, operationSeconds)
      await trim(redis, operation.slice)
    },
    async operations(sliceUrn, count) {
      const ids = await redis.lrange(listKey(sliceUrn), 0, count - 1)
      const found = await Promise.all(ids.map((id) => readable(id, async () => read<Operation>(await redis.get(operationKey(id)), id))))
      return found.filter((o): o is Operation => o !== undefined)
    },
  }
}

/** Only the newest operations of a slice are kept. */
async function trim(redis: Redis, sliceUrn: string): Promise<void> {
  for (const old of await redis.lrange(listKey(sliceUrn), keptOperations, -1)) await redis.del(operationKey(old))
  await redis.ltrim(listKey(sliceUrn), 0, keptOperations - 1)
}

type OtherRecords = Pick<SliceStore, 'hosts' | 'saveHost' | 'snapshots' | 'saveSnapshots' | 'kept' | 'keep' | 'forgetKept'>

function otherRecords(redis: Redis, readable: Readable): OtherRecords {
  return {
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
    async kept() {
      const all = await redis.hgetall(keptKey)
      const found = await Promise.all(Object.keys(all).sort().map((uuid) => readable(uuid, async () => read<KeptSnapshots>(all[uuid]!, uuid))))
      return found.filter((k): k is KeptSnapshots => k !== undefined)
    },
    async keep(kept) {
      await redis.hset(keptKey, kept.uuid, JSON.stringify(kept))
    },
    async forgetKept(sliceUuid) {
      await redis.hdel(keptKey, sliceUuid)
    },
  }
}

function read<T extends { format: number }>(text: string | null, what: string): T | undefined {
  return text === null ? undefined : parseRecord<T>(text, `the record of ${what}`, { format })
}
