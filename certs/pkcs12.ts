// Writes PKCS#12 (RFC 7292), the form in which browsers and jFed take a user's key and certificates. Encrypted as of
// today: AES-256 and SHA-256, which OpenSSL 1.1 and Java 8u301 and all later ones read.
import { createCipheriv, createHash, createHmac, pbkdf2Sync, type KeyObject } from 'node:crypto'
import type { Random } from '../base/random.js'
import { der, derNull, integer, objectId, octets, sequence } from './der.js'

const rounds = 10_000
const id = {
  data: objectId('1.2.840.113549.1.7.1'), encryptedData: objectId('1.2.840.113549.1.7.6'),
  keyBag: objectId('1.2.840.113549.1.12.10.1.2'), certBag: objectId('1.2.840.113549.1.12.10.1.3'), x509: objectId('1.2.840.113549.1.9.22.1'),
  friendlyName: objectId('1.2.840.113549.1.9.20'), localKeyId: objectId('1.2.840.113549.1.9.21'),
  pbes2: objectId('1.2.840.113549.1.5.13'), pbkdf2: objectId('1.2.840.113549.1.5.12'), hmacSha256: objectId('1.2.840.113549.2.9'),
  aes256: objectId('2.16.840.1.101.3.4.1.42'), sha256: objectId('2.16.840.1.101.3.4.2.1'),
}
const explicit = (...parts: readonly Buffer[]): Buffer => der(0xa0, ...parts)

export interface Pkcs12 { name: string; key: KeyObject; chain: readonly Buffer[]; password: string; random: Random }

/** The file, in DER. `chain` is DER, the certificate of the key first. */
export function writePkcs12({ name, key, chain, password, random }: Pkcs12): Buffer {
  const keyName = createHash('sha1').update(chain[0]!).digest()
  const attributes = der(0x31,
    sequence(id.friendlyName, der(0x31, der(0x1e, utf16(name)))),
    sequence(id.localKeyId, der(0x31, octets(keyName))))
  const certificates = chain.map((bytes, i) => sequence(
    id.certBag, explicit(sequence(id.x509, explicit(octets(bytes)))), ...(i === 0 ? [attributes] : [])))
  const encrypt = (content: Buffer) => encryptor(password, random, content)
  const [method, sealed] = encrypt(sequence(...certificates))
  const [keyMethod, sealedKey] = encrypt(key.export({ type: 'pkcs8', format: 'der' }))
  const safe = sequence(
    sequence(id.encryptedData, explicit(sequence(integer(0), sequence(id.data, method, der(0x80, sealed))))),
    sequence(id.data, explicit(octets(sequence(sequence(id.keyBag, explicit(sequence(keyMethod, octets(sealedKey))), attributes))))))
  const salt = random.bytes(16)
  const mac = createHmac('sha256', macKey(password, salt)).update(safe).digest()
  return sequence(integer(3), sequence(id.data, explicit(octets(safe))),
    sequence(sequence(sequence(id.sha256, derNull), octets(mac)), octets(salt), integer(rounds)))
}

/** PBES2: how it was encrypted, and the result. */
function encryptor(password: string, random: Random, content: Buffer): [Buffer, Buffer] {
  const [salt, iv] = [random.bytes(16), random.bytes(16)]
  const cipher = createCipheriv('aes-256-cbc', pbkdf2Sync(password, salt, rounds, 32, 'sha256'), iv)
  const method = sequence(id.pbes2, sequence(
    sequence(id.pbkdf2, sequence(octets(salt), integer(rounds), sequence(id.hmacSha256, derNull))),
    sequence(id.aes256, octets(iv))))
  return [method, Buffer.concat([cipher.update(content), cipher.final()])]
}

/** The key derivation of RFC 7292, appendix B, for the sum (3); 32 bytes are one round of its outer loop. */
function macKey(password: string, salt: Buffer): Buffer {
  const block = 64
  const filled = (bytes: Buffer) => Buffer.alloc(Math.ceil(bytes.length / block) * block, bytes)
  let key = createHash('sha256').update(Buffer.alloc(block, 3)).update(filled(salt)).update(filled(utf16(`${password}\0`))).digest()
  for (let i = 1; i < rounds; i++) key = createHash('sha256').update(key).digest()
  return key
}

const utf16 = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16()
