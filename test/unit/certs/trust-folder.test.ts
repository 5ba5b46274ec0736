import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseCertificate } from '../../../certs/certificate.js'
import { crlPem, crlsInPem, parseCrl, revokedAt } from '../../../certs/crl.js'
import { mintCrl, type Signer } from '../../../certs/mint.js'
import { TrustFolder } from '../../../certs/trust-folder.js'
import { trustOf, verifyChain } from '../../../certs/trust.js'
import { ask, callerOf, certify, chainOf, dayMs, field, freshFolder, now, pemOf, read, signerOf } from './field.js'

async function roots() {
  const { federation } = await field()
  return {
    root: signerOf(federation.trust, `${federation.dir}/ca.key`),
    ma: signerOf(federation.ma.certificate, federation.ma.key), sa: signerOf(federation.sa.certificate, federation.sa.key),
  }
}

const listOf = async (issuer: Signer, ...serials: string[]) =>
  crlPem(await mintCrl(issuer, serials.map((serial) => ({ serial, at: now })), now - dayMs, now + dayMs))

/** A folder of trusted roots with the one of the federation in it, and time that stands still unless it is moved. */
async function watched() {
  const folder = freshFolder()
  copyFileSync((await field()).federation.trust, join(folder, 'root.pem'))
  const state = { time: 0, warnings: [] as string[], changes: 0 }
  const trust = new TrustFolder({
    paths: [folder], acceptSha1: false, monotonic: () => state.time, warn: (why) => state.warnings.push(why), changed: () => { state.changes++ },
  })
  const later = () => { state.time += 1_000; return trust.store() }
  return { folder, state, trust, later }
}

