// A guest is ready when its management login greets: true for any image with an SSH server.
import { connect } from 'node:net'
import { limits } from '../base/limits.js'
import { until, type Clock } from '../base/time.js'

const greetMs = 1_000

/** True once something at the port says "SSH-"; false when it does not within the boot limit or `giveUp` says so. */
export async function waitForBanner(port: number, clock: Clock, giveUp: () => boolean): Promise<boolean> {
  const answered = await until(clock, limits.bootMs, 100, async () => {
    if (giveUp()) return 'gone'
    return (await greets(port)) ? 'ready' : undefined
  })
  return answered === 'ready'
}

function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(greetMs, () => end(false))
    socket.once('error', () => end(false))
    socket.once('close', () => end(false))
    socket.once('data', (data) => end(data.toString('latin1').startsWith('SSH-')))
  })
}
