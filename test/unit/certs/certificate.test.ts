import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DetailedPeerCertificate } from 'node:tls'
import {
  parseCertificate, parseGeniCertificate, peerChain, sameKey, splitPem, toPem, urnOf,
} from '../../../certs/certificate.js'
import { callerOf, certify, chainOf, dayMs, field, freshFolder, now, pemOf, read } from './field.js'

/** A self-signed certificate with any subjectAltName, made by a program that shares no code with ours. */
function openssl(alternativeNames: string, ...more: string[]): string {
  const folder = freshFolder()
  const [config, out] = [join(folder, 'c.cnf'), join(folder, 'c.pem')]
  const head = '[req]\ndistinguished_name=d\nx509_extensions=e\n[d]\n[e]\nsubjectAltName=@n\n[n]\n'
  writeFileSync(config, `${head}${alternativeNames}\n`)
  const key = more.length > 0 ? more : ['-newkey', 'rsa:2048']
  execFileSync('openssl', ['req', '-x509', '-nodes', '-config', config, '-subj', '/CN=x', '-days', '2',
    '-keyout', join(folder, 'k.pem'), '-out', out, ...key], { stdio: 'ignore', timeout: 10_000 })
  return read(out)
}

describe('a certificate', () => {
  it('gives URN, UUID and e-mail of subjectAltName, dates, and the same fingerprint from PEM and DER', async () => {
    const { alice } = await field()
    const certificate = callerOf(alice)
    assert.equal(certificate.urn, 'urn:publicid:IDN+lab.example+user+alice')
    assert.equal(certificate.uuid, alice.uuid)
    assert.equal(certificate.email, 'alice@lab.example')
    assert.equal(certificate.isCa, false)
    assert.ok(certificate.notBefore < now && certificate.notAfter > now + 100 * dayMs)
    assert.match(certificate.fingerprint, /^[0-9a-f]{64}$/)
    assert.equal(parseCertificate(certificate.der).fingerprint, certificate.fingerprint)
    assert.equal(parseCertificate(Buffer.from(toPem(certificate.der))).fingerprint, certificate.fingerprint)
    assert.deepEqual(urnOf(certificate), { authority: 'lab.example', type: 'user', name: 'alice' })
  })

  it('reads names in any order and passes over URLs, as in certificates of ProtoGENI', () => {
    const pem = openssl('email.1=a@b.c\nURI.1=https://x/y\nURI.2=urn:uuid:ee398ed6-a53f-4ed4-9bf8-9c403139f7bd\n'
      + 'URI.3=urn:publicid:IDN+x:y+authority+sa\nDNS.1=x.y')
    const certificate = parseGeniCertificate(pem)
    assert.equal(certificate.urn, 'urn:publicid:IDN+x:y+authority+sa')
    assert.equal(certificate.uuid, 'ee398ed6-a53f-4ed4-9bf8-9c403139f7bd')
    assert.equal(certificate.email, 'a@b.c')
  })

  it('with an elliptic-curve key is read too', () => {
    const pem = openssl('URI.1=urn:publicid:IDN+x+user+u', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256')
    assert.equal(parseGeniCertificate(pem).publicKey.asymmetricKeyType, 'ec')
  })

  it('cannot smuggle in a second identity by commas in a name', async () => {
    const email = 'a@b, URI:urn:publicid:IDN+lab.example+user+root'
    const { certificate } = await certify({ urn: 'urn:publicid:IDN+lab.example+user+eve', email })
    assert.equal(certificate.urn, 'urn:publicid:IDN+lab.example+user+eve')
    assert.equal(certificate.email, email)
    assert.throws(() => parseCertificate(openssl('URI.1="urn:publicid:IDN+x+user+a\\, URI:urn:publicid:IDN+x+user+b"')),
      /malformed URN/)
  })

  it('with two URNs or two UUIDs is refused', () => {
    assert.throws(() => parseCertificate(openssl('URI.1=urn:publicid:IDN+x+user+a\nURI.2=URN:publicid:IDN+x+user+b')),
      /several URNs/)
    const uuid = 'urn:uuid:ee398ed6-a53f-4ed4-9bf8-9c403139f7b'
    assert.throws(() => parseCertificate(openssl(`URI.1=${uuid}1\nURI.2=${uuid}2`)), /several URNs or UUIDs/)
  })

  it('with a malformed URN or UUID is refused', () => {
    const part = 'urn:publicid:IDN+x+user'
    for (const name of [part, `${part}+a+b`, 'URN:PUBLICID:idn+x+user+a', 'urn:uuid:1']) {
      assert.throws(() => parseCertificate(openssl(`URI.1=${name}`)), /malformed/, name)
    }
  })

  it('without a URN is read, and is not taken for one that names somebody', () => {
    const pem = openssl('DNS.1=x.y')
    assert.equal(parseCertificate(pem).urn, undefined)
    assert.throws(() => parseGeniCertificate(pem), /no URN/)
  })

  it('that is no certificate, is followed by more bytes, or is too long is refused', async () => {
    const { der } = callerOf((await field()).alice)
    const longer = Buffer.concat([der, Buffer.from('x')])
    for (const bad of [Buffer.alloc(0), Buffer.from('hello'), der.subarray(0, 200), longer]) {
      assert.throws(() => parseCertificate(bad), /cannot be read as X.509/)
    }
    assert.throws(() => parseCertificate(Buffer.alloc(20_000)), /at most 16384 are read/)
  })
})

describe('a PEM chain', () => {
  it('is split in order, with text around and between', async () => {
    const chain = chainOf((await field()).alice.certificate)
    assert.equal(chain.length, 2)
    assert.deepEqual(splitPem(`Subject: x\n${toPem(chain[0]!)}bag\r\n${toPem(chain[1]!)}\n`), chain)
  })

  it('is refused when empty or longer than any real one', async () => {
    const certificate = callerOf((await field()).alice)
    assert.throws(() => splitPem('nothing'), /no PEM certificate found/)
    assert.throws(() => splitPem(pemOf(...Array.from({ length: 11 }, () => certificate))), /more than 10 certificates/)
  })
})

describe('peerChain', () => {
  it('gives what the TLS peer sent, and ends where node points a root at itself', async () => {
    const [leaf, issuer] = chainOf((await field()).alice.certificate)
    const root = { raw: issuer! } as DetailedPeerCertificate
    root.issuerCertificate = root
    assert.deepEqual(peerChain({ raw: leaf!, issuerCertificate: root } as DetailedPeerCertificate), [leaf, issuer])
    assert.deepEqual(peerChain({} as DetailedPeerCertificate), [])
    assert.deepEqual(peerChain(undefined), [])
  })
})

describe('sameKey', () => {
  it('compares keys, not certificates', async () => {
    const { alice, bob } = await field()
    assert.ok(sameKey(callerOf(alice).publicKey, callerOf(alice).publicKey))
    assert.equal(sameKey(callerOf(alice).publicKey, callerOf(bob).publicKey), false)
  })
})
