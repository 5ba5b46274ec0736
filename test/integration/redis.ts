// A Redis server for one test, on a unix socket of its own, gone with the test.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { realClock as clock, until } from '../../base/time.js'
import { openRedis } from '../../jobs/queues.js'

export interface PrivateRedis { path: string; close(): Promise<void> }

export async function startRedis(): Promise<PrivateRedis> {
  const folder = mkdtempSync(join(tmpdir(), 'vredis-'))
  const path = join(folder, 'redis.sock')
  const [program, ...options] = ['redis-server', '--port', '0', '--unixsocket', path, '--dir', folder, '--save', '', '--maxmemory-policy', 'noeviction']
  const server = spawn(program, options, { stdio: 'ignore' })
  const ended = new Promise((resolve) => server.once('exit', resolve))
  const redis = openRedis({ path })
  const answered = await until(clock, 10_000, 20, () => (server.exitCode === null ? redis.ping().catch(() => undefined) : 'ended'))
  redis.disconnect()
  assert.equal(answered, 'PONG', 'redis-server does not come up')
  return {
    path,
    async close() {
      server.kill('SIGTERM')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
