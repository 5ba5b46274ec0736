// A public key as ssh writes it, from the key of a certificate: so that the key of the GENI user is her login too.
import type { KeyObject } from 'node:crypto'
import { Refusal } from '../../base/errors.js'

const curves: Record<string, string> = { 'P-256': 'nistp256', 'P-384': 'nistp384', 'P-521': 'nistp521' }

/** One line for authorized_keys (RFC 4253 and 5656). Refuses kinds of keys that ssh does not know. */
export function sshPublicKey(key: KeyObject, comment: string): string {
  const jwk = key.export({ format: 'jwk' })
  const bytes = (text: string | undefined) => Buffer.from(text ?? '', 'base64url')
  if (jwk.kty === 'RSA') return line('ssh-rsa', [unsigned(bytes(jwk.e)), unsigned(bytes(jwk.n))], comment)
  if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519') return line('ssh-ed25519', [bytes(jwk.x)], comment)
  const curve = curves[jwk.crv ?? '']
  if (jwk.kty === 'EC' && curve !== undefined) {
    const point = Buffer.concat([Buffer.from([4]), bytes(jwk.x), bytes(jwk.y)])
    return line(`ecdsa-sha2-${curve}`, [Buffer.from(curve), point], comment)
  }
  throw new Refusal('unsupported', `ssh knows no keys of the kind ${jwk.kty ?? '?'} ${jwk.crv ?? ''}: give a public key of ssh with --ssh-key`)
}

function line(name: string, fields: Buffer[], comment: string): string {
  const blob = Buffer.concat([Buffer.from(name), ...fields].flatMap((field) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(field.length)
    return [length, field]
  }))
  return `${name} ${blob.toString('base64')} ${comment}`
}

/** A positive number must not begin with the sign bit. */
const unsigned = (bytes: Buffer): Buffer => ((bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes)
