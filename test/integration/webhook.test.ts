// The webhook over a real Redis, told to a server that answers as each test wants.
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Redis } from 'ioredis'
import { silentLog } from '../../base/log.js'
import { realClock as clock, until } from '../../base/time.js'
import type { Meter } from '../../jobs/meter.js'
import { openRedis } from '../../jobs/queues.js'
import { openWebhook } from '../../jobs/webhook.js'
import type { SliceEvent } from '../../slices/event.js'
import { openSliceStore } from '../../slices/redis-slice-store.js'
import { startRedis, type PrivateRedis } from './redis.js'

type Told = SliceEvent & { uuid: string }
const event = (text: string): SliceEvent => ({
  at: '2026-03-01T12:00:00.000Z', slice: 'urn:publicid:IDN+lab+slice+exp1', kind: 'vm-died', text, op: 'stop-1', who: 'lease', node: 'a',
})

describe('the webhook', function () {
  this.timeout(30_000)
  let server: PrivateRedis
  let redis: Redis
  const closing: (() => Promise<unknown>)[] = []
  before(async () => {
    server = await startRedis()
    redis = openRedis({ path: server.path })
  })
  beforeEach(() => redis.flushall())
  afterEach(async () => { for (const close of closing.splice(0).reverse()) await close() })
  after(async () => {
    redis.disconnect()
    await server.close()
  })

  /** Notes what it is told, and answers with a status, or as `answer` does. */
  async function receiver(answer: (n: number, response: ServerResponse, request: IncomingMessage) => void = (_, response) => response.end()) {
    const told: Told[] = []
    const types: (string | undefined)[] = []
    const http = createServer((request, response) => {
      let body = ''
      request.setEncoding('utf8').on('data', (chunk: string) => { body += chunk })
      request.on('end', () => {
        told.push(JSON.parse(body) as Told)
        types.push(request.headers['content-type'])
        answer(told.length, response, request)
      })
    })
    await new Promise<void>((done) => http.listen(0, '127.0.0.1', done))
    const close = () => new Promise<void>((done) => {
      http.close(() => done())
      http.closeAllConnections()
    })
    closing.push(() => (http.listening ? close() : Promise.resolve()))
    return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/hook?key=secret`, told, types, close }
  }

  function begin(url: string, more: { tryMs?: number } = {}) {
    const store = openSliceStore(redis)
    const counts = { sent: 0, failed: 0, dropped: 0 }
    const lines: string[] = []
    const note = (fields: object, line: string) => { lines.push(`${JSON.stringify(fields)} ${line}`) }
    const log = Object.assign(Object.create(silentLog) as typeof silentLog, { warn: note, info: note })
    const meter = { webhook: (end: keyof typeof counts, n = 1) => { counts[end] += n } } as unknown as Meter
    const hook = openWebhook({ url, feed: store.feed, log, meter, lookMs: 5, backoffMs: [5, 10], ...more })
    closing.push(() => hook.close())
    return { store, counts, lines, hook }
  }
  const when = async (what: string, is: () => boolean | Promise<boolean>) =>
    assert.ok(await until(clock, 10_000, 5, async () => ((await is()) ? true : undefined)), what)
  const begun = () => when('it does not begin', async () => (await redis.keys('events-read:*')).length === 1)

  it('tells every event once, in order, as JSON, and nothing from before it was wanted', async () => {
    const { url, told, types } = await receiver()
    await openSliceStore(redis).addEvent('u-1', event('before'))
    const { store, counts } = begin(url)
    await begun()
    for (let i = 0; i < 150; i++) await store.addEvent(`u-${i % 2}`, event(`${i}`))
    await when('not all came', () => told.length >= 150)
    assert.deepEqual(told.map((t) => t.text), Array.from({ length: 150 }, (_, i) => `${i}`))
    assert.deepEqual(told[0], { ...event('0'), uuid: 'u-0' })
    assert.deepEqual([new Set(types), counts], [new Set(['application/json']), { sent: 150, failed: 0, dropped: 0 }])
  })

  it('tries three times, then goes on with the next; says so once, and again when all is well', async () => {
    const { url, told } = await receiver((n, response) => {
      if (n === 1) response.destroy() // no answer
      else if (n <= 8) response.writeHead(n === 2 ? 302 : 500, n === 2 ? { Location: 'http://127.0.0.1:1/' } : {}).end('no')
      else response.end()
    })
    const { store, counts, lines } = begin(url)
    await begun()
    for (const text of ['one', 'two', 'three']) await store.addEvent('u', event(text))
    await when('not all came', () => counts.sent === 1)
    assert.deepEqual(told.map((t) => t.text), ['one', 'one', 'one', 'two', 'two', 'two', 'three', 'three', 'three'])
    assert.deepEqual(counts, { sent: 1, failed: 2, dropped: 0 })
    assert.equal(lines.length, 2, lines.join('\n'))
    assert.match(lines[0]!, /it answers 500.* the webhook does not take an event/)
    assert.match(lines[1]!, /"lost":2.* the webhook takes events again/)
    assert.doesNotMatch(lines.join(), /secret/)
  })

  it('does not wait for one that never answers longer than it must', async () => {
    const { url, told } = await receiver((n, response) => { if (n > 3) response.end() })
    const { store, counts, lines } = begin(url, { tryMs: 30 })
    await begun()
    await store.addEvent('u', event('one'))
    await store.addEvent('u', event('two'))
    await when('it hangs', () => counts.sent === 1)
    assert.deepEqual([counts, told.at(-1)!.text], [{ sent: 1, failed: 1, dropped: 0 }, 'two'])
    assert.match(lines[0]!, /it does not answer within 30 ms/)
  })

  it('goes on where an earlier worker was, and breaks off at once when it is closed', async () => {
    const { url, told } = await receiver((n, response) => { if (n !== 2) response.end() })
    const first = begin(url)
    await begun()
    await first.store.addEvent('u', event('one'))
    await first.store.addEvent('u', event('two'))
    await when('the second did not come', () => told.length === 2) // and is not answered
    await first.hook.close()
    await first.store.addEvent('u', event('three'))
    const second = begin(url)
    await when('not all came', () => second.counts.sent === 2)
    assert.deepEqual(told.map((t) => t.text), ['one', 'two', 'two', 'three'])
    assert.deepEqual([first.counts, second.counts], [{ sent: 1, failed: 0, dropped: 0 }, { sent: 2, failed: 0, dropped: 0 }])
  })

  it('keeps the newest 1000 while nobody takes them, and counts those that fell out', async () => {
    const { url, told, close } = await receiver()
    const first = begin(url)
    await begun()
    await first.hook.close()
    for (let i = 0; i < 1007; i++) await first.store.addEvent('u', event(`${i}`))
    const second = begin(url)
    await when('not all came', () => second.counts.sent === 1000)
    assert.deepEqual([told[0]!.text, told.at(-1)!.text, second.counts.dropped], ['7', '1006', 7])
    await close()
    await second.store.addEvent('u', event('to nobody'))
    await when('it is not given up', () => second.counts.failed === 1)
  })

  it('begins anew with a store that was emptied', async () => {
    const { url, told } = await receiver()
    const first = begin(url)
    await begun()
    for (const text of ['one', 'two', 'three']) await first.store.addEvent('u', event(text))
    await when('not all came', () => first.counts.sent === 3)
    await first.hook.close()
    await redis.del('event-number', 'event-feed')
    const second = begin(url)
    await when('it does not see that', async () => (await redis.get((await redis.keys('events-read:*'))[0]!)) === '0')
    await second.store.addEvent('u', event('four'))
    await when('not told', () => told.length === 4)
    assert.equal(second.counts.dropped, 0)
  })
})
