import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { request as httpsRequest, Agent } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { CallFault, serve, type AmServer, type ServeOptions, type ServerCall } from '../../../am-plugin/server.js'
import { decodeResponse } from '../../../am-plugin/xmlrpc/decode.js'
import { encodeCall } from '../../../am-plugin/xmlrpc/encode.js'
import type { Value } from '../../../am-plugin/xmlrpc/value.js'
import { Failure, Refusal } from '../../../base/errors.js'
import { silentLog } from '../../../base/log.js'
import { realClock, until } from '../../../base/time.js'
import { AmError, makeAmClient, type AmClient } from '../../../cli/am-client.js'
import { makeCertificates, type Certificates } from './certificates.js'

const ok = (value: Value): Value => ({ code: { geni_code: 0 }, value, output: '' })

describe('the XML-RPC server', () => {
  let certs: Certificates
  let server: AmServer
  let client: AmClient
  let handle: ServeOptions['handle']
  const calls: ServerCall[] = []

  const start = (more: Partial<ServeOptions> = {}) => serve({
    host: '127.0.0.1', port: 0, key: certs.serverKey, cert: certs.serverCert, log: silentLog,
    handle: (call) => {
      calls.push(call)
      return handle(call)
    },
    ...more,
  })
  const asAlice = (at: AmServer) =>
    makeAmClient({ url: `${at.url}/am/3.0`, key: certs.clientKey, cert: certs.clientCert, ca: certs.ca, timeoutMs: 10_000 })
  const http = (method: string, body?: Buffer | string, headers: Record<string, string> = {}, path = '/am/3.0', at = server) =>
    new Promise<{ status: number; body: Buffer; headers: Record<string, unknown> }>((resolve, reject) => {
      const req = httpsRequest(`${at.url}${path}`, { method, ca: certs.ca, headers, agent: new Agent({ keepAlive: false }) }, (res) => {
        const chunks: Buffer[] = []
        res.on('data', (chunk: Buffer) => chunks.push(chunk))
        res.on('end', () => resolve({ status: res.statusCode!, body: Buffer.concat(chunks), headers: res.headers }))
      })
      req.on('error', reject)
      req.end(body)
    })

  before(async () => {
    certs = makeCertificates()
    server = await start()
    client = asAlice(server)
  })
  beforeEach(() => {
    calls.length = 0
    handle = async (call) => ok(call.params)
  })
  after(async () => {
    client.close()
    await server.close()
  })

  it('hands on method, parameters, path and the chain of the client, leaf first', async () => {
    assert.deepEqual(await client.geni('Status', [['urn'], { 'geni_best_effort': true }]).then((v) => JSON.stringify(v)),
      '[["urn"],{"geni_best_effort":true}]')
    const { method, path, peer, callId } = calls[0]!
    assert.deepEqual([method, path], ['Status', '/am/3.0'])
    assert.match(callId, /^[0-9a-f]{12}$/)
    assert.deepEqual(peer.map((der) => new X509Certificate(der).subject), ['CN=client', 'CN=ca'])
  })

  it('answers a client that shows no certificate, and hands on an empty chain', async () => {
    const { status, body, headers } = await http('POST', encodeCall('GetVersion', []), {}, '/RPC2?x=1')
    assert.equal(status, 200)
    assert.equal(headers['content-type'], 'text/xml')
    assert.equal(headers['content-length'], String(body.length))
    assert.equal(decodeResponse(body).kind, 'value')
    assert.deepEqual([calls[0]!.path, calls[0]!.peer], ['/RPC2', []])
  })

  it('keeps a connection for the next call', async () => {
    handle = async () => ok('')
    for (let i = 0; i < 3; i++) await client.geni('GetVersion', [])
    assert.equal(new Set(calls.map((call) => call.peer)).size, 1) // one chain, read once per connection
  })

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`has the whole chain on every connection of a client that would resume a session over ${version}`, async () => {
      const options: ConnectionOptions = {
        port: server.port, host: '127.0.0.1', ca: certs.ca, key: certs.clientKey, cert: certs.clientCert,
        minVersion: version, maxVersion: version,
      }
      let session: Buffer | undefined
      for (let i = 0; i < 2; i++) {
        const socket = connectTls({ ...options, ...session ? { session } : {} })
        socket.on('session', (ticket: Buffer) => { session = ticket })
        await once(socket, 'secureConnect')
        const body = encodeCall('X', [])
        socket.end(`POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body.toString()}`)
        await drain(socket)
        session ??= socket.getSession()
      }
      assert.deepEqual(calls.map((call) => call.peer.length), [2, 2])
    })
  }

  it('refuses TLS below 1.2', async () => {
    const socket = connectTls({ port: server.port, host: '127.0.0.1', ca: certs.ca, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' })
    await assert.rejects(once(socket, 'secureConnect'))
  })

  it('answers what is no XML-RPC call with a fault and HTTP 200', async () => {
    for (const text of ['', 'hello', '<methodCall/>', '<!DOCTYPE x><methodCall><methodName>X</methodName></methodCall>']) {
      const { status, body } = await http('POST', text)
      const answer = decodeResponse(body)
      assert.equal(status, 200)
      assert.ok(answer.kind === 'fault' && answer.code === -32700, text)
      assert.match(answer.message, /^this is no XML-RPC call: /)
    }
    assert.equal(calls.length, 0)
  })

  it('turns whatever a handler throws into a result struct, and goes on', async () => {
    const thrown: [unknown, number, RegExp][] = [
      [new Refusal('not-found', 'no such slice'), 12, /^no such slice$/],
      [new Refusal('busy', 'try again'), 14, /^try again$/],
      [new Failure('failed', 'host gone'), 2, /^host gone$/],
      [new Error('secret /etc/shadow'), 5, /^internal error; the log of the aggregate has it under call [0-9a-f]{12}$/],
      [null, 5, /^internal error/],
    ]
    for (const [error, code, output] of thrown) {
      handle = async () => { throw error }
      await assert.rejects(client.geni('Status', []), (e) => e instanceof AmError && e.geniCode === code && output.test(e.output))
    }
    handle = () => { throw new Error('not even a promise') }
    await assert.rejects(client.geni('Status', []), { name: 'AmError', geniCode: 5 })
    handle = async () => ok('alive')
    assert.equal(await client.geni('Status', []), 'alive')
  })

  it('turns an answer that XML-RPC cannot carry into a result struct', async () => {
    for (const value of ['a\0b', 1.5, undefined as unknown as Value]) {
      handle = async () => ok(value)
      await assert.rejects(client.geni('Status', []), { name: 'AmError', geniCode: 2 })
    }
  })

  it('lets a handler answer with a fault', async () => {
    handle = async () => { throw new CallFault(-32601, 'no method X') }
    await assert.rejects(client.call('X', []), { name: 'Failure', message: 'X: the aggregate answered with fault -32601: no method X' })
  })

  it('greets a browser and refuses other HTTP methods', async () => {
    const get = await http('GET', undefined, {}, '/')
    assert.equal(get.status, 200)
    assert.match(get.body.toString(), /XML-RPC/)
    assert.equal((await http('PUT', 'x')).status, 405)
  })

  it('answers a GET with a page where there is one, by the path and the certificates of whoever asks, and survives one that fails', async () => {
    const asked: { path: string; peer: number }[] = []
    const pages = await start({
      page: async ({ path, peer }) => {
        asked.push({ path, peer: peer.length })
        if (path === '/broken') throw new Error('a bug')
        return path === '/console/v-1' ? { status: 403, text: 'not for you: ä\n' } : undefined
      },
    })
    const page = await http('GET', undefined, {}, '/console/v-1?x=1', pages)
    assert.deepEqual([page.status, page.body.toString(), page.headers['content-type'], page.headers['x-content-type-options'], page.headers['cache-control']],
      [403, 'not for you: ä\n', 'text/plain; charset=utf-8', 'nosniff', 'no-store'])
    assert.match((await http('GET', undefined, {}, '/', pages)).body.toString(), /XML-RPC/)
    const broken = await http('GET', undefined, {}, '/broken', pages)
    assert.deepEqual([broken.status, /call [0-9a-f]{12}/.test(broken.body.toString()), broken.body.toString().includes('a bug')], [503, true, false])
    assert.deepEqual(asked, [{ path: '/console/v-1', peer: 0 }, { path: '/', peer: 0 }, { path: '/broken', peer: 0 }])
    await pages.close()
  })

  it('refuses a body over the bound with a sentence that the client can read', async () => {
    const small = await start({ limits: { bodyBytes: 1000 } })
    for (const size of [1001, 3000]) {
      const { status, body } = await http('POST', Buffer.alloc(size, 0x20), {}, '/', small)
      assert.equal(status, 200)
      assert.match(JSON.stringify(decodeResponse(body)), /"geni_code":1.*the call is larger than 1000 bytes/)
    }
    await small.close()
  })

  it('refuses a compressed request', async () => {
    const { body } = await http('POST', 'x', { 'Content-Encoding': 'gzip' })
    assert.match(body.toString(), /compressed requests are not accepted/)
  })

  it('tells callers beyond the line to come again', async () => {
    const { promise, resolve } = deferred<Value>()
    handle = () => promise
    const narrow = await start({ limits: { concurrent: 1, waiting: 1 } })
    const other = asAlice(narrow)
    const three = [1, 2, 3].map((n) => other.geni('Status', [n]))
    const refused = await Promise.any(three.map((call) => call.then(() => Promise.reject(new Error('answered')), (error: unknown) => error)))
    assert.ok(refused instanceof AmError && refused.geniCode === 14, String(refused))
    resolve(ok('done'))
    const ends = await Promise.allSettled(three)
    assert.deepEqual(ends.map((end) => end.status).sort(), ['fulfilled', 'fulfilled', 'rejected'])
    assert.equal(calls.length, 2)
    other.close()
    await narrow.close()
  })

  it('answers for a handler that never ends', async () => {
    handle = () => new Promise(() => undefined)
    const hasty = await start({ limits: { callMs: 5 } })
    const other = asAlice(hasty)
    await assert.rejects(other.geni('Delete', []), { name: 'AmError', geniCode: 8 })
    other.close()
    await hasty.close()
  })

  it('lets the call under way end when it closes, although idle connections are open', async () => {
    const { promise, resolve } = deferred<Value>()
    const begun = deferred<undefined>()
    handle = async () => ok('')
    const ending = await start({ limits: { closeMs: 60_000 } })
    const idle = asAlice(ending)
    const busy = asAlice(ending)
    await idle.geni('GetVersion', [])
    const silent = connectTls({ port: ending.port, host: '127.0.0.1', ca: certs.ca })
    await once(silent, 'secureConnect')
    handle = () => {
      begun.resolve(undefined)
      return promise
    }
    const answer = busy.geni('Delete', [])
    await begun.promise
    const closed = ending.close()
    resolve(ok('deleted'))
    assert.equal(await answer, 'deleted')
    await closed
    await assert.rejects(idle.geni('GetVersion', []), { name: 'Failure' })
    idle.close()
    busy.close()
  })

  it('cuts off a client that never finishes its handshake, and whoever is left at the end of the grace time', async () => {
    const strict = await start({ limits: { handshakeMs: 20, closeMs: 20 } })
    const silent = connectTcp(strict.port, '127.0.0.1')
    silent.on('error', () => undefined)
    await once(silent, 'close')
    const unsecured = connectTcp(strict.port, '127.0.0.1')
    await once(unsecured, 'connect')
    unsecured.on('error', () => undefined)
    await strict.close()
  })

  it('answers a call with too much in it with a struct, and what is not even a call with a fault', async () => {
    const wrapped = (xml: string) => `<methodCall><methodName>PerformOperationalAction</methodName><params><param><value>${xml}</value></param></params></methodCall>`
    const deep = wrapped('<array><data><value>'.repeat(40) + '</value></data></array>'.repeat(40))
    for (const [xml, sentence] of [
      [deep, /nested deeper than 64/], [wrapped('x'.repeat(3_000_000)), /longer than 2097152 characters/],
      [wrapped(`<array><data>${'<value/>'.repeat(10_001)}</data></array>`), /more than 10000 members/],
    ] as const) {
      const answer = decodeResponse((await http('POST', xml)).body)
      assert.ok(answer.kind === 'value')
      const { code, value, output } = answer.value as { code: { geni_code: number }; value: Value; output: string }
      assert.deepEqual([code.geni_code, value], [1, []]) // jFed reads an array where an action was refused
      assert.match(output, sentence)
    }
    assert.equal(calls.length, 0)
  })

  it('tells a caller that calls too often when to come again, and answers all others', async () => {
    const time = { at: 0 }
    handle = async () => ok('done')
    const bounded = await start({
      rate: { perSecond: 1, burst: 2 }, clock: { ...realClock, monotonic: () => time.at },
      callerOf: (peer) => (peer.length > 0 ? 'alice' : undefined),
    })
    const alice = asAlice(bounded)
    for (let i = 0; i < 2; i++) assert.equal(await alice.geni('Status', []), 'done')
    await assert.rejects(alice.geni('Status', []), { name: 'AmError', geniCode: 14, output: 'you call too often; try again in 1 s' })
    const again = asAlice(bounded) // another connection, the same caller
    await assert.rejects(again.geni('Status', []), { name: 'AmError', geniCode: 14 })
    assert.match((await http('POST', encodeCall('GetVersion', []), {}, '/', bounded)).body.toString(), /done/)
    time.at = 1_000
    assert.equal(await again.geni('Status', []), 'done')
    alice.close()
    again.close()
    await bounded.close()
  })

  it('lets many calls of one caller wait, not those of another behind them', async () => {
    const held: (() => void)[] = []
    const order: string[] = []
    handle = (call) => {
      order.push(call.peer.length > 0 ? 'alice' : 'nobody')
      return new Promise((resolve) => held.push(() => { resolve(ok('')) }))
    }
    const narrow = await start({ limits: { concurrent: 2, callerConcurrent: 1 }, callerOf: (peer) => (peer.length > 0 ? 'alice' : undefined) })
    const alice = asAlice(narrow)
    const many = [1, 2, 3, 4].map(() => alice.geni('Status', []))
    assert.ok(await until(realClock, 30_000, 1, () => (order.length === 1 ? true : undefined)))
    const other = http('POST', encodeCall('Status', []), {}, '/', narrow)
    assert.ok(await until(realClock, 30_000, 1, () => (order.length === 2 ? true : undefined)))
    assert.deepEqual(order, ['alice', 'nobody'])
    for (let i = 0; i < 5; i++) {
      assert.ok(await until(realClock, 30_000, 1, () => (held.length > i ? true : undefined)))
      held[i]!()
    }
    await Promise.all([...many, other])
    alice.close()
    await narrow.close()
  })

  it('closes the connection that has been idle for longest for a new one, also one that sends its headers a byte at a time', async () => {
    handle = async () => ok('here')
    const small = await start({ limits: { connections: 3 } })
    const opened: TLSSocket[] = []
    const closed: number[] = []
    for (let i = 0; i < 3; i++) {
      const socket = connectTls({ port: small.port, host: '127.0.0.1', ca: certs.ca })
      socket.on('error', () => undefined)
      socket.on('close', () => { closed.push(i) })
      await once(socket, 'secureConnect')
      socket.write('POST / HTTP/1.1\r\nX: ')
      opened.push(socket)
    }
    const client = asAlice(small)
    assert.equal(await client.geni('GetVersion', []), 'here')
    assert.ok(await until(realClock, 30_000, 1, () => (closed.length > 0 ? true : undefined)))
    assert.deepEqual(closed, [0])
    opened[1]!.write('y') // it is still there, and no younger for that
    const another = asAlice(small)
    assert.equal(await another.geni('GetVersion', []), 'here')
    assert.ok(await until(realClock, 30_000, 1, () => (closed.length > 1 ? true : undefined)))
    assert.deepEqual(closed, [0, 1])
    client.close()
    another.close()
    await small.close()
  })

  it('cuts off who sends headers or a body too slowly, who says nothing, and who does not take the answer', async () => {
    handle = async () => ok('x'.repeat(4_000_000))
    const strict = await start({ limits: { headersMs: 50, requestMs: 60, keepAliveMs: 50, answerMs: 50 } })
    const whole = encodeCall('X', []).toString()
    const requests = ['', 'POST / HTTP/1.1\r\nX:', `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n${whole}`,
      `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${whole.length}\r\n\r\n${whole}`.repeat(8)]
    for (const text of requests) {
      const socket = connectTls({ port: strict.port, host: '127.0.0.1', ca: certs.ca })
      const ended = new Promise((resolve) => { socket.on('error', resolve).on('close', resolve).on('end', resolve) })
      await once(socket, 'secureConnect')
      if (text !== '') socket.write(text)
      if (text.length < 1000) socket.resume() // else nothing is read: 32 MB are more than any buffer of the system
      else await until(realClock, 30_000, 5, () => (strict.connections() === 0 ? true : undefined))
      if (text.length < 1000) await ended
      socket.destroy()
      assert.ok(await until(realClock, 30_000, 5, () => (strict.connections() === 0 ? true : undefined)), text.slice(0, 60))
    }
    await strict.close()
  })

  it('goes on after bytes that are no HTTP, and no TLS', async () => {
    handle = async () => ok('alive')
    for (const bytes of ['\0\x01\x02', 'GET\r\n\r\n', 'POST / HTTP/9.9\r\n\r\n', 'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
      'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n', `POST / HTTP/1.1\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`]) {
      const socket = connectTls({ port: server.port, host: '127.0.0.1', ca: certs.ca })
      socket.on('error', () => undefined)
      await once(socket, 'secureConnect')
      socket.write(bytes)
      socket.end()
      socket.resume()
      if (!socket.destroyed) await once(socket, 'close')
    }
    const raw = connectTcp(server.port, '127.0.0.1')
    raw.on('error', () => undefined)
    raw.end('POST / HTTP/1.1\r\n\r\n')
    raw.resume()
    await once(raw, 'close')
    assert.equal(await client.geni('GetVersion', []), 'alive')
  })

  it('tells whoever calls while it is being stopped to come again', async () => {
    const { promise, resolve } = deferred<Value>()
    const begun = deferred<undefined>()
    handle = () => {
      begun.resolve(undefined)
      return promise
    }
    const ending = await start({ limits: { closeMs: 60_000 } })
    const socket = connectTls({ port: ending.port, host: '127.0.0.1', ca: certs.ca })
    await once(socket, 'secureConnect')
    const call = encodeCall('Delete', []).toString()
    const request = `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${call.length}\r\n\r\n${call}`
    let text = ''
    socket.on('data', (chunk: Buffer) => { text += chunk.toString() })
    socket.write(request)
    await begun.promise
    const closed = ending.close()
    socket.write(request) // on the same connection, behind the first
    await new Promise((sent) => { socket.write('', sent) })
    resolve(ok('deleted'))
    await once(socket, 'close')
    await closed
    assert.match(text, /deleted/)
    assert.equal(calls.filter((c) => c.method === 'Delete').length, 1)
  })

  it('says in one sentence that the port is taken', async () => {
    await assert.rejects(start({ port: server.port }), { name: 'Failure', message: `cannot listen on 127.0.0.1:${server.port}` })
  })
})

