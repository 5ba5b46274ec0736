// The commands of `violin certs` beyond init, user and slice, as a user calls them.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { certsCommand } from '../../../cli/commands/certs.js'
import { explain } from '../../../base/errors.js'
import { realClock } from '../../../base/time.js'
import { authorize } from '../../../certs/authorize.js'
import { parseGeniCertificate } from '../../../certs/certificate.js'
import { createFederation, issueSlice, issueUser } from '../../../certs/issue.js'
import { loadTrust } from '../../../certs/trust-folder.js'
import { verifyChain } from '../../../certs/trust.js'
import { chainOf, dayMs, freshFolder, read, tools } from './field.js'

const folder = freshFolder()
const dir = join(folder, 'federation')

/** Runs the command here: what it prints is caught, an error is its sentence. */
async function certs(...args: string[]) {
  const command = certsCommand({ defaultDir: dir })
  for (const c of [command, ...command.commands]) c.exitOverride().configureOutput({ writeOut: (text) => { out += text }, writeErr: () => undefined })
  const write = process.stdout.write.bind(process.stdout)
  let out = ''
  let err = ''
  process.stdout.write = ((text: string) => { out += text; return true })
  try {
    await command.parseAsync(args, { from: 'user' })
  } catch (error) {
    err = explain(error)
  } finally {
    process.stdout.write = write
  }
  const code = process.exitCode ?? 0
  process.exitCode = undefined
  return { code, out, err, json: () => JSON.parse(out) as Record<string, string> }
}

