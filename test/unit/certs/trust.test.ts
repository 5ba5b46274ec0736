import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseCertificate, splitPem } from '../../../certs/certificate.js'
import type { Signer } from '../../../certs/mint.js'
import { trustOf, verifyChain, type ChainVerdict } from '../../../certs/trust.js'
import { loadTrust } from '../../../certs/trust-folder.js'
import { certify, chainOf, dayMs, field, freshFolder, now, read } from './field.js'

const minuteMs = 60_000
const urn = (authority: string, type: string, name: string) => `urn:publicid:IDN+${authority}+${type}+${name}`
const der = (...signers: Signer[]) => signers.map((s) => s.certificate.der)

function refused(verdict: ChainVerdict, why: RegExp): void {
  assert.equal(verdict.ok, false)
  assert.match(verdict.why, why)
}

describe('verifyChain', () => {
  it('accepts a user whose chain ends at a trusted root, in any order after the leaf', async () => {
    const { alice, federation, trust } = await field()
    const [leaf, ma] = chainOf(alice.certificate)
    const [root] = chainOf(federation.trust)
    for (const chain of [[leaf!, ma!], [leaf!, root!, ma!], [leaf!, ma!, ma!, leaf!]]) {
      const verdict = verifyChain(chain, trust, now)
      assert.ok(verdict.ok)
      assert.equal(verdict.certificate.urn, alice.urn)
      assert.equal(verdict.path.length, 3)
    }
  })

  it('refuses everybody when nothing is trusted', async () => {
    refused(verifyChain(chainOf((await field()).alice.certificate), trustOf([]), now), /no trusted certificate/)
  })

  it('ends the path at any trusted certificate, also one that is not self-signed', async () => {
    const { alice, federation } = await field()
    const [leaf] = chainOf(alice.certificate)
    const verdict = verifyChain([leaf!], loadTrust([federation.ma.certificate]), now)
    assert.ok(verdict.ok)
    assert.equal(verdict.path.length, 2)
  })

  it('accepts a certificate that is itself trusted', async () => {
    const { alice } = await field()
    const [leaf] = chainOf(alice.certificate)
    assert.ok(verifyChain([leaf!], trustOf([parseCertificate(leaf!)]), now).ok)
  })

  it('refuses a leaf whose issuer is missing, a self-signed one, and an empty or long chain', async () => {
    const { alice, trust } = await field()
    const [leaf] = chainOf(alice.certificate)
    refused(verifyChain([leaf!], trust, now), /issuer of .*alice is not trusted here/)
    refused(verifyChain(der(await certify({ urn: alice.urn })), trust, now), /issuer of .*alice is not trusted/)
    refused(verifyChain([], trust, now), /no certificate was given/)
    refused(verifyChain(Array.from({ length: 11 }, () => leaf!), trust, now), /at most 10 are read/)
    refused(verifyChain([Buffer.from('x')], trust, now), /cannot be read/)
  })

  it('refuses a root that has the name of the trusted one and another key', async () => {
    const { trust } = await field()
    const root = await certify({
      urn: urn('lab.example', 'authority', 'root'), commonName: 'root.lab.example', organization: 'lab.example',
      caDepth: 1,
    })
    const user = await certify({ urn: urn('lab.example', 'user', 'eve') }, root)
    refused(verifyChain(der(user, root), trust, now), /not trusted here/)
  })

  it('refuses an issuer that is no CA', async () => {
    const root = await certify({ urn: urn('x', 'authority', 'root'), caDepth: 3, commonName: 'root' })
    const user = await certify({ urn: urn('x', 'authority', 'am'), commonName: 'am' }, root)
    const eve = await certify({ urn: urn('x', 'user', 'eve') }, user)
    const verdict = verifyChain(der(eve, user), trustOf([root.certificate]), now)
    refused(verdict, /not trusted here/) // its keyUsage forbids it; one without keyUsage:
    const { root: plain, chain } = unnamedRoot('rsa', { ca: false })
    refused(verifyChain(chain, trustOf([plain]), now), /is not a certificate authority/)
  })

  it('refuses an issuer that is a CA and not an authority by its URN', async () => {
    const root = await certify({ urn: urn('x', 'user', 'root'), caDepth: 3 })
    const eve = await certify({ urn: urn('x', 'user', 'eve') }, root)
    refused(verifyChain(der(eve), trustOf([root.certificate]), now), /issued .* and is not an authority/)
  })

  it('refuses more authorities in a row than one of them allows', async () => {
    const root = await certify({ urn: urn('x', 'authority', 'root'), caDepth: 0, commonName: 'root' })
    const sa = await certify({ urn: urn('x', 'authority', 'sa'), caDepth: 0, commonName: 'sa' }, root)
    const eve = await certify({ urn: urn('x', 'user', 'eve') }, sa)
    refused(verifyChain(der(eve, sa), trustOf([root.certificate]), now), /allows a chain of 0 authorities below/)
    assert.ok(verifyChain(der(sa), trustOf([root.certificate]), now).ok)
  })

  it('holds authorities to their name-space, part by part and not by the letters', async () => {
    const root = await certify({ urn: urn('lab.example:a', 'authority', 'sa'), caDepth: 3 })
    const trust = trustOf([root.certificate])
    for (const inside of ['lab.example:a', 'LAB.example:A', 'lab.example:a:b']) {
      assert.ok(verifyChain(der(await certify({ urn: urn(inside, 'user', 'u') }, root)), trust, now).ok, inside)
    }
    for (const outside of ['lab.example', 'lab.example:ab', 'lab.example:b', 'other:lab.example:a', 'lab.example.a']) {
      const user = await certify({ urn: urn(outside, 'user', 'u') }, root)
      refused(verifyChain(der(user), trust, now), /no authority over/)
    }
  })

  it('goes by dates: five minutes of grace before the begin, none after the end', async () => {
    const root = await certify({ urn: urn('x', 'authority', 'root'), caDepth: 3, notAfter: now + 3 * dayMs })
    const user = await certify({ urn: urn('x', 'user', 'u'), notBefore: now, notAfter: now + dayMs }, root)
    const trust = trustOf([root.certificate])
    const at = (ms: number) => verifyChain(der(user), trust, ms)
    assert.ok(at(now - 5 * minuteMs).ok)
    refused(at(now - 5 * minuteMs - 1000), /not valid yet/)
    assert.ok(at(now + dayMs - 1000).ok)
    refused(at(now + dayMs), /has expired/)
  })

  it('refuses when an authority on the path has expired, even the trusted one', async () => {
    const root = await certify({ urn: urn('x', 'authority', 'root'), caDepth: 3, notAfter: now + dayMs })
    const user = await certify({ urn: urn('x', 'user', 'u'), notAfter: now + 9 * dayMs }, root)
    refused(verifyChain(der(user), trustOf([root.certificate]), now + 2 * dayMs), /authority\+root has expired/)
  })

  it('allows a trusted root to have no URN, as in ProtoGENI, and nobody else', async () => {
    const { root, chain } = unnamedRoot()
    assert.ok(verifyChain(chain, trustOf([root]), now).ok)
    const { trust } = await field()
    refused(verifyChain([...chain, root.der], trust, now), /no URN and is not itself trusted|not trusted here/)
    refused(verifyChain([root.der], trustOf([root]), now), /has no URN/)
  })

  it('accepts elliptic-curve keys', () => {
    const { root, chain } = unnamedRoot('ec')
    assert.ok(verifyChain(chain, trustOf([root]), now).ok)
  })

  it('refuses signatures with MD5, those with SHA-1 unless told otherwise, keys that are too short, and critical extensions it does not know', () => {
    const md5 = unnamedRoot('rsa', { digest: '-md5' })
    refused(verifyChain(md5.chain, trustOf([md5.root]), now), /signed with MD5/)
    const old = unnamedRoot('rsa', { digest: '-sha1' })
    refused(verifyChain(old.chain, trustOf([old.root]), now), /signed with SHA-1, which this aggregate does not accept/)
    assert.ok(verifyChain(old.chain, trustOf([old.root], { acceptSha1: true }), now).ok)
    refused(verifyChain(md5.chain, trustOf([md5.root], { acceptSha1: true }), now), /signed with MD5 or older/)
    const short = unnamedRoot('rsa', { bits: 768 })
    refused(verifyChain(short.chain, trustOf([short.root]), now), /neither EC nor RSA of 1024 to 8192 bits/)
    const critical = unnamedRoot('rsa', { extension: '1.2.3.4=critical,ASN1:UTF8String:x' })
    refused(verifyChain(critical.chain, trustOf([critical.root]), now), /critical extensions .*1\.2\.3\.4/)
  })
})

