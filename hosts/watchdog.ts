// Watches guests for whoever asked for it (watchdog of <violin:vm>): one whose login does not answer for the whole time has
// hung, and its end is a failure like any other. Asked from outside, so it works for every image and every driver.
import type { Log } from '../base/log.js'
import type { Clock } from '../base/time.js'
import type { Vm } from './hypervisor/hypervisor.js'
import type { Greeting } from './ready.js'

/** What came between one look and the next: an answer, none, or a reason why none could be expected. */
export type Seen = 'answer' | 'nothing' | 'excuse'

/** How long one guest has been silent. Pure: it is told the time. */
export class Silence {
  private readonly allowedMs: number
  private readonly everyMs: number
  private lookedAt: number | undefined
  private silentMs = 0

  constructor(allowedMs: number, everyMs: number) {
    this.allowedMs = allowedMs
    this.everyMs = everyMs
  }

  /**
   * A look at `now` (monotonic). True: the guest has hung. A look that comes later than it should by more than the time between
   * two looks says nothing of the guest: we were blocked or stopped ourselves, and the guest may have been too.
   */
  look(now: number, seen: Seen): boolean {
    const passed = now - (this.lookedAt ?? now)
    this.lookedAt = seen === 'excuse' ? undefined : now // it ended some time after this look: the next one begins
    const late = passed > 2 * this.everyMs
    this.silentMs = seen === 'nothing' && !late ? this.silentMs + passed : 0
    return this.silentMs >= this.allowedMs
  }
}

export interface WatchdogParts {
  clock: Clock
  log: Log
  /** The VMs that are ready and have a watchdog. */
  watched(): Vm[]
  /** May it stand now, or crawl, for something that we do? */
  isExcused(vm: Vm): boolean
  /** Asks its login once, and gives up when told to. */
  greet(vm: Vm, withinMs: number, signal: AbortSignal): Promise<Greeting>
  /** After: it has no process, and is told dead for this reason. */
  end(vm: Vm, why: string): Promise<void>
}

interface Watch {
  silence: Silence
  allowedMs: number
  everyMs: number
  nextAt: number
  seen: Seen
  /** The question that is under way; it may take as long as the guest may be silent. */
  question: AbortController | undefined
}

const longestEveryMs = 10_000

export class Watchdog {
  private readonly watches = new Map<Vm, Watch>()
  private readonly at: WatchdogParts

  constructor(parts: WatchdogParts) {
    this.at = parts
  }

  /** Looks at every VM whose turn it is. Call it often; a restored or restarted VM is a new one and has all its time. */
  turn(): void {
    const watched = this.at.watched()
    for (const [vm, watch] of this.watches) if (!watched.includes(vm)) this.forget(vm, watch)
    const now = this.at.clock.monotonic()
    for (const vm of watched) {
      const watch = this.watches.get(vm) ?? this.begin(vm)
      if (now >= watch.nextAt) this.look(vm, watch, now)
    }
  }

  close(): void {
    for (const [vm, watch] of this.watches) this.forget(vm, watch)
  }

  private begin(vm: Vm): Watch {
    const allowedMs = vm.instance.spec.watchdogMs!
    const everyMs = Math.min(longestEveryMs, allowedMs / 3)
    const watch: Watch = { silence: new Silence(allowedMs, everyMs), allowedMs, everyMs, nextAt: 0, seen: 'nothing', question: undefined }
    this.watches.set(vm, watch)
    return watch
  }

  private look(vm: Vm, watch: Watch, now: number): void {
    const excused = this.at.isExcused(vm)
    const hung = watch.silence.look(now, excused ? 'excuse' : watch.seen)
    watch.nextAt = now + watch.everyMs
    watch.seen = 'nothing'
    if (excused) watch.question?.abort() // no connection of ours is open in a guest that is being cut
    else if (hung) this.bite(vm, watch)
    else if (!watch.question) void this.ask(vm, watch)
  }

  private async ask(vm: Vm, watch: Watch): Promise<void> {
    const question = new AbortController()
    watch.question = question
    const greeting = await this.at.greet(vm, watch.allowedMs, question.signal)
    watch.question = undefined
    if (question.signal.aborted) return
    if (greeting === 'banner') watch.seen = 'answer'
    if (greeting === 'closed') watch.seen = 'excuse' // its login is not open on this host, which is no fault of the guest
  }

  private bite(vm: Vm, watch: Watch): void {
    this.forget(vm, watch)
    const why = `it hung: its login did not answer for ${watch.allowedMs / 1000} s (watchdog)`
    this.at.log.warn({ vm: vm.instance.spec.vm, why }, 'the watchdog ends a VM')
    this.at.end(vm, why).catch((error: unknown) => {
      this.at.log.error({ vm: vm.instance.spec.vm, err: error }, 'a VM that hung could not be ended: its watchdog begins anew')
    })
  }

  private forget(vm: Vm, watch: Watch): void {
    this.watches.delete(vm)
    watch.question?.abort()
  }
}
