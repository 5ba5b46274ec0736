// A guest restored from a snapshot breaks the connections made since: the reader must come back by itself, and must not
// take a bank's refusal for a broken line.
import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import ssh2 from 'ssh2'
import { newSshKeys } from '../../../base/ssh-key.js'
import { openBank } from '../../../cli/bank/reader.js'


/** An ssh server whose n-th command (from 0) is answered by `answer(n)`; undefined cuts the connection instead. */
async function guest(answer: (n: number, command: string) => { code: number; out?: string; err?: string } | undefined) {
  let commands = 0
  const connections = new Set<ssh2.Connection>()
  const server = new ssh2.Server({ hostKeys: [newSshKeys().private] }, (connection) => {
    connections.add(connection)
    connection.on('error', () => undefined)
    connection.on('authentication', (context) => context.accept())
    connection.on('session', (accept) => accept().on('exec', (acceptExec, _reject, info) => {
      const reply = answer(commands++, info.command)
      if (!reply) return connection.end()
      const stream = acceptExec()
      stream.stderr.write(reply.err ?? '')
      stream.write(reply.out ?? '')
      stream.exit(reply.code)
      stream.end()
    }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const { port } = server.address() as AddressInfo
  const bank = openBank({ name: 'a', host: '127.0.0.1', port, username: 'user', privateKey: newSshKeys().private })
  const close = () => {
    bank.close()
    for (const connection of connections) connection.end()
    server.close()
  }
  return { bank, connections, close }
}

describe('the reader of a bank', () => {
  it('runs bank commands over one connection', async () => {
    const seen: string[] = []
    const { bank, connections, close } = await guest((_, command) => { seen.push(command); return { code: 0, out: 'done\n' } })
    try {
      await bank.stop()
      await bank.go()
      assert.deepEqual([seen, connections.size], [['bank stop', 'bank go'], 1])
      await assert.rejects(bank.report(), /the bank of a answered something that is not JSON: done/)
    } finally {
      close()
    }
  })

  it('connects anew and asks again when the connection breaks', async () => {
    const { bank, connections, close } = await guest((n) => (n === 0 ? undefined : { code: 0 }))
    try {
      await bank.stop()
      assert.equal(connections.size, 2)
    } finally {
      close()
    }
  })

  it('hands on what the bank says when it refuses, and does not ask again', async () => {
    let asked = 0
    const { bank, close } = await guest(() => { asked++; return { code: 1, err: 'bank: it is not running\n' } })
    try {
      await assert.rejects(bank.go(), { message: 'bank go on a ended with 1: bank: it is not running' })
      assert.equal(asked, 1)
    } finally {
      close()
    }
  })

  it('asks nothing any more when it was closed', async () => {
    const { bank, connections, close } = await guest(() => ({ code: 0 }))
    close()
    await assert.rejects(bank.stop(), /the connection was closed by us/)
    assert.equal(connections.size, 0)
  })
})
