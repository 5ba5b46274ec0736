// Connects to the monitor of a VM that was started just now: tried until it answers or its process is gone.
import { Failure } from '../../base/errors.js'
import { until, type Clock } from '../../base/time.js'
import { startTime, type ProcessRef } from './process.js'

const monitorMs = 15_000

export async function monitorOf<T>(ref: ProcessRef, clock: Clock, connect: () => Promise<T>): Promise<T> {
  let last: unknown
  const monitor = await until(clock, monitorMs, 10, async () => {
    try {
      return await connect()
    } catch (error) {
      last = error
      if ((await startTime(ref.pid)) !== ref.started) throw error
      return undefined
    }
  })
  if (monitor === undefined) throw new Failure('timed-out', 'its monitor does not answer', { cause: last })
  return monitor
}
