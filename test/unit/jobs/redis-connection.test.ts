import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { openRedis } from '../../../jobs/queues.js'
import { useTempFolder } from '../../temp.js'

/** Speaks as much RESP as a client needs that connects and reads one key, and for a while is still loading. */
function loadingRedis(path: string): { server: Server; asked: string[] } {
  const asked: string[] = []
  let loading = true
  const server = createServer((socket) => socket.on('data', (data) => {
    for (const [command] of data.toString().matchAll(/(?<=^|\r\n)\*\d+\r\n(?:\$\d+\r\n[^\r]*\r\n)+/g)) {
      const name = command.split('\r\n')[2]!.toLowerCase()
      asked.push(loading ? `${name} while loading` : name)
      if (name === 'info') {
        const text = `loading:${loading ? 1 : 0}\r\nloading_eta_seconds:0\r\n`
        socket.write(`$${text.length}\r\n${text}\r\n`)
        loading = false // by the next time it is asked
      } else if (name === 'get') socket.write(loading ? '-LOADING Redis is loading the dataset in memory\r\n' : '$5\r\nvalue\r\n')
      else socket.write('+OK\r\n')
    }
  })).listen(path)
  return { server, asked }
}

describe('a connection to Redis', () => {
  const folder = useTempFolder()

  it('waits with its commands until a Redis that was started again has read its data back', async () => {
    const { server, asked } = loadingRedis(join(folder(), 'redis.sock'))
    const redis = openRedis({ path: join(folder(), 'redis.sock') })
    try {
      assert.equal(await redis.get('key'), 'value')
      assert.ok(!asked.includes('get while loading'), asked.join(', '))
      assert.ok(asked.includes('info while loading'), 'the test has tested nothing')
    } finally {
      redis.disconnect()
      server.close()
    }
  })
})
