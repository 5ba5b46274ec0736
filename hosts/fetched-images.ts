// The disk images that requests have named by URL and digest, on this host: each fetched once for as long as it is kept, whoever asks for
// it and from wherever, since the digest says what it is. They are a cache: the one that was used longest ago goes first, and VMs
// that were made of it keep what they have (Layers.lay).
//
// An image is there when its record is. Parts, and files without a record, are what an agent has left that died on the way.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { removeDurably, writeDurably } from '../base/durable.js'
import { explain, Failure } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import type { Form } from '../base/records.js'
import { shownSize } from '../base/sizes.js'
import { diskFormatOf, type DigestedSource } from '../base/source.js'
import type { Clock } from '../base/time.js'
import { Turns } from '../base/turns.js'
import { sameUrn } from '../base/urn.js'
import type { FetchAsk, FetchState } from '../slices/needs.js'
import { fetchFile } from './fetch-file.js'
import type { Hypervisor } from './hypervisor/hypervisor.js'
import { isWhole, openImageRecords } from './image-records.js'
import { importImage } from './import-image.js'
import type { Layers } from './layers.js'

interface FetchedRecord {
  format: 1
  sha256: string
  /** Where it was fetched from; for people. */
  url: string
  /** The user whose request has had it fetched: it counts for that one. */
  owner: string
  bytes: number
  digest: string
  diskMiB: number
  /** ms of the wall clock. */
  used: number
}

const form: Form<FetchedRecord> = {
  format: 1,
  is: (r) => /^[0-9a-f]{64}$/.test(r.sha256) &&
    [r.url, r.owner, r.digest].every((t) => typeof t === 'string') && [r.bytes, r.diskMiB, r.used].every(Number.isFinite),
}

export interface FetchedParts {
  folder: string
  layers: Pick<Layers, 'lay'>
  hypervisor: Pick<Hypervisor, 'importDisk'>
  places: readonly string[]
  /** Of all of them together, and of one. */
  mostBytes: number
  freeBytes: () => Promise<number>
  clock: Clock
  log: Log
  /** See FileFetch. */
  ca?: string
}

interface Flight {
  how: string
  askedAt: number
  floorBytes: number
  stop: AbortController
  /** Settles when it has ended, however. */
  over: Promise<void>
  failed?: { error: unknown; at: number }
}

/** Who was told that an image is there defines its VMs in this time. */
const wantedMs = 60_000
/** A failure is told to all who wait, who ask every few seconds, and then forgotten. */
const failureMs = 5_000
const roomMs = 500

export class FetchedImages {
  private readonly records = new Map<string, FetchedRecord>()
  private readonly flights = new Map<string, Flight>()
  private readonly turns = new Turns()
  private readonly waiting: (() => void)[] = []
  private fetching = 0
  private ending = false
  private readonly at: FetchedParts

  constructor(parts: FetchedParts) {
    this.at = parts
  }

  /** After: nothing is left of what has no record, nor the record of what is not whole. */
  async open(): Promise<void> {
    const records = await openImageRecords(this.at.folder, {
      form, idOf: ({ sha256 }) => sha256, bytesOf: ({ bytes }) => bytes,
      onLost: (why) => this.at.log.warn({ why }, 'the record of a fetched image cannot be read: it is fetched again'),
    })
    for (const record of records) this.records.set(record.sha256, record)
  }

  /** After: nothing is being fetched; who waits asks the next agent. */
  async stop(): Promise<void> {
    this.ending = true
    for (const { stop } of this.flights.values()) stop.abort()
    for (const go of this.waiting.splice(0)) go()
    await Promise.all([...this.flights.values()].map(({ over }) => over))
  }

