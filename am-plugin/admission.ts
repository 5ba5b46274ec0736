// How many calls are worked on at once, and how many bytes of not yet answered calls lie in memory. More wait in line,
// and beyond that line a caller is told to come again rather than left hanging.
import { Refusal } from '../base/errors.js'

export interface AdmissionLimits { concurrent: number; waiting: number; bufferedBytes: number }

export class Admission {
  private readonly bounds: AdmissionLimits
  private readonly line: (() => void)[] = []
  private running = 0
  private buffered = 0

  constructor(bounds: AdmissionLimits) {
    this.bounds = bounds
  }

  /** Runs `work` as soon as a place is free. Refuses with 'busy' when the line is full. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.running < this.bounds.concurrent) this.running++
    else await this.wait()
    try {
      return await work()
    } finally {
      const next = this.line.shift()
      if (next) next() // the place is handed on, so `running` stays
      else this.running--
    }
  }

  /** Counts bytes that came in. Refuses with 'busy' when all calls together would take too much memory. */
  hold(bytes: number): void {
    if (this.buffered + bytes > this.bounds.bufferedBytes) throw busy()
    this.buffered += bytes
  }

  release(bytes: number): void {
    this.buffered -= bytes
  }

  private wait(): Promise<void> {
    if (this.line.length >= this.bounds.waiting) throw busy()
    return new Promise((resolve) => this.line.push(resolve))
  }
}

function busy(): Refusal {
  return new Refusal('busy', 'the aggregate has too many calls at hand; try again later')
}
