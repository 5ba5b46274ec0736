import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import ssh2, { type ParsedKey } from 'ssh2'
import { sshPublicKey } from '../../../cli/slice/ssh-key.js'

const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = (namedCurve: string) => () => generateKeyPairSync('ec', { namedCurve })

describe('the public key of a certificate, for ssh', () => {
  for (const [name, make] of [
    ['ssh-rsa', rsa], ['ecdsa-sha2-nistp256', ec('P-256')], ['ecdsa-sha2-nistp384', ec('P-384')], ['ssh-ed25519', () => generateKeyPairSync('ed25519')],
  ] as const) {
    it(`of the kind ${name} is the same key`, () => {
      const { publicKey } = make() as { publicKey: KeyObject }
      const line = sshPublicKey(publicKey, 'me')
      const parsed = ssh2.utils.parseKey(line) as ParsedKey
      assert.ok(!(parsed instanceof Error), line)
      assert.deepEqual([parsed.type, parsed.comment], [name, 'me'])
      assert.equal(parsed.getPublicPEM().replace(/\s/g, ''), (publicKey.export({ type: 'spki', format: 'pem' }) as string).replace(/\s/g, ''))
    })
  }

  it('of a kind that ssh does not know is refused', () => {
    assert.throws(() => sshPublicKey(generateKeyPairSync('ed448').publicKey, 'me'), /ssh knows no keys of the kind OKP Ed448: give a public key of ssh with --ssh-key/)
  })
})