  /** See VmHosts.fetchImage. */
  async ask(ask: FetchAsk): Promise<FetchState> {
    const record = this.records.get(ask.source.sha256)
    if (record && await isWhole(this.path(record.sha256), record.bytes)) {
      await this.touch(record)
      return { state: 'there' }
    }
    if (record) await this.turns.run('records', () => this.remove(record)) // somebody has damaged it
    const key = `${ask.source.sha256} ${ask.source.url}`
    const now = this.at.clock.monotonic()
    const before = this.flights.get(key)
    if (before?.failed && now - before.failed.at < failureMs) throw before.failed.error
    const flight = before && !before.failed ? before : this.begin(key, ask)
    flight.askedAt = now
    return { state: 'under-way', how: flight.how }
  }

  /** MiB of the disk that a VM of this image has at least: one more than the image, since the bank has the last one of every disk (images/bank.c). */
  leastDiskMiB(source: DigestedSource): number {
    return this.there(source).diskMiB + 1
  }

  /** A layer of this name that holds what the image does. */
  async lay(source: DigestedSource, layer: string): Promise<string> {
    const record = this.there(source)
    if (!(await isWhole(this.path(record.sha256), record.bytes))) {
      throw new Failure('damaged', `the disk image ${source.url} is damaged here: its file is not as long as it was`)
    }
    await this.touch(record)
    return this.at.layers.lay(layer, this.path(record.sha256), record)
  }

  private there({ url, sha256 }: DigestedSource): FetchedRecord {
    const record = this.records.get(sha256)
    if (!record) throw new Failure('failed', `the disk image ${url} is not here any more: delete the node and ask for it again`)
    return record
  }

  private begin(key: string, ask: FetchAsk): Flight {
    const { clock, log } = this.at
    const { source: { url, sha256 }, owner, floorBytes } = ask
    const flight: Flight = { how: 'it waits for others', askedAt: clock.monotonic(), floorBytes, stop: new AbortController(), over: Promise.resolve() }
    this.flights.set(key, flight)
    const work = this.turns.run(`user ${owner.toLowerCase()}`, () => this.inTurn(() => this.turns.run(sha256, () => this.fetch(ask, flight))))
    flight.over = work.then(() => { this.flights.delete(key) }, (error: unknown) => {
      log.warn({ url, why: explain(error) }, 'a disk image could not be fetched')
      const told = new Failure(error instanceof Failure ? error.code : 'failed', `the disk image ${url} cannot be had: ${explain(error)}`)
      flight.failed = { error: told, at: clock.monotonic() }
      this.forgetFailures()
    })
    return flight
  }

  private forgetFailures(): void {
    const now = this.at.clock.monotonic()
    for (const [key, { failed }] of this.flights) if (failed && now - failed.at >= failureMs) this.flights.delete(key)
  }

  /** So many at once; others wait, in the order in which they came. */
  private async inTurn(work: () => Promise<void>): Promise<void> {
    if (this.fetching >= limits.imageFetches) await new Promise<void>((go) => { this.waiting.push(go) })
    else this.fetching++
    try {
      await work()
    } finally {
      const next = this.waiting.shift()
      if (next) next()
      else this.fetching--
    }
  }

  private async fetch(ask: FetchAsk, flight: Flight): Promise<void> {
    const { sha256 } = ask.source
    if (this.ending) throw new Failure('aborted', 'the agent ends')
    if (this.records.has(sha256)) return // from another place, meanwhile
    const begun = this.at.clock.monotonic()
    if (begun - flight.askedAt > wantedMs) throw new Failure('aborted', 'nobody waits for it any more') // it has had to wait for its turn
    const watch = setInterval(() => void this.giveUp(flight, begun), roomMs)
    const fetched = join(this.at.folder, `${sha256}.fetched`)
    try {
      await this.fetchInto(fetched, ask, flight)
    } catch (error) {
      for (const left of [`${this.path(sha256)}.part`, this.path(sha256)]) await rm(left, { force: true })
      throw flight.stop.signal.reason instanceof Failure ? flight.stop.signal.reason : error
    } finally {
      clearInterval(watch)
      await rm(fetched, { force: true })
    }
  }

