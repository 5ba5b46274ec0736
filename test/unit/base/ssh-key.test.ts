import assert from 'node:assert/strict'
import ssh2 from 'ssh2'
import { newSshKeys } from '../../../base/ssh-key.js'

describe('a fresh key for ssh', () => {
  it('is one that can be read: others are thrown away', () => {
    const good = newSshKeys()
    const broken = { private: good.private.replace(/\n[^-\n]{20}/, '\n'), public: good.public }
    assert.ok(ssh2.utils.parseKey(broken.private) instanceof Error)
    const coming = [broken, broken, good]
    assert.equal(newSshKeys(() => coming.shift()!), good)
    assert.throws(() => newSshKeys(() => broken), /no usable key for ssh/)
  })
})
