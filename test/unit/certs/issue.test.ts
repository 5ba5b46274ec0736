import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { peerChain } from '../../../certs/certificate.js'
import { createFederation, issueSlice, issueUser, openFederation } from '../../../certs/issue.js'
import { keyFromPem } from '../../../certs/mint.js'
import { verifyChain } from '../../../certs/trust.js'
import { ask, callerOf, dayMs, field, freshFolder, now, read, tools } from './field.js'

const refusal = (code: string, message: RegExp) => (error: { code?: string; message: string }) => {
  assert.equal(error.code, code)
  assert.match(error.message, message)
  return true
}

function everyFile(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name))
}

describe('a federation', () => {
  it('keeps its folders to 0700 and its files to 0600, and leaves nothing half-written', async () => {
    const { federation } = await field()
    const files = everyFile(federation.dir)
    assert.ok(files.length > 15)
    for (const file of [federation.dir, ...files]) {
      const stat = statSync(file)
      assert.equal(stat.mode & 0o777, stat.isDirectory() ? 0o700 : 0o600, file)
      assert.doesNotMatch(file, /\.part$/)
    }
    assert.deepEqual(readdirSync(join(federation.dir, '..')), ['federation'])
  })

  it('is found again with the same paths', async () => {
    const { federation } = await field()
    assert.deepEqual(await openFederation(federation.dir), federation)
  })

  it('refuses a folder that holds something, and leaves it as it was', async () => {
    const dir = freshFolder()
    writeFileSync(join(dir, 'mine'), '1')
    const make = createFederation(dir, { ...tools, authority: 'x.y', hostnames: [] })
    await assert.rejects(make, refusal('exists', /not an empty folder/))
    assert.deepEqual(readdirSync(dir), ['mine'])
  })

  it('is said to be missing where there is none', async () => {
    await assert.rejects(openFederation(freshFolder()), refusal('not-found', /there is no federation at .* certs init/))
    const dir = freshFolder()
    writeFileSync(join(dir, 'federation.json'), '{')
    await assert.rejects(openFederation(dir), refusal('damaged', /federation\.json (is damaged|has (no )?format)/))
  })

  it('refuses names that are no authorities, hosts, users or slices', async () => {
    const { federation: { dir } } = await field()
    for (const authority of ['', 'Lab.Example', 'a+b', 'a b', '-a', 'a:', '../x', 'a'.repeat(65)]) {
      const make = createFederation(join(freshFolder(), 'f'), { ...tools, authority, hostnames: [] })
      await assert.rejects(make, refusal('bad-arguments', /cannot be an authority's name/), authority)
    }
    for (const host of ['', 'a_b', 'a b', 'a,DNS:b', '-a', 'https://a']) {
      const make = createFederation(join(freshFolder(), 'f'), { ...tools, authority: 'x.y', hostnames: [host] })
      await assert.rejects(make, refusal('bad-arguments', /cannot be the name of a host/), host)
    }
    for (const name of ['', 'Alice', '../alice', 'a+b', 'a b', '1a', 'a'.repeat(33), 'a\n']) {
      await assert.rejects(issueUser(dir, name, tools), refusal('bad-arguments', /cannot be a user's name/), name)
    }
    for (const name of ['', '-a', 'a_b', '../a', 'a+b', 'a'.repeat(20), 'a\n']) {
      const make = issueSlice(dir, 'alice', name, { ...tools, lifeMs: dayMs })
      await assert.rejects(make, refusal('bad-arguments', /cannot be a slice's name/), name)
    }
  })

  it('gives the aggregate a certificate that node:https serves with, and knows its users over TLS', async () => {
    const { federation, alice, trust } = await field()
    const server = createServer({
      cert: read(federation.am.certificate), key: read(federation.am.key), ca: [...trust.pem], requestCert: true,
      rejectUnauthorized: false,
    }, (req, res) => {
      const { socket } = req as { socket: unknown } as { socket: TLSSocket }
      const verdict = verifyChain(peerChain(socket.getPeerCertificate(true)), trust, now)
      res.end(verdict.ok ? verdict.certificate.urn : verdict.why)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const call = (host: string, client: object) => new Promise<string>((resolve, reject) => {
      const options = { host: '127.0.0.1', port, servername: host, ca: read(federation.trust), agent: false, ...client }
      request(options, (res) => {
        let body = ''
        res.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => resolve(body))
      }).on('error', reject).end()
    })
    try {
      const client = { cert: read(alice.certificate), key: read(alice.key) }
      assert.equal(await call('am.lab.example', client), alice.urn)
      assert.equal(await call('localhost', client), alice.urn)
      assert.equal(await call('am.lab.example', {}), 'no certificate was given')
      await assert.rejects(call('other.example', client), /altnames|ERR_TLS_CERT_ALTNAME_INVALID/i)
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
  })
})

describe('issuing a user', () => {
  it('is refused the second time and changes nothing', async () => {
    const { federation, alice } = await field()
    const before = read(alice.certificate) + read(alice.key) + read(alice.credential)
    await assert.rejects(issueUser(federation.dir, 'alice', tools), refusal('exists', /alice exists already/))
    assert.equal(read(alice.certificate) + read(alice.key) + read(alice.credential), before)
  })

  it('finishes what a crash left, whatever was there', async () => {
    const dir = join(freshFolder(), 'f')
    await createFederation(dir, { ...tools, authority: 'x.y', hostnames: [] })
    const carol = await issueUser(dir, 'carol', tools)
    const files = [carol.credential, carol.certificate, carol.key]
    for (const count of [1, 2, 3]) {
      for (const file of files.slice(0, count)) rmSync(file)
      const again = await issueUser(dir, 'carol', tools)
      assert.ok(callerOf(again).x509.checkPrivateKey(keyFromPem(read(again.key))))
      assert.ok(read(again.credential).includes(read(again.certificate)))
    }
  })
})

describe('issuing a slice', () => {
  it('gives another user rights to the same slice, with the same UUID', async () => {
    const { federation, slice, bob, credential } = await field()
    const forBob = await issueSlice(federation.dir, 'bob', 'exp1', { ...tools, lifeMs: dayMs })
    assert.equal(forBob.uuid, slice.uuid)
    const { why, ...answer } = await ask(read(forBob.credential), { caller: callerOf(bob) })
    assert.match(why, /^credential of .*\+bob for .*\+exp1, signed by/)
    assert.deepEqual(answer, { allowed: true, owner: bob.urn, expires: now + dayMs, sliceUuid: slice.uuid })
    assert.ok((await ask(credential)).allowed)
  })

  it('renews: more time for the same slice, whose name is the same in any case', async () => {
    const { federation } = await field()
    const short = await issueSlice(federation.dir, 'alice', 'Again', { ...tools, lifeMs: dayMs })
    const long = await issueSlice(federation.dir, 'alice', 'again', { ...tools, lifeMs: 3 * dayMs })
    assert.equal(long.uuid, short.uuid)
    assert.equal(long.urn, short.urn)
    const answer = await ask(read(long.credential), { sliceUrn: short.urn, now: now + 2 * dayMs })
    assert.equal(answer.allowed && answer.expires, now + 3 * dayMs)
  })

  it('makes a new slice with a new UUID when the old one of this name has ended', async () => {
    const { federation } = await field()
    const old = await issueSlice(federation.dir, 'alice', 'ended', { ...tools, lifeMs: 1000 })
    const clock = { ...tools.clock, now: () => now + 2000 }
    const young = await issueSlice(federation.dir, 'alice', 'ended', { ...tools, clock, lifeMs: dayMs })
    assert.equal(young.urn, old.urn)
    assert.notEqual(young.uuid, old.uuid)
  })

  it('is refused for an unknown user, for no time, and beyond the end of the user', async () => {
    const { federation: { dir } } = await field()
    const make = (user: string, lifeMs: number) => issueSlice(dir, user, 'exp9', { ...tools, lifeMs })
    await assert.rejects(make('nobody', dayMs), refusal('not-found', /there is no user nobody/))
    for (const lifeMs of [0, -1, NaN]) {
      await assert.rejects(make('alice', lifeMs), refusal('bad-arguments', /a second or more/))
    }
    for (const lifeMs of [3000 * dayMs, Infinity]) {
      await assert.rejects(make('alice', lifeMs), refusal('bad-arguments', /outlive the certificate of alice/))
    }
  })

  it('works in an empty folder that exists, and in one below folders that do not', async () => {
    const empty = join(freshFolder(), 'empty')
    mkdirSync(empty)
    for (const dir of [empty, join(freshFolder(), 'a', 'b')]) {
      const made = await createFederation(dir, { ...tools, authority: 'x.y:z', hostnames: ['::1'] })
      assert.deepEqual(made.hostnames, ['::1', 'localhost', '127.0.0.1'])
    }
  })
})
