// One line that says what goes on and for how long already: rewritten on a terminal, repeated now and then elsewhere. What
// is over within two seconds says nothing.
import type { Clock } from '../../base/time.js'

const silentMs = 2_000
const everyMs = 5_000

export class Progress {
  private readonly err: { write(text: string): unknown; isTTY?: boolean | undefined }
  private readonly clock: Clock
  private readonly begun: number
  private told: number | undefined

  constructor(err: { write(text: string): unknown; isTTY?: boolean | undefined }, clock: Clock) {
    this.err = err
    this.clock = clock
    this.begun = clock.monotonic()
  }

  show(state: string): void {
    const now = this.clock.monotonic()
    const elapsed = now - this.begun
    if (elapsed < silentMs) return
    const line = `violin: ${state} (${Math.floor(elapsed / 1000)} s)`
    if (this.err.isTTY) this.err.write(`\r\x1b[K${line}`)
    else if (this.told === undefined || now - this.told >= everyMs) this.err.write(`${line}\n`)
    else return
    this.told = now
  }

  /** The line goes; what comes next begins a fresh one. */
  end(): void {
    if (this.told !== undefined && this.err.isTTY) this.err.write('\r\x1b[K')
    this.told = undefined
  }
}
