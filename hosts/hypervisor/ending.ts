// How a VM's process ends, and who hears of it: the same for every driver.

/** The exit of our child tells the signal, and comes a moment after its monitor was closed. */
const exitMs = 100

export class Ending {
  /** Why it ended; undefined while it lives. */
  reason: string | undefined
  private readonly listeners = new Set<(reason: string) => void>()
  private cause: string | undefined

  onEnd(listener: (reason: string) => void): void {
    if (this.reason !== undefined) listener(this.reason)
    else this.listeners.add(listener)
  }

  /** Why it will end in a moment. How its process then ends is no news: this is told in its place, but not before that. */
  foresee(cause: string): void {
    this.cause = cause
  }

  /** Whoever sees it first tells it; what comes later is no news. */
  tell(how: string): void {
    if (this.reason !== undefined) return
    const reason = this.cause ?? how
    this.reason = reason
    for (const listener of this.listeners) listener(reason)
  }

  /** Its monitor was closed: unless the exit says how, this is all that is known. */
  tellSoon(reason: string): void {
    setTimeout(() => this.tell(reason), exitMs).unref()
  }
}