describe('violin certs, beyond users and slices', () => {
  const user = (name: string) => parseGeniCertificate(read(join(dir, 'users', `${name}.pem`)))
  const trust = () => loadTrust([join(dir, 'ca.pem')])
  const sliceUrn = 'urn:publicid:IDN+lab.example+slice+exp1'
  const sfa = (file: string) => ({ type: 'geni_sfa', version: '3', value: read(file) })

  before(async () => {
    await createFederation(dir, { ...tools, authority: 'lab.example', hostnames: [] })
    for (const name of ['alice', 'bob', 'carol']) await issueUser(dir, name, tools)
    await issueSlice(dir, 'alice', 'exp1', { ...tools, lifeMs: 7 * dayMs })
  })

  it('delegate hands a credential on, and on again, and says what it cannot', async () => {
    const first = (await certs('delegate', 'exp1', '--from', 'alice', '--to', 'bob', '--json')).json()
    assert.match(first['credential']!, /slices\/exp1\.alice\.bob-delegated\.xml$/)
    const second = (await certs('delegate', 'exp1', '--from', 'bob', '--to', join(dir, 'users/carol.pem'), '--credential', first['credential']!,
      '--privilege', 'info', '--keep', '--json')).json()
    assert.match(second['credential']!, /exp1\.bob\.carol-delegated\.xml$/)
    const base = { trust: trust(), now: realClock.now(), sliceUrn }
    assert.ok(authorize({ ...base, caller: user('bob'), credentials: [sfa(first['credential']!)], operation: 'change' }).allowed)
    assert.ok(authorize({ ...base, caller: user('carol'), credentials: [sfa(second['credential']!)], operation: 'read' }).allowed)
    assert.ok(!authorize({ ...base, caller: user('carol'), credentials: [sfa(second['credential']!)], operation: 'change' }).allowed)
    assert.match((await certs('delegate', 'exp1', '--from', 'alice', '--to', 'bob', '--privilege', 'pi')).err, /the privilege pi cannot be delegated; the credential lets hand on: refresh/)
    assert.match((await certs('delegate', 'exp1', '--from', 'alice', '--to', 'nobody')).err, /nobody.pem; make it with "violin certs user nobody", or give a PEM file/)
    assert.match((await certs('delegate', 'exp1', '--from', 'alice', '--to', 'bob', '--days', '30')).err, /cannot last longer/)
    assert.match((await certs('delegate', 'exp9', '--from', 'alice', '--to', 'bob')).err, /make it with "violin certs slice exp9 --user alice"/)
  })

  it('tool and speaks-for let a tool act for a user, in both forms', async () => {
    const tool = (await certs('tool', 'portal', '--json')).json()
    assert.equal(tool['urn'], 'urn:publicid:IDN+lab.example+tool+portal')
    assert.match((await certs('tool', 'portal')).err, /exists already/)
    const caller = parseGeniCertificate(read(tool['certificate']!))
    assert.ok(verifyChain(chainOf(tool['certificate']!), trust(), realClock.now()).ok)
    const own = sfa(join(dir, 'slices/exp1.alice-cred.xml'))
    for (const form of [[], ['--old-form']]) {
      const { credential } = (await certs('speaks-for', 'portal', '--user', 'alice', '--days', '2', ...form, '--json')).json()
      const answer = authorize({
        caller, credentials: [own, sfa(credential!)], operation: 'change', sliceUrn, trust: trust(), now: realClock.now(), speakingFor: user('alice').urn,
      })
      assert.ok(answer.allowed, JSON.stringify(answer))
    }
    assert.match((await certs('speaks-for', 'nothing', '--user', 'alice')).err, /make it with "violin certs tool nothing"/)
  })

  it('crl revokes, keeps what was revoked before, and refuses what is not its own', async () => {
    const made = await certs('crl', '--user', 'carol')
    assert.match(made.out, /revoked urn:publicid:IDN\+lab.example\+user\+carol\nlists of revoked certificates:\n {2}.*root.pem\n {2}.*sa.pem\n {2}.*ma.pem\n/)
    assert.equal((await certs('crl')).code, 0)
    const store = loadTrust([join(dir, 'ca.pem'), join(dir, 'crls')])
    const verdict = verifyChain(chainOf(join(dir, 'users/carol.pem')), store, realClock.now())
    assert.match(verdict.ok ? '' : verdict.why, /carol was revoked by .*authority\+ma/)
    assert.ok(verifyChain(chainOf(join(dir, 'users/bob.pem')), store, realClock.now()).ok)
    assert.match((await certs('crl', '--certificate', join(dir, 'ca.pem'))).err, /was not issued by an authority of/)
  })

  it('pkcs12 writes what OpenSSL and TLS read, with the password that it says or that is in a file', async () => {
    const { file, password } = (await certs('pkcs12', 'alice', '--out', join(folder, 'alice.p12'), '--json')).json()
    const said = execFileSync('openssl', ['pkcs12', '-in', file!, '-nodes', '-passin', `pass:${password!}`], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    assert.equal(said.match(/-----BEGIN CERTIFICATE-----/g)!.length, 3) // user, authority and root
    assert.match(said, /friendlyName: urn:publicid:IDN\+lab.example\+user\+alice/)
    const [key] = /-----BEGIN PRIVATE KEY-----[^-]*-----END PRIVATE KEY-----/.exec(said)!
    assert.equal(key.trim(), read(join(dir, 'users/alice.key')).trim())
    const pfx = readFileSync(file!)
    assert.ok(createSecureContext({ pfx, passphrase: password! }))
    assert.throws(() => createSecureContext({ pfx, passphrase: 'wrong' }), /mac verify failure/i)
    assert.match((await certs('pkcs12', 'alice', '--out', join(folder, 'alice.p12'))).err, /alice.p12 exists already; remove it or give another --out/)
    writeFileSync(join(folder, 'pw'), 'grüße 1\n')
    const other = await certs('pkcs12', 'bob', '--out', join(folder, 'b.p12'), '--password-file', join(folder, 'pw'))
    assert.doesNotMatch(other.out, /password|gr/)
    assert.ok(createSecureContext({ pfx: readFileSync(join(folder, 'b.p12')), passphrase: 'grüße 1' }))
  })

  it('show explains a file, says whether it would be accepted, and ends with 3 when not', async () => {
    const good = await certs('show', join(dir, 'users/alice.pem'), join(dir, 'slices/exp1.alice-cred.xml'), join(dir, 'slices/exp1.alice.bob-delegated.xml'))
    assert.equal(good.code, 0, good.out + good.err)
    assert.match(good.out, /alice.pem: a certificate, accepted: it was issued by .*authority\+ma, by .*authority\+root, which is trusted/)
    assert.match(good.out, /exp1.alice-cred.xml: a credential, accepted: .*alice may list resources, read, change, shutdown on .*exp1 until .*, says .*authority\+sa/)
    assert.match(good.out, /handed on by .*alice/)
    assert.match(good.out, / {2}parent owner +urn:publicid:IDN\+lab.example\+user\+alice/)
    const bad = await certs('show', join(dir, 'users/carol.pem'), '--json')
    assert.equal(bad.code, 3)
    assert.deepEqual([bad.json()['accepted'], bad.json()['kind']], [false, 'certificate'])
    assert.match(bad.json()['why']!, /was revoked by/)
    const changed = join(folder, 'changed.xml')
    writeFileSync(changed, read(join(dir, 'slices/exp1.alice-cred.xml')).replace('<name>info<', '<name>*<'))
    assert.match((await certs('show', changed)).out, /NOT accepted: the credential was changed after it was signed[\s\S]*privileges +.*\*/)
    assert.match((await certs('show', join(dir, 'users/alice.portal-speaks-for.xml'))).out, /accepted: .*alice lets the tool whose key has the id [0-9a-f]{40} speak until/)
    assert.match((await certs('show', join(dir, 'crls/root.pem'), join(dir, 'crls/ma.pem'))).out, /a crl, accepted: it was signed by .*authority\+root[\s\S]*a crl, NOT accepted: no trusted/)
  })

  it('show says of every other file what it is not', async () => {
    assert.match((await certs('show', join(dir, 'ca.key'))).err, /ca.key: this is a private key/)
    assert.match((await certs('show', join(dir, 'federation.json'))).err, /neither a certificate, nor a credential, nor a list/)
    assert.match((await certs('show', '/nowhere')).err, /cannot read \/nowhere/)
    assert.match((await certs('show', join(dir, 'federation.json'), '--dir', '/nowhere')).err, /no federation at \/nowhere: say by --trust/)
  })

  it('explains itself', async () => {
    assert.match((await certs('--help')).out, /tool[\s\S]*delegate[\s\S]*speaks-for[\s\S]*crl[\s\S]*pkcs12[\s\S]*show/)
    assert.match((await certs('show', '--help')).out, /exit code is 0 when all/)
  })
})
