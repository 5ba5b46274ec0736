// How many calls one caller may make in a while: a bucket of tokens for each, filled again steadily. It is there against
// programs that ask in a loop without end, so it is generous: people, their tools and their measurements never meet it. What
// protects others from one busy caller is the line in which callers take turns (docs/am-server.md).
import type { Clock } from '../base/time.js'

export interface Rate {
  /** Calls that each caller may make in a second, for ever. */
  perSecond: number
  /** Calls that one who has made none for a while may make at once. */
  burst: number
}

export const standardRate: Rate = { perSecond: 1_000, burst: 30_000 }

/** Callers whose bucket is full again are forgotten when there are more than this; then whoever has been here longest. */
const keptCallers = 10_000

interface Bucket { tokens: number; at: number }

export class RateLimit {
  private readonly rate: Rate | undefined
  private readonly clock: Clock
  private readonly buckets = new Map<string, Bucket>()

  /** Without a rate nobody is ever told to wait. */
  constructor(rate: Rate | undefined, clock: Clock) {
    this.rate = rate
    this.clock = clock
  }

  /** Takes a token of the caller's. 0, or (none is left, none is taken) in how many ms there will be one. */
  take(caller: string): number {
    if (!this.rate) return 0
    const { perSecond, burst } = this.rate
    const now = this.clock.monotonic()
    const bucket = this.buckets.get(caller) ?? { tokens: burst, at: now }
    bucket.tokens = this.tokensAt(bucket, now)
    bucket.at = now
    if (!this.buckets.has(caller)) {
      if (this.buckets.size >= keptCallers) this.forgetSome(now)
      this.buckets.set(caller, bucket)
    }
    if (bucket.tokens < 1) return Math.ceil((1 - bucket.tokens) / perSecond * 1000)
    bucket.tokens--
    return 0
  }

  private tokensAt(bucket: Bucket, now: number): number {
    const { perSecond, burst } = this.rate!
    return Math.min(burst, bucket.tokens + (now - bucket.at) / 1000 * perSecond)
  }

  private forgetSome(now: number): void {
    for (const [caller, bucket] of this.buckets) if (this.tokensAt(bucket, now) >= this.rate!.burst) this.buckets.delete(caller)
    for (const caller of this.buckets.keys()) {
      if (this.buckets.size < keptCallers) return
      this.buckets.delete(caller)
    }
  }
}

/** `50`, `50/500` (calls a second, burst) or `none`. Undefined: it is none of these. */
export function parseRate(text: string): Rate | 'none' | undefined {
  if (text === 'none') return 'none'
  const m = /^(\d{1,6})(?:\/(\d{1,6}))?$/.exec(text)
  const perSecond = Number(m?.[1])
  const burst = m?.[2] === undefined ? perSecond * 10 : Number(m[2])
  return m && perSecond >= 1 && burst >= 1 ? { perSecond, burst } : undefined
}
