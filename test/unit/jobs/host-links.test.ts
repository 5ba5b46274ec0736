import assert from 'node:assert/strict'
import { join } from 'node:path'
import { Failure } from '../../../base/errors.js'
import { silentLog } from '../../../base/log.js'
import { serveRpc } from '../../../base/rpc.js'
import { connectHosts } from '../../../jobs/host-links.js'
import { useTempFolder } from '../../temp.js'

/** A clock whose sleeps end at once and take as long as was asked for: how much was waited can be read off. */
function quickClock() {
  const time = { at: 0 }
  const sleep = async (ms: number) => {
    time.at += ms
    await new Promise((done) => setImmediate(done))
  }
  return { time, clock: { now: () => time.at, monotonic: () => time.at, sleep } }
}

describe('the links to hosts', () => {
  const folder = useTempFolder()

  it('let nobody wait for an agent that is away once they are closed', async () => {
    const socket = join(folder(), 'agent.sock')
    const agent = await serveRpc(socket, { reports: () => [] }, silentLog)
    const { clock, time } = quickClock()
    const links = await connectHosts({ hosts: [{ name: 'h1', socket }], log: silentLog, clock })
    assert.deepEqual(await links.reports('h1'), [])
    const lost = new Promise<void>((resolve) => links.onHostLost(() => resolve()))
    await agent.close()
    await lost
    const from = time.at
    const asked = links.reports('h1')
    links.close()
    await assert.rejects(asked, (e) => e instanceof Failure && e.code === 'host-lost')
    assert.ok(time.at - from < 8_000, `${time.at - from} ms were waited`)
  })
})
