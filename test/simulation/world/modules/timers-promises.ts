// Sleeping, in virtual time.
import { world } from '../world.js'

export function setTimeout<T>(ms: number, value?: T, options: { signal?: AbortSignal } = {}): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    world().timer(() => resolve(value), ms, false)
    options.signal?.addEventListener('abort', () => reject(new Error('aborted')), { once: true })
  })
}
