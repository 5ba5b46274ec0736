// A guest is ready when its management login greets: true for any image with an SSH server.
import { connect } from 'node:net'
import { limits } from '../base/limits.js'
import { until, type Clock } from '../base/time.js'

const greetMs = 1_000

/** What a login port says: an SSH server is there, nobody listens at the host's port, or anything else and nothing. */
export type Greeting = 'banner' | 'closed' | 'none'

/** True once something at the port says "SSH-"; false when it does not within the boot limit or `giveUp` says so. */
export async function waitForBanner(port: number, clock: Clock, giveUp: () => boolean): Promise<boolean> {
  const answered = await until(clock, limits.bootMs, 100, async () => {
    if (giveUp()) return 'gone'
    return (await greet(port, greetMs)) === 'banner' ? 'ready' : undefined
  })
  return answered === 'ready'
}

/** Asks a login port of this host once. */
export function greet(port: number, withinMs: number, signal?: AbortSignal): Promise<Greeting> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', ...(signal ? { signal } : {}) })
    const end = (greeting: Greeting) => {
      socket.destroy()
      resolve(greeting)
    }
    socket.setTimeout(withinMs, () => end('none'))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code === 'ECONNREFUSED' ? 'closed' : 'none'))
    socket.once('close', () => end('none'))
    socket.once('data', (data) => end(data.toString('latin1').startsWith('SSH-') ? 'banner' : 'none'))
  })
}
