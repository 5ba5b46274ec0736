// Waiting for a guest's software with a bound and a name.
import { explain, Failure } from '../../base/errors.js'
import { realClock as clock, until } from '../../base/time.js'

/** Asks until the answer is yes. A question that fails is asked again; the last failure is told when time is up. */
export async function within(what: string, ms: number, ask: () => Promise<boolean>): Promise<void> {
  let why = 'the answer was no'
  const reached = await until(clock, ms, 500, async () => {
    try {
      return (await ask()) ? true : undefined
    } catch (error) {
      why = explain(error)
      return undefined
    }
  })
  if (!reached) throw new Failure('timed-out', `it did not come about within ${ms / 1000} s that ${what}: ${why}`)
}
