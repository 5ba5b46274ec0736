// A fresh key pair for ssh. The library we use writes about one ed25519 key in two hundred in a form that it cannot read
// itself; such a one is thrown away.
import ssh2 from 'ssh2'
import { Failure } from './errors.js'

export interface SshKeys { private: string; public: string }

const attempts = 20

export function newSshKeys(generate: () => SshKeys = () => ssh2.utils.generateKeyPairSync('ed25519')): SshKeys {
  for (let i = 0; i < attempts; i++) {
    const keys = generate()
    if (!(ssh2.utils.parseKey(keys.private) instanceof Error)) return keys
  }
  throw new Failure('failed', `no usable key for ssh came out of ${attempts} attempts`)
}