describe('the client', () => {
  it('refuses an aggregate whose certificate nobody it knows has signed', async () => {
    const certs = makeCertificates()
    const others = makeCertificates()
    const server = await serve({
      host: '127.0.0.1', port: 0, key: certs.serverKey, cert: certs.serverCert, log: silentLog, handle: async () => ok(''),
    })
    const client = makeAmClient({ url: server.url, key: certs.clientKey, cert: certs.clientCert, ca: others.ca })
    await assert.rejects(client.call('GetVersion', []), { name: 'Failure' })
    client.close()
    await server.close()
  })

  it('fails with one sentence when nobody answers in time', async () => {
    const certs = makeCertificates()
    const server = await serve({
      host: '127.0.0.1', port: 0, key: certs.serverKey, cert: certs.serverCert, log: silentLog,
      handle: () => new Promise(() => undefined), limits: { closeMs: 1 },
    })
    const client = makeAmClient({ url: server.url, key: certs.clientKey, cert: certs.clientCert, ca: certs.ca, timeoutMs: 30 })
    await assert.rejects(client.call('GetVersion', []), { name: 'Failure', code: 'timed-out' })
    client.close()
    await server.close()
  })
})

function drain(socket: TLSSocket): Promise<unknown> {
  socket.resume()
  return once(socket, 'close')
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let settle: ((value: T) => void) | undefined
  const promise = new Promise<T>((resolve) => { settle = resolve })
  return { promise, resolve: (value) => settle!(value) }
}
