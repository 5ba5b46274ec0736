// The only callers of Date and timers are here, so that a simulation can supply its own.
import { performance } from 'node:perf_hooks'
import { setTimeout as setTimeoutPromise } from 'node:timers/promises'

export interface Clock {
  /** Wall clock, ms since 1970. For people and leases, never for time-outs. */
  now(): number
  /** Monotonic, ms. For every time-out and measurement. */
  monotonic(): number
  sleep(ms: number): Promise<void>
}

export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
}

/** RFC 3339 in UTC without fraction, the one form we send (AM API v3, "Data types"). */
export function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}

/** The same with milliseconds: for what follows closely on one another. */
export const rfc3339ms = (ms: number): string => new Date(ms).toISOString()

/** Sleeps, or ends at once when it is broken off. Never rejects. */
export async function sleepUnless(brokenOff: AbortSignal, ms: number): Promise<void> {
  await setTimeoutPromise(ms, undefined, { signal: brokenOff }).catch(() => undefined)
}

/** Asks again every `everyMs` until `probe` gives something; undefined when `withinMs` has passed. */
export async function until<T>(
  clock: Clock, withinMs: number, everyMs: number, probe: () => Promise<T | undefined> | T | undefined,
): Promise<T | undefined> {
  const end = clock.monotonic() + withinMs
  for (;;) {
    const value = await probe()
    if (value !== undefined) return value
    if (clock.monotonic() >= end) return undefined
    await clock.sleep(everyMs)
  }
}

/** Rejects with `error()` when `work` has not settled within `ms`. The work itself is not stopped. A deadline alone keeps no process alive. */
export async function within<T>(ms: number, work: Promise<T>, error: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(error()), ms).unref() })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
