import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { diag } from 'libxml2-wasm'
import { credentialElement } from '../../../certs/credential-xml.js'
import { verifyEnvelopedSignatures } from '../../../certs/signature.js'
import { ask, edit, field, freshFolder, read, sign, signerOf, usual } from './field.js'

/** Debian's xmlsec1, an independent implementation. It must be there: a check skipped in silence checks nothing. */
function xmlsec1(...args: string[]): string {
  const run = spawnSync('xmlsec1', args, { encoding: 'utf8', timeout: 15_000 })
  if ((run.error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') {
    throw new Error('xmlsec1 IS MISSING, so no signature was checked against it; run "apt-get install xmlsec1"')
  }
  return run.stdout + run.stderr
}

/** Signs the credential by xmlsec1 as GENI issuers do, from a template. */
async function signedByXmlsec(signature: string, digest: string): Promise<string> {
  const { federation } = await field()
  const folder = freshFolder()
  const genuine = await sign(credentialElement(await usual()))
  const keyInfo = '<X509Data><X509SubjectName/><X509IssuerSerial/><X509Certificate/></X509Data><KeyValue/>'
  const template = ([
    [/<SignatureMethod [^>]*>/, `<SignatureMethod Algorithm="${signature}"/>`],
    [/<DigestMethod [^>]*>/, `<DigestMethod Algorithm="${digest}"/>`],
    [/<DigestValue>[^<]*</, '<DigestValue><'],
    [/<SignatureValue>[^<]*</, '<SignatureValue><'],
    [/<X509Data>[\s\S]*<\/X509Data>/, keyInfo],
  ] as const).reduce((text, [from, to]) => text.replace(from, to), genuine)
  const [input, output] = [join(folder, 'in.xml'), join(folder, 'out.xml')]
  writeFileSync(input, template)
  const keys = `${federation.sa.key},${federation.sa.certificate}`
  const said = xmlsec1('--sign', '--node-id', 'Sig_ref0', '--privkey-pem', keys, '--output', output, input)
  assert.doesNotMatch(said, /error/i)
  return read(output)
}

describe('a signature', () => {
  it('that we made is good in the eyes of xmlsec1, and bad after a change', async () => {
    const { federation, slice, alice, credential } = await field()
    for (const path of [slice.credential, alice.credential]) {
      const said = xmlsec1('--verify', '--node-id', 'Sig_ref0', '--trusted-pem', federation.trust,
        '--trusted-pem', federation.ma.certificate, path)
      assert.match(said, /^OK$/m, said)
    }
    const changed = join(freshFolder(), 'changed.xml')
    writeFileSync(changed, edit(credential, '<name>info<', '<name>*<'))
    const said = xmlsec1('--verify', '--node-id', 'Sig_ref0', '--trusted-pem', federation.trust, changed)
    assert.doesNotMatch(said, /^OK$/m)
  })

  const sha1 = 'http://www.w3.org/2000/09/xmldsig#sha1'
  const sha256 = 'http://www.w3.org/2001/04/xmlenc#sha256'
  const rsaSha1 = 'http://www.w3.org/2000/09/xmldsig#rsa-sha1'
  const rsaSha256 = 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256'
  for (const [method, digest] of [[rsaSha1, sha1], [rsaSha256, sha256], [rsaSha256, sha1]] as const) {
    it(`that xmlsec1 made with ${method.split('#')[1]!} and ${digest.split('#')[1]!} is accepted`, async () => {
      const xml = await signedByXmlsec(method, digest)
      const answer = await ask(xml)
      assert.equal(answer.allowed, true, JSON.stringify(answer))
    })
  }

  it('is accepted with a chain of certificates, white space and an XML declaration around', async () => {
    const { federation, credential } = await field()
    const root = read(federation.trust).replace(/-----[^-]*-----/g, '')
    const xml = edit(credential, '</X509Data>', `<X509Certificate>${root}</X509Certificate>\n</X509Data>`)
    assert.ok((await ask(`${xml}\n\n`)).allowed)
    assert.equal(verifyEnvelopedSignatures(xml)[0]!.signerChain.length, 2)
  })

  it('covers exactly the octets that are given back, with the namespaces around them', async () => {
    const { content } = verifyEnvelopedSignatures((await field()).credential)[0]!
    const text = content.toString()
    assert.match(text, /^<credential xmlns:xsi="[^"]*" xml:id="ref0">\n<type>privilege<\/type>/)
    assert.ok(text.endsWith('</privileges>\n</credential>'))
  })

  it('keeps letters beyond ASCII and references to characters whole', async () => {
    const text = edit(credentialElement(await usual()), '<serial>1<', '<serial>&#xE9;\u{1F600}&#13;é<')
    const { content } = verifyEnvelopedSignatures(await sign(text))[0]!
    assert.match(content.toString(), /<serial>é\u{1F600}&#xD;é</u)
  })

  it('is not made for a credential without xml:id', async () => {
    const text = edit(credentialElement(await usual()), ' xml:id="ref0"', '')
    await assert.rejects(sign(text), /must have an xml:id/)
  })

  it('leaves no XML document in memory, whether it was good or bad', async () => {
    const { credential } = await field()
    diag.configure({ enabled: true })
    try {
      verifyEnvelopedSignatures(credential)
      for (const bad of ['<a', '<a/>', edit(credential, '<name>info<', '<name>*<')]) {
        assert.throws(() => verifyEnvelopedSignatures(bad))
      }
      await sign(credentialElement(await usual()))
      assert.deepEqual(diag.report(), {})
    } finally {
      diag.configure({ enabled: false })
    }
  })

  it('of an authority with an elliptic-curve key is refused, since its algorithm is RSA', async () => {
    const { federation } = await field()
    const folder = freshFolder()
    execFileSync('openssl', ['req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
      '-subj', '/CN=x', '-addext', 'subjectAltName=URI:urn:publicid:IDN+lab.example+authority+sa',
      '-keyout', join(folder, 'k'), '-out', join(folder, 'c')], { stdio: 'ignore', timeout: 10_000 })
    const ec = signerOf(join(folder, 'c'), join(folder, 'k'))
    const sa = signerOf(federation.sa.certificate, federation.sa.key)
    const xml = edit(await sign(credentialElement(await usual()), sa), /<X509Certificate>[^<]*/,
      `<X509Certificate>${ec.certificate.der.toString('base64')}`)
    assert.throws(() => verifyEnvelopedSignatures(xml), /the key of the signer is not RSA/)
  })
})
