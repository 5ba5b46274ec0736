// The simulated world: one heap of events ordered by (time, number), virtual time, processes that can die between any two of their
// steps, and the one who says whose step it is. The product's code runs in here as it is: what it asks of Node (files, sockets, timers,
// chance) comes to the modules beside this file, and from there to the world that is entered.
//
// Between two events all promises that can settle have settled, so code belongs to the process whose event it was. A process that has
// died is given no event any more: what it was waiting for never comes.
import { createHash, type Hash } from 'node:crypto'
import { Dice } from './dice.js'
import type { Disk } from './disk.js'
import type { Network } from './network.js'

export interface Host { name: string; disk: Disk; skewMs: number; up: boolean }

/** One life of a process. Its next life is another one, of the same name. */
export interface Proc {
  name: string
  host: Host
  alive: boolean
  /** It stands still (SIGSTOP): its events wait. */
  frozen: boolean
  waiting: Event[]
  /** Where its monotonic clock began. */
  offsetMs: number
  diedAt: number
  pid: number
  /** Steps that it has taken; it dies at this one. */
  steps: number
  dieAt: number
  onDeath: (() => void)[]
}

interface Event { at: number; n: number; proc: Proc | undefined; act: () => void; off: boolean }
export type Timer = Event & { unref(): Timer; ref(): Timer; every: number }

export interface WorldOptions {
  seed: number
  tell?: ((line: string) => void) | undefined
}

/** Wall clock at the begin of every world. */
const beginning = Date.parse('2026-03-01T12:00:00Z')
const keptLines = 60

let entered: World | undefined

/** The world whose step it is. */
export function world(): World {
  if (!entered) throw new Error('no simulated world is entered')
  return entered
}

/** From here on the product's steps are steps of this world. */
export function enter(w: World): World {
  entered = w
  return w
}

export class World {
  now = 0
  current: Proc | undefined
  events = 0
  readonly seed: number
  readonly dice: Dice
  /** Chance of the product itself (names, tokens), apart from that of the world. */
  readonly tokens: Dice
  readonly hosts: Host[] = []
  readonly procs: Proc[] = []
  network!: Network
  /** What was found wrong; the first one counts. */
  readonly violations: string[] = []
  /** How often what happened: faults, ways to end, and what the product says of itself. */
  readonly probes = new Map<string, number>()
  readonly last: string[] = []
  /** Told of each line. */
  onLine: ((line: string) => void) | undefined
  /** Points in the product at which a process may be made to die, or what else `act` does with it. */
  deathAt: { points: string[]; proc: string; act?: (proc: Proc) => void } | undefined
  /** kill -9 of a VM's process. */
  killVm: (pid: number) => void = () => undefined
  /** Processes of VMs, with what their command lines name. */
  vmProcesses: () => { pid: number; started: string; line: string }[] = () => []
  private readonly hash: Hash = createHash('sha256')
  private readonly tell: ((line: string) => void) | undefined
  private heap: Event[] = []
  private count = 0
  private pids = 100

  constructor({ seed, tell }: WorldOptions) {
    this.seed = seed
    this.dice = new Dice(seed)
    this.tokens = new Dice(seed + 0x5eed_0000)
    this.tell = tell
  }

  wall(host: Host): number { return beginning + this.now + host.skewMs }

  probe(name: string): void { this.probes.set(name, (this.probes.get(name) ?? 0) + 1) }

  /** One line for each change of state, of the product or of the world. It is part of what two runs of a seed must have in common. */
  line(text: string): void {
    const line = `${this.now.toFixed(3).padStart(11)} ${text}`
    this.hash.update(line.replace(/\.\d+\.\d+\.part/g, '.part')) // names of files aside are counted for as long as this program runs
    this.last.push(line)
    if (this.last.length > 2 * keptLines) this.last.splice(0, keptLines)
    this.tell?.(line)
    this.onLine?.(text)
  }

  digest(state: string): string { return this.hash.copy().update(state).digest('hex').slice(0, 16) }

  violate(rule: string): void {
    if (this.violations.length < 20) this.violations.push(rule)
    this.line(`VIOLATION ${rule}`)
  }

