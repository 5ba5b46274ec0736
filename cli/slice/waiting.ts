// Waits for something that goes on at the aggregate: with progress, with patience for an aggregate that is being started
// again, and until Ctrl-C. What is waited for does not depend on us.
import { Failure } from '../../base/errors.js'
import { until } from '../../base/time.js'
import { Interrupted, sentenceOf } from './errors.js'
import { Progress } from './progress.js'
import type { SliceTools } from './tools.js'

export interface Waited<T> { done?: T; state: string }

const pollMs = 200
/** So long an aggregate may be away. */
const awayMs = 60_000

/** Looks again and again until `done` is there. `doing` names what goes on, `hint` the command that shows it later. */
export async function waitFor<T>(
  tools: SliceTools, at: { doing: string; hint: string; withinMs: number }, look: () => Promise<Waited<T>>,
): Promise<T> {
  const progress = new Progress(tools.err, tools.clock)
  const { clock } = tools
  let lastAnswer = clock.monotonic()
  let stopped = false
  let stopListening = (): void => undefined
  const interrupted = new Promise<never>((_, reject) => {
    stopListening = tools.onInterrupt(() => {
      stopped = true
      reject(new Interrupted(`no longer waiting: ${at.doing} goes on at the aggregate; to see how it is: ${at.hint}`))
    })
  })
  interrupted.catch(() => undefined)
  const looking = until(clock, at.withinMs, pollMs, async () => {
    if (stopped) return null
    try {
      const { done, state } = await look()
      lastAnswer = clock.monotonic()
      if (done === undefined) progress.show(`${at.doing}: ${state}`)
      return done === undefined ? undefined : { done }
    } catch (error) {
      if (stopped) return null // our connection went with the interruption
      if (!isAway(error) || clock.monotonic() - lastAnswer > awayMs) throw error
      progress.show(`${at.doing}: the aggregate does not answer at present, ${sentenceOf(error) ?? ''}`)
      return undefined
    }
  })
  try {
    const found = await Promise.race([looking, interrupted])
    if (found) return found.done
    const after = `${at.doing} has not ended after ${Math.round(at.withinMs / 1000)} s`
    throw new Failure('timed-out', `${after} and goes on at the aggregate; to see how it is: ${at.hint}`)
  } finally {
    stopped = true
    looking.catch(() => undefined)
    stopListening()
    progress.end()
  }
}

/** An answer of the aggregate is no sign that it is away, and neither is a fault of ours. */
const isAway = (error: unknown): boolean => error instanceof Failure && error.cause !== undefined
