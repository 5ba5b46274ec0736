// A key and a certificate for the simulated aggregate, made once for each run of this program: inventories are signed with it.
import { generateKeyPairSync } from 'node:crypto'
import { realRandom } from '../../../base/random.js'
import { mint } from '../../../certs/mint.js'

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const certificate = await mint({
  commonName: 'am', organization: 'lab.example', urn: 'urn:publicid:IDN+lab.example+authority+am', uuid: '00000000-0000-4000-8000-00000000000a',
  notBefore: Date.parse('2026-01-01T00:00:00Z'), notAfter: Date.parse('2036-01-01T00:00:00Z'), publicKey: pair.publicKey,
}, { self: pair.privateKey }, realRandom)

export const keyPem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
export const certificatePem = `-----BEGIN CERTIFICATE-----\n${certificate.der.toString('base64')}\n-----END CERTIFICATE-----\n`
