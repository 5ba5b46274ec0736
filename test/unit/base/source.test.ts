import assert from 'node:assert/strict'
import { readPlace, readSource } from '../../../base/source.js'

const digest = 'ab'.repeat(32)
const places = ['https://files.example.org/geni/', 'file:///srv/geni/']

describe('what users may have fetched', () => {
  it('is below a place of the operator, with or without a digest', () => {
    assert.deepEqual(readSource('https://files.example.org/geni/a.tgz', places), { url: 'https://files.example.org/geni/a.tgz' })
    assert.deepEqual(readSource(`file:///srv/geni/x/a.tar#sha256=${digest.toUpperCase()}`, places), { url: 'file:///srv/geni/x/a.tar', sha256: digest })
  })

  for (const url of [
    'https://files.example.org/other/a.tgz', 'https://files.example.org/geni/../other/a.tgz', 'https://files.example.org/geni/%2e%2e/a.tgz',
    'https://files.example.org.evil.net/geni/a.tgz', 'https://files.example.org@evil.net/geni/a.tgz', 'https://a:b@files.example.org/geni/a.tgz',
    'http://files.example.org/geni/a.tgz', 'https://files.example.org:8443/geni/a.tgz', 'file:///srv/geni-private/a.tgz', 'file:///srv/geni/..%2f..%2fetc/shadow',
    'file:///etc/shadow', 'file:///srv/geni/', 'gopher://files.example.org/geni/a', 'https:///geni/a.tgz', 'https://169.254.169.254/latest/meta-data',
  ]) {
    it(`is not ${url}`, () => assert.match(readSource(url, places) as string, /^which is not below https:.* or file:/))
  }

  it('is nothing where the operator names no place, and nothing without a true digest', () => {
    assert.match(readSource('https://files.example.org/geni/a.tgz', []) as string, /fetches nothing: .*--sources/)
    assert.match(readSource('https://files.example.org/geni/a.tgz#sha256=12', places) as string, /digest is not #sha256=/)
    assert.match(readSource('a.tgz', places) as string, /no URL/)
  })

  it('is at places that are https or file, as folders', () => {
    assert.deepEqual(['https://h/a', ' file:///srv/geni/ ', 'http://h/', 'https://u@h/', 'https://h/?q', 'https://h/%41/', 'x'].map(readPlace),
      ['https://h/a/', 'file:///srv/geni/', undefined, undefined, undefined, undefined, undefined])
  })
})
