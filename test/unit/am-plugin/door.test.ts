// Who knocks without a certificate that is known here still gets an answer: over real TLS, never a dead socket.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { request, type RequestOptions } from 'node:https'
import { join } from 'node:path'
import { silentLog } from '../../../base/log.js'
import { answer } from '../../../am-plugin/call.js'
import { serve, type AmServer } from '../../../am-plugin/server.js'
import { certify, field, freshFolder, now, pemOf, read, signerOf } from '../certs/field.js'
import { aggregate } from './aggregate.js'

const call = (method: string) => `<?xml version="1.0"?><methodCall><methodName>${method}</methodName><params>` +
  '<param><value><array><data/></array></value></param><param><value><struct/></value></param></params></methodCall>'

describe('the door of the aggregate', () => {
  let server: AmServer
  let ca: string

  before(async () => {
    const { federation, trust } = await field()
    const am = await aggregate()
    ca = read(federation.trust)
    server = await serve({
      host: '127.0.0.1', port: 0, key: read(federation.am.key), cert: read(federation.am.certificate), log: silentLog,
      handle: (c) => answer(am.parts, () => trust, c),
    })
  })
  after(() => server.close())

  function post(method: string, client: RequestOptions): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const options: RequestOptions = { method: 'POST', path: '/am/3.0', port: server.port, host: '127.0.0.1', ca, agent: false, ...client }
      const asked = request(options, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => resolve({ status: response.statusCode!, body: Buffer.concat(chunks).toString() }))
      })
      asked.on('error', reject)
      asked.end(call(method))
    })
  }

  async function check(client: RequestOptions, sentence: RegExp): Promise<void> {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const version = await post('GetVersion', { ...client, maxVersion })
      assert.equal(version.status, 200)
      assert.match(version.body, /<name>geni_code<\/name><value><int>0<\/int>/)
      for (const method of ['ListResources', 'Status', 'Shutdown']) {
        const { status, body } = await post(method, { ...client, maxVersion })
        assert.equal(status, 200)
        assert.match(body, /<name>geni_code<\/name><value><int>3<\/int>/)
        assert.match(body, sentence)
      }
    }
  }

  const shown = (made: Awaited<ReturnType<typeof certify>>, more = ''): RequestOptions =>
    ({ key: made.key.export({ type: 'pkcs8', format: 'pem' }), cert: pemOf(made.certificate) + more })

  it('tells GetVersion to one without a certificate, and for all else says what is missing', () =>
    check({}, /your certificate is not accepted here: no certificate was given/))

  it('does the same for a self-signed certificate, though it has the name of a user', async () => {
    const { alice } = await field()
    await check(shown(await certify({ urn: alice.urn })), /the issuer of urn:publicid:IDN\+lab.example\+user\+alice is not trusted here/)
  })

  it('and for one of an unknown authority, shown with its chain', async () => {
    const root = await certify({ urn: 'urn:publicid:IDN+far.example+authority+root', caDepth: 1, commonName: 'far' })
    const user = await certify({ urn: 'urn:publicid:IDN+far.example+user+eve' }, root)
    await check(shown(user, pemOf(root.certificate)), /far.example\+user\+eve is not trusted here/)
  })

  it('and for one that has expired, or is not valid yet', async () => {
    const { federation } = await field()
    const ma = signerOf(federation.ma.certificate, federation.ma.key)
    const urn = 'urn:publicid:IDN+lab.example+user+old'
    const chain = pemOf(ma.certificate)
    await check(shown(await certify({ urn, notBefore: now - 9e8, notAfter: now - 1000 }, ma), chain), /certificate of .*old has expired/)
    await check(shown(await certify({ urn, notBefore: now + 9e8, notAfter: now + 18e8 }, ma), chain), /certificate of .*old is not valid yet/)
  })

  it('and for one without a URN, or by an elliptic-curve key of strangers', async () => {
    const folder = freshFolder()
    execFileSync('openssl', ['req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-days', '2', '-subj', '/CN=x',
      '-keyout', join(folder, 'k'), '-out', join(folder, 'c')], { stdio: 'ignore', timeout: 20_000 })
    await check({ key: read(join(folder, 'k')), cert: read(join(folder, 'c')) }, /has no URN/)
  })

  it('and for one that is signed with SHA-1, if the client is willing to show it', async () => {
    const { federation } = await field()
    const folder = freshFolder()
    writeFileSync(join(folder, 'e'), 'subjectAltName=URI:urn:publicid:IDN+lab.example+user+old\n')
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore', timeout: 20_000 })
    openssl('req', '-nodes', '-newkey', 'rsa:2048', '-subj', '/CN=old', '-keyout', 'k', '-out', 'r')
    openssl('x509', '-req', '-in', 'r', '-CA', federation.ma.certificate, '-CAkey', federation.ma.key, '-days', '1', '-sha1', '-set_serial', '77',
      '-extfile', 'e', '-out', 'c')
    const client = { key: read(join(folder, 'k')), cert: read(join(folder, 'c')) + read(federation.ma.certificate), ciphers: 'DEFAULT@SECLEVEL=0' }
    await check(client, /is signed with SHA-1, which this aggregate does not accept/)
  })
})