  begin(name: string, host: Host): Proc {
    const proc: Proc = {
      name, host, alive: true, frozen: false, waiting: [], offsetMs: this.dice.int(100_000), diedAt: 0, pid: ++this.pids, steps: 0, dieAt: Infinity, onDeath: [],
    }
    this.procs.push(proc)
    return proc
  }

  kill(proc: Proc, why: string): void {
    if (!proc.alive) return
    proc.alive = false
    proc.diedAt = this.now
    proc.waiting = []
    this.procs.splice(this.procs.indexOf(proc), 1)
    this.line(`${proc.name} dies: ${why}`)
    for (const act of proc.onDeath) act()
  }

  freeze(proc: Proc): void { proc.frozen = true }

  thaw(proc: Proc): void {
    if (!proc.frozen) return
    proc.frozen = false
    for (const event of proc.waiting) this.push(Object.assign(event, { at: this.now, n: ++this.count }))
    proc.waiting = []
  }

  /** An event after `ms`, in the life of `proc`; one of nobody's (the world's own) has none. */
  after(ms: number, proc: Proc | undefined, act: () => void): Event {
    const event = { at: this.now + Math.max(0, ms), n: ++this.count, proc, act, off: false }
    this.push(event)
    return event
  }

  /** The process whose step it is. */
  self(): Proc {
    if (!this.current) throw new Error('the product was called outside of any simulated process')
    return this.current
  }

  /** One more step of a process: it may be its last. False: it is dead, and nothing it asks for happens. */
  step(proc: Proc): boolean {
    if (!proc.alive) return false
    if (++proc.steps >= proc.dieAt) {
      this.probe('death at a step')
      this.kill(proc, `at its step ${proc.steps}`)
      return false
    }
    return true
  }

  timer(act: () => void, ms: number, every: boolean): Timer {
    const proc = this.self()
    const wait = Math.max(1, Number.isFinite(ms) ? ms : 1)
    const timer: Timer = Object.assign(this.timerEvent(wait, proc), { every: every ? wait : 0, unref: () => timer, ref: () => timer })
    timer.act = () => {
      if (every && !timer.off) this.push(Object.assign(timer, { at: this.now + wait, n: ++this.count }))
      act()
    }
    if (proc.alive) this.push(timer)
    return timer
  }

  /** Runs until `done` says so or there is nothing left to do; false when `ms` of virtual time did not suffice. */
  async run(ms: number, done: () => boolean): Promise<boolean> {
    const end = this.now + ms
    while (!done()) {
      const event = this.pop()
      if (!event || event.at > end) {
        if (event) this.push(event)
        this.now = Math.max(this.now, end)
        return done()
      }
      if (event.off || (event.proc && !event.proc.alive)) continue
      if (event.proc?.frozen) {
        event.proc.waiting.push(event)
        continue
      }
      this.now = Math.max(this.now, event.at)
      this.current = event.proc
      this.events++
      event.act()
      await settled()
      this.current = undefined
    }
    return true
  }

  private timerEvent(ms: number, proc: Proc): Event {
    return { at: this.now + ms, n: ++this.count, proc, act: () => undefined, off: false }
  }

  private push(event: Event): void {
    const heap = this.heap
    let i = heap.push(event) - 1
    const moving = heap[i]!
    while (i > 0) {
      const up = (i - 1) >> 1
      if (!earlier(moving, heap[up]!)) break
      heap[i] = heap[up]!
      i = up
    }
    heap[i] = moving
  }

  private pop(): Event | undefined {
    const heap = this.heap
    const first = heap[0]
    const moving = heap.pop()
    if (!first || !moving || heap.length === 0) return first
    let i = 0
    for (;;) {
      let down = 2 * i + 1
      if (down >= heap.length) break
      if (down + 1 < heap.length && earlier(heap[down + 1]!, heap[down]!)) down++
      if (!earlier(heap[down]!, moving)) break
      heap[i] = heap[down]!
      i = down
    }
    heap[i] = moving
    return first
  }
}

const earlier = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.n < b.n)

/** After: every promise that could settle has settled, and what waits for it has run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
