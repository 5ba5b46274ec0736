// One timer for what happens soonest: frames on their way over shaped links arrive at times of their own.
import type { Clock } from '../base/time.js'

export class Alarm {
  private timer: NodeJS.Timeout | undefined
  private at = Infinity
  private readonly clock: Clock
  private readonly ring: () => void

  constructor(clock: Clock, ring: () => void) {
    this.clock = clock
    this.ring = ring
  }

  /** Rings at `due` (monotonic) at the latest, if it is not set for earlier. Whoever is rung sets it again. */
  set(due: number): void {
    if (due >= this.at) return
    clearTimeout(this.timer)
    this.at = due
    this.timer = setTimeout(() => {
      this.at = Infinity
      this.ring()
    }, Math.max(1, Math.floor(due - this.clock.monotonic())))
    this.timer.unref()
  }

  clear(): void {
    clearTimeout(this.timer)
    this.at = Infinity
  }
}
