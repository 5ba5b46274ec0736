// Redis as the product uses it: the commands and the scripts of slices/redis-slice-store.ts and redis-events.ts, each one step, durable
// when it is answered; and BullMQ's promises: a job is done at least once, by its id, again when its worker has died or stands still.
import type { Redis } from 'ioredis'
import type { Operation } from '../../../slices/operation.js'
import type { OperationQueue } from '../../../slices/slice-store.js'
import type { Schedulers, Tick } from '../../../jobs/queues.js'
import { world, type Proc } from './world.js'

interface Job { id: string; state: 'waiting' | 'active' | 'ended'; by: Proc | undefined }
export interface WorkerEnd { proc: Proc; run: (operation: string) => Promise<void>; tick: (tick: Tick) => Promise<void> }

const lockMs = 6_000

export class SimRedis {
  up = true
  readonly jobs = new Map<string, Job>()
  worker: WorkerEnd | undefined
  /** Faults of the queue put themselves here: how often a job is handed over. */
  handOvers: () => number = () => 1
  /** Told of each change of a slice, before and after. */
  onSlice: (before: string, now: string) => void = () => undefined
  private readonly strings = new Map<string, string>()
  private readonly sets = new Map<string, Set<string>>()
  private readonly lists = new Map<string, string[]>()
  private readonly hashes = new Map<string, Map<string, string>>()
  private readonly schedules = new Map<string, { tick: Tick; every: number }>()
  private waiting: (() => void)[] = []

  back(): void {
    this.up = true
    for (const act of this.waiting.splice(0)) act()
    this.handOut()
  }

  /** For whoever looks on. */
  peek(key: string): string | undefined { return this.strings.get(key) }

  /** One command of a process; it waits for as long as Redis is gone. */
  command<T>(act: () => T): Promise<T> {
    const w = world()
    const proc = w.self()
    return new Promise((resolve) => {
      if (!w.step(proc)) return
      const now = () => w.after(w.dice.between(0.03, 0.25), undefined, () => {
        if (!this.up) return this.waiting.push(now)
        const result = act()
        w.after(w.dice.between(0.03, 0.25), proc, () => { if (w.step(proc)) resolve(result) })
        return undefined
      })
      now()
    })
  }

  /** What the product's store gets in the place of a connection. */
  get client(): Redis {
    const list = (key: string) => this.lists.get(key) ?? []
    const slice = (from: string[], start: number, stop: number) => from.slice(start, stop === -1 ? undefined : stop + 1)
    const commands = {
      get: (key: string) => this.strings.get(key) ?? null,
      set: (key: string, value: string) => { this.strings.set(key, value) },
      del: (key: string) => { this.strings.delete(key) },
      mget: (keys: string[]) => keys.map((key) => this.strings.get(key) ?? null),
      smembers: (key: string) => [...this.sets.get(key) ?? []],
      lrange: (key: string, start: number, stop: number) => slice(list(key), start, stop),
      ltrim: (key: string, start: number, stop: number) => { this.lists.set(key, slice(list(key), start, stop)) },
      hgetall: (key: string) => Object.fromEntries(this.hashes.get(key) ?? []),
      hset: (key: string, field: string, value: string) => { this.hashes.set(key, (this.hashes.get(key) ?? new Map<string, string>()).set(field, value)) },
      hdel: (key: string, field: string) => { this.hashes.get(key)?.delete(field) },
      eval: (script: string, keys: number, ...all: (string | number)[]) => this.script(script, all.slice(0, keys) as string[], all.slice(keys).map(String)),
    }
    return Object.fromEntries(Object.entries(commands).map(([name, act]) =>
      [name, (...args: never[]) => this.command(() => (act as (...a: never[]) => unknown)(...args))])) as unknown as Redis
  }

  get queue(): OperationQueue {
    return {
      add: (operation: Operation) => this.command(() => {
        const there = this.jobs.get(operation.id)
        if (there && there.state !== 'ended') return
        this.jobs.set(operation.id, { id: operation.id, state: 'waiting', by: undefined })
        this.handOut()
      }),
    }
  }

  get schedulers(): Schedulers {
    return {
      set: (uuid, slice, every) => this.command(() => {
        if (this.schedules.get(uuid)?.every === every) return
        const schedule = { tick: { tick: 'snapshot' as const, slice }, every }
        this.schedules.set(uuid, schedule)
        const again = () => world().after(every, undefined, () => {
          if (this.schedules.get(uuid) !== schedule) return
          const { worker } = this
          if (this.up && worker?.proc.alive) world().after(0.2, worker.proc, () => void worker.tick(schedule.tick).catch(() => undefined))
          again()
        })
        again()
      }),
      remove: (uuid) => this.command(() => { this.schedules.delete(uuid) }),
      close: async () => undefined,
    }
  }

  /** A worker begins to take jobs. */
  serve(worker: WorkerEnd): void {
    this.worker = worker
    this.handOut()
  }

  /** Jobs of workers that are dead, or stand still, are handed out again. Call it now and then. */
  lookForStalled(): void {
    const now = world().now
    for (const job of this.jobs.values()) {
      if (job.state !== 'active' || !job.by) continue
      const { by } = job
      if (by.alive && !by.frozen) continue
      if (!by.alive && now - by.diedAt < lockMs) continue
      job.state = 'waiting'
    }
    this.handOut()
  }

  private handOut(): void {
    const w = world()
    const { worker } = this
    if (!this.up || !worker?.proc.alive || worker.proc.frozen) return
    for (const job of this.jobs.values()) {
      if (job.state !== 'waiting') continue
      job.state = 'active'
      job.by = worker.proc
      const times = this.handOvers()
      if (times === 0) job.state = 'ended' // it is lost, and nobody knows
      for (let n = 0; n < times; n++) {
        w.after(w.dice.between(0.1, 3), worker.proc, () => void worker.run(job.id).catch(() => undefined).then(() => {
          if (job.by === worker.proc) job.state = 'ended'
        }))
      }
    }
  }

  private script(script: string, keys: string[], args: string[]): number {
    const put = (operation: string, list: string, value: string, id: string) => {
      const now = this.strings.get(operation)
      if (now === undefined) this.lists.set(list, [id, ...this.lists.get(list) ?? []])
      else if ((JSON.parse(now) as Operation).ended !== '') return
      this.strings.set(operation, value)
    }
    const rev = () => {
      const now = this.strings.get(keys[0]!)
      return now === undefined ? 0 : (JSON.parse(now) as { rev: number }).rev
    }
    if (script.includes('XADD')) {
      this.lists.set(keys[0]!, [...this.lists.get(keys[0]!) ?? [], args[0]!].slice(-1000))
      return 1
    }
    if (script.includes("'DEL'")) {
      if (rev() !== Number(args[0])) return 0
      this.strings.delete(keys[0]!)
      this.sets.get(keys[1]!)?.delete(args[1]!)
      return 1
    }
    if (script.includes('KEYS[3] then')) {
      if (rev() !== Number(args[0])) return 0
      const before = this.strings.get(keys[0]!)
      this.strings.set(keys[0]!, args[1]!)
      this.sets.set(keys[1]!, (this.sets.get(keys[1]!) ?? new Set()).add(args[2]!))
      if (keys[2]) put(keys[2], keys[3]!, args[3]!, args[4]!)
      if (before !== undefined) this.onSlice(before, args[1]!)
      return 1
    }
    put(keys[0]!, keys[1]!, args[0]!, args[1]!)
    return 1
  }
}
