import assert from 'node:assert/strict'
import { statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { Failure, Refusal } from '../../../base/errors.js'
import { silentLog } from '../../../base/log.js'
import { connectRpc, serveRpc, type RpcClient, type RpcHandlers, type RpcServer } from '../../../base/rpc.js'
import { useTempFolder } from '../../temp.js'

const is = (kind: typeof Refusal | typeof Failure, code: string, message: RegExp) => (e: unknown) =>
  e instanceof kind && e.code === code && message.test(e.message)

describe('RPC between processes', () => {
  const folder = useTempFolder()
  const path = () => join(folder(), 'rpc')
  const ends: (() => unknown)[] = []
  afterEach(async () => { for (const end of ends.splice(0).reverse()) await end() })

  async function pair(handlers: RpcHandlers): Promise<{ server: RpcServer; client: RpcClient }> {
    const server = await serveRpc(path(), handlers, silentLog)
    const client = await connectRpc(path(), 'the peer')
    ends.push(() => server.close(), () => client.close())
    return { server, client }
  }

  it('answers each of many requests with its own answer, whatever their order', async () => {
    const held: (() => void)[] = []
    const { client } = await pair({
      echo: (n: number) => new Promise((done) => {
        held.push(() => done(n))
        if (held.length === 5) for (const go of held.reverse()) go()
      }),
      nothing: () => undefined,
    })
    assert.deepEqual(await Promise.all([1, 2, 3, 4, 5].map((n) => client.request('echo', n, 5_000))), [1, 2, 3, 4, 5])
    assert.equal(await client.request('nothing', {}, 5_000), null)
  })

  it('lets a refusal cross as a refusal and a failure as a failure, with code and reason', async () => {
    const { client } = await pair({
      refuse: () => { throw new Refusal('busy', 'cut 3 is under way') },
      fail: () => { throw new Failure('no-space', 'the disk is full', { cause: new Error('ENOSPC') }) },
    })
    await assert.rejects(client.request('refuse', {}, 5_000), is(Refusal, 'busy', /^cut 3 is under way$/))
    await assert.rejects(client.request('fail', {}, 5_000), is(Failure, 'no-space', /^the peer: the disk is full: ENOSPC$/))
  })

  it('tells a bug of the peer, and a method it does not know, as a failure', async () => {
    const { client } = await pair({ bug: () => { throw new TypeError('x is undefined') } })
    await assert.rejects(client.request('bug', {}, 5_000), is(Failure, 'failed', /x is undefined/))
    await assert.rejects(client.request('unknown', {}, 5_000), is(Failure, 'failed', /unknown/))
  })

  it('gives up a request at its deadline', async () => {
    const { client } = await pair({ never: () => new Promise(() => undefined) })
    await assert.rejects(client.request('never', {}, 1), is(Failure, 'timed-out', /the peer did not answer never within 1 ms/))
  })

  it('fails a request that meets a peer which died just now, and nothing is left that ends the process', async () => {
    const broken: unknown[] = []
    const note = (why: unknown) => broken.push(why)
    const before = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection').on('unhandledRejection', note)
    try {
      const server = createServer((socket) => socket.destroy()).listen(path())
      ends.push(() => server.close())
      for (let i = 0; i < 20; i++) {
        const client = await connectRpc(path(), 'the peer').catch(() => undefined)
        if (client) await assert.rejects(client.request('echo', i, 5_000), is(Failure, 'host-lost', /the connection to the peer was lost/))
      }
      await new Promise((done) => setImmediate(done))
    } finally {
      process.removeAllListeners('unhandledRejection')
      for (const listener of before) process.on('unhandledRejection', listener)
    }
    assert.deepEqual(broken, [])
  })

  it('fails what is under way when the peer is lost, says so once, and refuses what comes later', async () => {
    let begun!: () => void
    const began = new Promise<void>((done) => { begun = done })
    const { client, server } = await pair({ never: () => { begun(); return new Promise(() => undefined) } })
    let closed = 0
    client.onClose(() => closed++)
    const request = client.request('never', {}, 60_000)
    const rejected = assert.rejects(request, is(Failure, 'host-lost', /connection to the peer was lost/))
    await began
    await server.close()
    await rejected
    await assert.rejects(client.request('never', {}, 60_000), is(Failure, 'host-lost', /lost/))
    assert.equal(closed, 1)
    client.onClose(() => closed++)
    assert.equal(closed, 2, 'who listens late is told at once')
  })

  it('survives a client that sends rubbish and serves the next one', async () => {
    const { client } = await pair({ ping: () => 'pong' })
    const raw = connect(path())
    raw.on('error', () => undefined)
    await new Promise<void>((done) => raw.once('connect', () => { raw.end('Content-Length: 5\r\n\r\n{{{{{', () => done()) }))
    assert.equal(await client.request('ping', {}, 5_000), 'pong')
  })

  it('notifies every client', async () => {
    const { client, server } = await pair({ ping: () => 'pong' })
    const heard = new Promise((done) => client.onNotification('held', done))
    await client.request('ping', {}, 5_000)
    server.notify('held', { k: 3 })
    assert.deepEqual(await heard, { k: 3 })
  })

  it('serves only its own user, and takes the place of a socket that a dead process left', async () => {
    await new Promise<void>((done) => { const dead = createServer().listen(path(), () => { dead.close(() => done()) }) })
    writeFileSync(path(), '')
    const { client } = await pair({ ping: () => 'pong' })
    assert.equal(await client.request('ping', {}, 5_000), 'pong')
    assert.equal(statSync(path()).mode & 0o777, 0o600)
  })

  it('says which peer does not answer where', async () => {
    await assert.rejects(connectRpc(path(), 'the switch'), is(Failure, 'host-lost', /^the switch does not answer at \//))
  })
})
