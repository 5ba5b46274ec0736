// A certificate authority with two certificates signed by it, made anew for each run of the tests.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Certificates { ca: string; serverKey: string; serverCert: string; clientKey: string; clientCert: string }

export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'violin-test-'))
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'ignore'] })
  const make = (name: string, ...more: string[]) => {
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
      '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`, ...more)
    return { key: readFileSync(join(folder, `${name}.key`), 'utf8'), cert: readFileSync(join(folder, `${name}.pem`), 'utf8') }
  }
  try {
    const authority = make('ca')
    const leaf = (name: string, san: string) => make(name, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-addext', `subjectAltName=${san}`,
      '-addext', 'basicConstraints=critical,CA:FALSE')
    const server = leaf('server', 'DNS:localhost,IP:127.0.0.1')
    const client = leaf('client', 'URI:urn:publicid:IDN+test+user+alice')
    return {
      ca: authority.cert, serverKey: server.key, serverCert: server.cert,
      clientKey: client.key, clientCert: client.cert + authority.cert,
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