describe('the folder of trusted roots', () => {
  it('takes in a file that was added and forgets one that was removed, without a restart', async () => {
    const { folder, trust, later } = await watched()
    const other = await certify({ urn: 'urn:publicid:IDN+far.example+authority+root', caDepth: 1 })
    const eve = await certify({ urn: 'urn:publicid:IDN+far.example+user+eve' }, other)
    assert.ok(!verifyChain([eve.certificate.der], trust.store(), now).ok)
    writeFileSync(join(folder, 'other.pem'), pemOf(other.certificate))
    assert.ok(!verifyChain([eve.certificate.der], trust.store(), now).ok, 'it looks once a second')
    assert.ok(verifyChain([eve.certificate.der], later(), now).ok)
    rmSync(join(folder, 'other.pem'))
    assert.ok(!verifyChain([eve.certificate.der], later(), now).ok)
    const { alice } = await field()
    assert.ok(verifyChain(chainOf(alice.certificate), later(), now).ok)
  })

  it('gives the same store as long as nothing changes, and another one after that', async () => {
    const { folder, state, trust, later } = await watched()
    const first = trust.store()
    assert.equal(later(), first)
    assert.equal(state.changes, 1)
    writeFileSync(join(folder, 'root.pem'), read(join(folder, 'root.pem')) + '\n')
    assert.notEqual(later(), first)
    assert.equal(state.changes, 2)
  })

  it('names a broken file once, and the others go on counting', async () => {
    const { folder, state, later } = await watched()
    writeFileSync(join(folder, 'broken.pem'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')
    writeFileSync(join(folder, 'cut.pem'), read(join(folder, 'root.pem')).slice(0, 400))
    writeFileSync(join(folder, 'README'), 'no certificate, and not read')
    assert.equal(later().certificates.length, 1)
    later()
    assert.equal(state.warnings.length, 2)
    assert.match(state.warnings[0]!, /cannot read .*broken.pem as trusted certificates/)
    assert.match(state.warnings[1]!, /cut.pem .*cut off/)
  })

  it('says so when nobody is trusted any more', async () => {
    const { folder, state, later } = await watched()
    rmSync(join(folder, 'root.pem'))
    assert.equal(later().certificates.length, 0)
    assert.match(state.warnings.join(), /no certificate is trusted, so every call but GetVersion is refused/)
  })

  it('that cannot be looked at trusts nobody, and is taken in again later', async () => {
    const { folder, state, later } = await watched()
    renameSync(folder, `${folder}-away`)
    assert.equal(later().certificates.length, 0)
    assert.match(state.warnings[0]!, /cannot read the trusted certificates at/)
    renameSync(`${folder}-away`, folder)
    assert.equal(later().certificates.length, 1)
  })

  it('must be there at the start', () => {
    const options = { paths: ['/nowhere/at/all'], acceptSha1: false, monotonic: () => 0, warn: () => undefined, changed: () => undefined }
    assert.throws(() => new TrustFolder(options), /cannot read the trusted certificates at \/nowhere\/at\/all; give a PEM file or a folder/)
  })

  it('holds lists of revoked certificates, and goes by them at once', async () => {
    const { alice, credential, bob } = await field()
    const { ma } = await roots()
    const { folder, trust, later } = await watched()
    assert.ok((await ask(credential, { trust: trust.store() })).allowed)
    writeFileSync(join(folder, 'ma.crl'), await listOf(ma, parseCertificate(read(alice.certificate)).serial))
    const store = later()
    const answer = await ask(credential, { trust: store })
    assert.ok(!answer.allowed)
    assert.match(answer.why, /owner is not accepted: the certificate of .*alice was revoked by .*authority\+ma at 20/)
    assert.ok(verifyChain(chainOf(bob.certificate), store, now).ok)
    rmSync(join(folder, 'ma.crl'))
    assert.ok((await ask(credential, { trust: later() })).allowed)
  })

  it('keeps what a list said while that file is broken', async () => {
    const { alice } = await field()
    const { ma } = await roots()
    const { folder, later, state } = await watched()
    const list = await listOf(ma, parseCertificate(read(alice.certificate)).serial)
    const file = join(folder, 'ma.crl')
    writeFileSync(file, list)
    assert.ok(!verifyChain(chainOf(alice.certificate), later(), now).ok)
    writeFileSync(file, list.slice(0, list.length / 2))
    assert.ok(!verifyChain(chainOf(alice.certificate), later(), now).ok)
    assert.match(state.warnings[0]!, /ma.crl .*a CRL in it is cut off/)
    writeFileSync(file, await listOf(ma))
    assert.ok(verifyChain(chainOf(alice.certificate), later(), now).ok)
  })

  it('names a folder that looks like a file', async () => {
    const { folder, later, state } = await watched()
    mkdirSync(join(folder, 'old.pem'))
    assert.equal(later().certificates.length, 1)
    assert.match(state.warnings[0]!, /old.pem/)
  })
})

describe('a list of revoked certificates', () => {
  const trustWith = async (...texts: string[]) => {
    const { root } = await roots()
    return trustOf([root.certificate], { crls: texts.flatMap(crlsInPem) })
  }

  it('counts for what its signer issued, at every place of the chain', async () => {
    const { alice } = await field()
    const { root, ma } = await roots()
    const chain = chainOf(alice.certificate)
    const verdict = verifyChain(chain, await trustWith(await listOf(root, ma.certificate.serial)), now)
    assert.ok(!verdict.ok)
    assert.match(verdict.why, /certificate of .*authority\+ma was revoked by .*authority\+root/)
  })

  it('of another authority says nothing, though it lists the same serial number or bears the same name', async () => {
    const { alice } = await field()
    const { sa, ma } = await roots()
    const serial = parseCertificate(read(alice.certificate)).serial
    const namesake = await certify({ urn: ma.certificate.urn!, commonName: 'ma.lab.example', organization: 'lab.example', caDepth: 0 })
    const trust = await trustWith(await listOf(sa, serial), await listOf(namesake, serial))
    assert.ok(verifyChain(chainOf(alice.certificate), trust, now).ok)
  })

  it('counts for a trusted certificate too, when its issuer is trusted', async () => {
    const { alice } = await field()
    const { root, ma } = await roots()
    const trust = trustOf([root.certificate, ma.certificate], { crls: crlsInPem(await listOf(root, ma.certificate.serial)) })
    const verdict = verifyChain(chainOf(alice.certificate), trust, now)
    assert.match(verdict.ok ? '' : verdict.why, /authority\+ma was revoked/)
  })

  it('that is out of date still counts', async () => {
    const { alice } = await field()
    const { ma } = await roots()
    const old = await mintCrl(ma, [{ serial: parseCertificate(read(alice.certificate)).serial, at: now - 9 * dayMs }], now - 9 * dayMs, now - 8 * dayMs)
    assert.ok(!verifyChain(chainOf(alice.certificate), await trustWith(crlPem(old)), now).ok)
  })

  it('is written so that OpenSSL reads it, and read as OpenSSL writes it', async () => {
    const { alice, federation } = await field()
    const { ma } = await roots()
    const serial = parseCertificate(read(alice.certificate)).serial
    const folder = freshFolder()
    writeFileSync(join(folder, 'ours.pem'), await listOf(ma, serial))
    const said = execFileSync('openssl', ['crl', '-in', join(folder, 'ours.pem'), '-noout', '-text', '-CAfile', federation.ma.certificate], { encoding: 'utf8' })
    assert.match(said, new RegExp(`Serial Number: 0*${serial}`, 'i'))
    writeFileSync(join(folder, 'index.txt'), `R\t301231235959Z\t200101000000Z\t${serial.toUpperCase().padStart(32, '0')}\tunknown\t/CN=x\n`)
    writeFileSync(join(folder, 'ca.cnf'), `[ca]\ndefault_ca=d\n[d]\ndatabase=${folder}/index.txt\ndefault_md=sha256\ndefault_crl_days=9\n`)
    const theirs = execFileSync('openssl', ['ca', '-gencrl', '-config', join(folder, 'ca.cnf'), '-cert', federation.ma.certificate,
      '-keyfile', federation.ma.key], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const certificate = parseCertificate(read(alice.certificate))
    assert.equal(revokedAt(certificate, ma.certificate, crlsInPem(theirs)), Date.UTC(2020, 0, 1))
  })

  it('is refused when it is no list, or was changed', async () => {
    const { alice } = await field()
    const { ma } = await roots()
    assert.throws(() => parseCrl(Buffer.from('hello')), /cannot be read/)
    const list = await mintCrl(ma, [{ serial: 'abcd', at: now }], now, now + dayMs)
    const serial = Buffer.from('abcd', 'hex')
    list[list.indexOf(serial)] = 0x12
    const forged = parseCrl(list)
    const certificate = { ...parseCertificate(read(alice.certificate)), serial: '12cd' }
    assert.ok(forged.revoked.has('12cd'))
    assert.equal(revokedAt(certificate, ma.certificate, [forged]), undefined)
  })
})

describe('what was verified once', () => {
  it('is not verified again, gives the same, and ends with the first expiry in it', async () => {
    const { credential, trust, slice } = await field()
    const own = trustOf(trust.certificates)
    const first = await ask(credential, { trust: own })
    assert.deepEqual(await ask(credential, { trust: own }), first)
    const late = await ask(credential, { trust: own, now: slice.expires })
    assert.match(late.allowed ? '' : late.why, /the credential expired at/)
    const early = await ask(credential, { trust: own, now: now - 30 * dayMs })
    assert.match(early.allowed ? '' : early.why, /not valid yet/)
    assert.ok((await ask(credential, { trust: own })).allowed)
  })

  it('gives nothing to another caller, slice or operation', async () => {
    const { credential, trust, bob, other } = await field()
    const own = trustOf(trust.certificates)
    assert.ok((await ask(credential, { trust: own })).allowed)
    assert.ok(!(await ask(credential, { trust: own, caller: callerOf(bob) })).allowed)
    assert.ok(!(await ask(credential, { trust: own, sliceUrn: other.urn })).allowed)
  })

  it('is much cheaper the second time', async () => {
    const { credential, trust } = await field()
    const own = trustOf(trust.certificates)
    const looked: string[] = []
    const certificates = new Proxy(own.certificates as never[], { get: (list, name) => { looked.push(String(name)); return Reflect.get(list, name) as unknown } })
    const counted = { ...own, certificates }
    assert.ok((await ask(credential, { trust: counted })).allowed)
    assert.ok(looked.length > 0)
    looked.length = 0
    assert.ok((await ask(credential, { trust: counted })).allowed)
    assert.equal(looked.length, 0, 'the trusted certificates were looked at again')
  })
})
