// The events of slices in Redis: a list for each slice, and one stream of all, numbered, for a reader that must not miss any.
import type { Redis } from 'ioredis'
import type { FedEvent, SliceEvent } from './event.js'
import type { SliceStore } from './slice-store.js'

export interface EventFeed {
  /** The events of all slices, the newest 1000, numbered: for a reader that must not miss any. */
  feed: {
    /** The number of the newest; 0 before the first. */
    last(): Promise<number>
    /** Those after `n`, oldest first, at most `count`. */
    after(n: number, count: number): Promise<FedEvent[]>
    /** How far a reader of this name has come; undefined when it has not begun. */
    read(reader: string): Promise<number | undefined>
    noteRead(reader: string, n: number): Promise<void>
  }
}

const keptEvents = 1000
const eventSeconds = 30 * 24 * 3600

// KEYS: the slice's list, number of the newest event, stream of all. ARGV: event, how many are kept, seconds, event for the stream.
const addEvent = `
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -ARGV[2], -1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
local n = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[2], n .. '-0', 'event', ARGV[4])`

const eventsKey = (sliceUuid: string): string => `events:${sliceUuid.toLowerCase()}`
const readKey = (reader: string): string => `events-read:${reader}`
const newestEvent = 'event-number'
const allEvents = 'event-feed'

export function redisEvents(redis: Redis): EventFeed & Pick<SliceStore, 'addEvent' | 'events'> {
  return {
    async addEvent(sliceUuid, event) {
      const fed = JSON.stringify({ uuid: sliceUuid, event })
      await redis.eval(addEvent, 3, eventsKey(sliceUuid), newestEvent, allEvents, JSON.stringify(event), keptEvents, eventSeconds, fed)
    },
    async events(sliceUuid, count) {
      return (await redis.lrange(eventsKey(sliceUuid), -count, -1)).map((text) => JSON.parse(text) as SliceEvent)
    },
    feed: {
      last: async () => Number(await redis.get(newestEvent) ?? 0),
      async after(n, count) {
        const entries = await redis.xrange(allEvents, `${n + 1}-0`, '+', 'COUNT', count)
        return entries.map(([id, fields]) => ({ n: parseInt(id, 10), ...JSON.parse(fields[1]!) as Omit<FedEvent, 'n'> }))
      },
      async read(reader) {
        const n = await redis.get(readKey(reader))
        return n === null ? undefined : Number(n)
      },
      noteRead: async (reader, n) => { await redis.set(readKey(reader), n, 'EX', eventSeconds) },
    },
  }
}
