// Tells the operator's program of each event of all slices, by POST. It reads the feed of events in the store, which is the
// bounded queue: the newest 1000 wait there, also over the death of a worker, and what fell out of it is counted. It runs
// beside the jobs and none of them knows of it.
import { createHash } from 'node:crypto'
import { explain } from '../base/errors.js'
import type { Log } from '../base/log.js'
import { sleepUnless } from '../base/time.js'
import type { FedEvent } from '../slices/event.js'
import type { RedisSliceStore } from '../slices/redis-slice-store.js'
import type { Meter } from './meter.js'

export interface WebhookParts {
  url: string
  feed: RedisSliceStore['feed']
  log: Log
  meter?: Meter
  /** How long one try may take. */
  tryMs?: number
  /** How long it waits after each failed try but the last. */
  backoffMs?: number[]
  /** How often it looks for events. */
  lookMs?: number
}

const tryMs = 5_000
const backoffMs = [1_000, 5_000]
const lookMs = 500
const atOnce = 100

/** Begins to tell: from where an earlier worker has come with the same URL, else from now on. `close` breaks off a try under way. */
export function openWebhook(at: WebhookParts): { close(): Promise<void> } {
  const closing = new AbortController()
  const over = new Teller(at, closing.signal).run()
  return {
    async close() {
      closing.abort()
      await over
    },
  }
}

class Teller {
  private readonly at: WebhookParts
  private readonly closing: AbortSignal
  private readonly reader: string
  /** Not the whole URL: it may hold a secret. */
  private readonly to: string
  private told = 0
  private lost = 0

  constructor(at: WebhookParts, closing: AbortSignal) {
    this.at = at
    this.closing = closing
    this.reader = `webhook-${createHash('sha256').update(at.url).digest('hex').slice(0, 16)}`
    this.to = new URL(at.url).origin
  }

  /** Never rejects. */
  async run(): Promise<void> {
    for (let begun = false; !this.closing.aborted;) {
      try {
        if (!begun) await this.begin()
        begun = true
        if (await this.tellSome()) continue
      } catch (error) {
        this.at.log.warn({ webhook: this.to, why: explain(error) }, 'events for the webhook could not be read')
      }
      await sleepUnless(this.closing, this.at.lookMs ?? lookMs)
    }
  }

  private async begin(): Promise<void> {
    const { feed } = this.at
    const [before, last] = [await feed.read(this.reader), await feed.last()]
    this.told = before !== undefined && before <= last ? before : last // a store that was emptied counts anew
    await feed.noteRead(this.reader, this.told)
  }

  /** False when there was nothing to tell. */
  private async tellSome(): Promise<boolean> {
    const fed = await this.at.feed.after(this.told, atOnce)
    for (const one of fed) {
      const missed = one.n - this.told - 1
      if (missed > 0) {
        this.at.meter?.webhook('dropped', missed)
        this.at.log.warn({ webhook: this.to, events: missed }, 'events were dropped: the webhook is slower than they come')
      }
      if (!(await this.tell(one))) return false // closing: the next worker tells it
      this.told = one.n
      await this.at.feed.noteRead(this.reader, one.n)
    }
    return fed.length > 0
  }

  /** False when it was broken off. One that cannot be told is given up: those behind it must not wait for ever. */
  private async tell({ uuid, event }: FedEvent): Promise<boolean> {
    const waits = this.at.backoffMs ?? backoffMs
    for (let tried = 0; ; tried++) {
      const why = await this.post(JSON.stringify({ uuid, ...event }))
      if (why === undefined) {
        this.at.meter?.webhook('sent')
        if (this.lost > 0) this.at.log.info({ webhook: this.to, lost: this.lost }, 'the webhook takes events again')
        this.lost = 0
        return true
      }
      if (this.closing.aborted) return false
      if (tried >= waits.length) return this.givenUp(why)
      await sleepUnless(this.closing, waits[tried]!)
    }
  }

  /** Said once for all that are lost in a row. */
  private givenUp(why: string): true {
    this.at.meter?.webhook('failed')
    if (this.lost++ === 0) this.at.log.warn({ webhook: this.to, why }, 'the webhook does not take an event: it and those that follow may be lost')
    return true
  }

  /** Undefined when it was taken, else why not. A redirection is no answer: whoever redirects may not be the operator. */
  private async post(body: string): Promise<string | undefined> {
    const ms = this.at.tryMs ?? tryMs
    const given = new AbortController()
    const late = setTimeout(() => given.abort(new Error(`it does not answer within ${ms} ms`)), ms)
    const close = () => given.abort(new Error('the worker ends'))
    this.closing.addEventListener('abort', close, { once: true })
    try {
      const headers = { 'Content-Type': 'application/json' }
      const response = await fetch(this.at.url, { method: 'POST', body, headers, signal: given.signal, redirect: 'manual' })
      await response.body?.cancel()
      return response.ok ? undefined : `it answers ${response.status}`
    } catch (error) {
      return explain(error)
    } finally {
      clearTimeout(late)
      this.closing.removeEventListener('abort', close)
    }
  }
}
