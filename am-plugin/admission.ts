// How many calls are worked on at once, and how many bytes of not yet answered calls lie in memory: in all, and of one
// caller. More wait in line, and the callers take turns, so that one with many calls does not stand before all others. Who
// comes when the line is full is told to come again, or has the one told who waits with most calls.
import { Refusal } from '../base/errors.js'

export interface AdmissionLimits {
  concurrent: number
  waiting: number
  bufferedBytes: number
  /** The same three, of one caller. */
  callerConcurrent: number
  callerWaiting: number
  callerBytes: number
}

interface Waiter { go: () => void; refuse: (error: Refusal) => void }
/** What one caller has here now. Kept only while that is anything. */
interface Share { running: number; bytes: number; line: Waiter[] }

export class Admission {
  private readonly bounds: AdmissionLimits
  private readonly shares = new Map<string, Share>()
  /** Callers with calls in line, the one whose turn is next first. */
  private readonly turns = new Set<Share>()
  private running = 0
  private waiting = 0
  private buffered = 0

  constructor(bounds: AdmissionLimits) {
    this.bounds = bounds
  }

  /** Runs `work` as soon as a place is free and it is the caller's turn. Refuses with 'busy' when the line is full. */
  async run<T>(caller: string, work: () => Promise<T>): Promise<T> {
    const share = this.shareOf(caller)
    if (this.running < this.bounds.concurrent && share.running < this.bounds.callerConcurrent && share.line.length === 0) this.begin(share)
    else await this.wait(share)
    try {
      return await work()
    } finally {
      this.running--
      share.running--
      this.letIn()
      this.forget(caller, share)
    }
  }

  /** Counts bytes that came in. Refuses with 'busy' when the caller's calls, or all together, would take too much memory. */
  hold(caller: string, bytes: number): void {
    const share = this.shareOf(caller)
    if (this.buffered + bytes > this.bounds.bufferedBytes || share.bytes + bytes > this.bounds.callerBytes) {
      this.forget(caller, share)
      throw busy()
    }
    this.buffered += bytes
    share.bytes += bytes
  }

  release(caller: string, bytes: number): void {
    const share = this.shareOf(caller)
    this.buffered -= bytes
    share.bytes -= bytes
    this.forget(caller, share)
  }

  private begin(share: Share): void {
    this.running++
    share.running++
  }

  private wait(share: Share): Promise<void> {
    if (share.line.length >= this.bounds.callerWaiting) throw new Refusal('busy', 'you have too many calls at hand here; try again when some have ended')
    if (this.waiting >= this.bounds.waiting && !this.makeRoom(share)) throw busy()
    this.waiting++
    this.turns.add(share)
    return new Promise((go, refuse) => share.line.push({ go, refuse }))
  }

  /** The newest call of whoever waits with most gives way, where that is more than the newcomer would have. */
  private makeRoom(newcomer: Share): boolean {
    const longest = [...this.turns].reduce((a, b) => (b.line.length > a.line.length ? b : a))
    if (longest.line.length <= newcomer.line.length + 1) return false
    longest.line.pop()!.refuse(busy())
    this.waiting--
    return true
  }

  private letIn(): void {
    while (this.running < this.bounds.concurrent) {
      const share = [...this.turns].find((s) => s.running < this.bounds.callerConcurrent)
      if (!share) return
      this.turns.delete(share)
      const next = share.line.shift()!
      this.waiting--
      if (share.line.length > 0) this.turns.add(share) // behind all others
      this.begin(share)
      next.go()
    }
  }

  private shareOf(caller: string): Share {
    let share = this.shares.get(caller)
    if (!share) this.shares.set(caller, share = { running: 0, bytes: 0, line: [] })
    return share
  }

  private forget(caller: string, share: Share): void {
    if (share.running === 0 && share.bytes === 0 && share.line.length === 0) this.shares.delete(caller)
  }
}

function busy(): Refusal {
  return new Refusal('busy', 'the aggregate has too many calls at hand; try again later')
}