describe('loadTrust', () => {
  it('reads files, bundles and folders, each certificate once, and passes over keys', async () => {
    const { federation, alice } = await field()
    const folder = freshFolder()
    writeFileSync(join(folder, 'bundle.pem'), read(federation.trust) + read(federation.sa.certificate))
    writeFileSync(join(folder, 'one.crt'), read(federation.ma.certificate))
    writeFileSync(join(folder, 'x.key'), read(alice.key))
    mkdirSync(join(folder, 'below.d'))
    const trust = loadTrust([folder, federation.trust])
    assert.equal(trust.certificates.length, 3)
    assert.equal(splitPem(trust.pem.join('')).length, 3)
  })

  it('refuses, by name, what is missing or is no certificate', async () => {
    const { alice } = await field()
    assert.throws(() => loadTrust(['/nowhere/x.pem']), /cannot read the trusted certificates at \/nowhere\/x.pem/)
    assert.throws(() => loadTrust([alice.key]), /alice.key as trusted certificates/)
    const folder = freshFolder()
    writeFileSync(join(folder, 'bad.pem'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')
    assert.throws(() => loadTrust([folder]), /bad.pem as trusted certificates/)
  })

  it('gives a store that trusts nobody when there is nothing to read', () => {
    assert.equal(loadTrust([]).certificates.length, 0)
    assert.equal(loadTrust([freshFolder()]).certificates.length, 0)
  })
})

/** A root without URN and a user under it, by openssl, which shares no code with ours. */
function unnamedRoot(
  kind: 'rsa' | 'ec' = 'rsa', how: { digest?: string; bits?: number; extension?: string; ca?: false } = {},
) {
  const folder = freshFolder()
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore', timeout: 10_000 })
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
  const newKey = (bits: number) => kind === 'ec' ? ec : ['-newkey', `rsa:${bits}`]
  writeFileSync(join(folder, 'e.cnf'), `subjectAltName=URI:${urn('any', 'user', 'u')}\n${how.extension ?? ''}\n`)
  const ca = how.ca === undefined ? 'TRUE' : 'FALSE'
  const head = '[req]\ndistinguished_name=d\nx509_extensions=e\n[d]\n[e]\n'
  writeFileSync(join(folder, 'r.cnf'), `${head}basicConstraints=CA:${ca}\n`)
  run('req', '-x509', '-nodes', '-config', 'r.cnf', ...newKey(2048), '-subj', '/CN=old root', '-days', '2',
    '-keyout', 'k.pem', '-out', 'root.pem')
  run('req', '-nodes', ...newKey(how.bits ?? 2048), '-subj', '/CN=u', '-keyout', 'u.key', '-out', 'u.csr')
  run('x509', '-req', '-in', 'u.csr', '-CA', 'root.pem', '-CAkey', 'k.pem', '-CAcreateserial', '-days', '1',
    how.digest ?? '-sha256', '-extfile', 'e.cnf', '-out', 'u.pem')
  return { root: parseCertificate(read(join(folder, 'root.pem'))), chain: splitPem(read(join(folder, 'u.pem'))) }
}