  private async fetchInto(fetched: string, { source, owner, quotas }: FetchAsk, flight: Flight): Promise<void> {
    const { places, hypervisor, ca, log, clock } = this.at
    const { signal } = flight.stop
    const mostBytes = Math.min(this.at.mostBytes, quotas['user-fetched-bytes'] ?? Infinity)
    await fetchFile(source, fetched, {
      places, mostBytes, signal, ...ca === undefined ? {} : { ca },
      onBytes: (bytes, of) => { flight.how = `${shownSize(bytes)}${of === undefined ? '' : ` of ${shownSize(of)}`} fetched` },
    })
    faultPoint('agent.image.fetched')
    flight.how = 'fetched, and being made into a disk'
    const format = diskFormatOf(new URL(source.url).pathname)
    if (!format) throw new Failure('failed', 'its name does not say what it is')
    const made = await importImage(hypervisor, { path: fetched, format }, this.path(source.sha256), mostBytes, signal)
    await this.turns.run('records', async () => {
      await this.makeRoom(made.bytes, owner, quotas['user-fetched-bytes'])
      const record: FetchedRecord = { format: 1, sha256: source.sha256, url: source.url, owner, ...made, used: clock.now() }
      await this.write(record)
      this.records.set(record.sha256, record)
    })
    log.info({ url: source.url, bytes: made.bytes, owner }, 'a disk image was fetched')
  }

  /** The disk fills up; nobody waits for it any more; it takes for ever. */
  private async giveUp({ askedAt, floorBytes, stop }: Flight, begun: number): Promise<void> {
    const { clock, freeBytes } = this.at
    const now = clock.monotonic()
    if (now - askedAt > wantedMs) stop.abort(new Failure('aborted', 'nobody waits for it any more'))
    if (now - begun > limits.imageFetchMs) stop.abort(new Failure('failed', `it took longer than ${limits.imageFetchMs / 60_000} minutes`))
    const free = await freeBytes().catch(() => Infinity)
    if (free < floorBytes) stop.abort(new Failure('no-space', `only ${shownSize(free)} were free on this host, ${shownSize(floorBytes)} must stay free`))
  }

  /** The quota of a user takes from that user, and not from others. */
  private async makeRoom(bytes: number, owner: string, quota: number | undefined): Promise<void> {
    if (quota !== undefined) await this.evict(bytes, quota, (r) => sameUrn(r.owner, owner), `what ${owner} has had fetched`)
    await this.evict(bytes, this.at.mostBytes, () => true, 'what this host has fetched')
  }

  private async evict(bytes: number, most: number, which: (record: FetchedRecord) => boolean, whose: string): Promise<void> {
    const all = [...this.records.values()].filter(which).sort((a, b) => a.used - b.used)
    let sum = all.reduce((n, r) => n + r.bytes, bytes)
    for (const record of all.filter((r) => Math.abs(this.at.clock.now() - r.used) > wantedMs)) {
      if (sum <= most) return
      await this.remove(record)
      sum -= record.bytes
    }
    if (sum > most) throw new Failure('no-space', `${whose} may take ${shownSize(most)} together, and VMs are being made of all of it: try again in a minute`)
  }

  private async remove(record: FetchedRecord): Promise<void> {
    await removeDurably(this.recordPath(record.sha256))
    this.records.delete(record.sha256)
    await rm(this.path(record.sha256), { force: true })
    this.at.log.info({ url: record.url, bytes: record.bytes }, 'a fetched disk image makes way')
  }

  private touch(record: FetchedRecord): Promise<void> {
    return this.turns.run('records', async () => {
      if (this.records.get(record.sha256) !== record) return
      record.used = this.at.clock.now()
      await this.write(record)
    })
  }

  private write(record: FetchedRecord): Promise<void> { return writeDurably(this.recordPath(record.sha256), JSON.stringify(record)) }
  private path(sha256: string): string { return join(this.at.folder, `${sha256}.qcow2`) }
  private recordPath(sha256: string): string { return join(this.at.folder, `${sha256}.json`) }
}
