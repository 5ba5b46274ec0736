import assert from 'node:assert/strict'
import {
  parseListen, parseMetrics, parseOperator, parseOutlive, parseRateLimit, parseSources, parseWebhook,
} from '../../../cli/commands/up.js'

describe('the options of up', () => {
  it('--listen takes an IPv6 address in brackets', () => assert.deepEqual(parseListen('[::1]:8443'), { host: '::1', port: 8443 }))

  it('--metrics takes a port of this machine, or an address', () => {
    assert.deepEqual(parseMetrics('9464'), { host: '127.0.0.1', port: 9464 })
    assert.deepEqual(parseMetrics('10.0.0.5:9464'), { host: '10.0.0.5', port: 9464 })
    assert.deepEqual(parseMetrics('[::1]:9464'), { host: '::1', port: 9464 })
  })

  for (const wrong of ['', '0', 'metrics', '70000', 'host:', ':9464', '127.0.0.1:0', '-1']) {
    it(`--metrics refuses "${wrong}"`, () => assert.throws(() => parseMetrics(wrong), { code: 'commander.invalidArgument' }))
  }

  it('--outlive takes a duration', () => assert.equal(parseOutlive('PT12H'), 12 * 3_600_000))
  for (const wrong of ['', '24h', 'PT0S', 'P30D', '-PT1H']) {
    it(`--outlive refuses "${wrong}"`, () => assert.throws(() => parseOutlive(wrong), { code: 'commander.invalidArgument' }))
  }

  it('--sources takes places of https and files', () => {
    assert.deepEqual(parseSources('https://files.example.org/geni,file:///srv/geni/'), ['https://files.example.org/geni/', 'file:///srv/geni/'])
    assert.throws(() => parseSources('https://a/,http://b/'), { code: 'commander.invalidArgument', message: /http:\/\/b\/ is no place such as/ })
  })

  it('--webhook takes a URL of http or https', () => {
    assert.equal(parseWebhook('https://ops.example.org/violin?key=1'), 'https://ops.example.org/violin?key=1')
    assert.equal(parseWebhook('http://127.0.0.1:9000'), 'http://127.0.0.1:9000/')
  })

  for (const wrong of ['', 'ops.example.org', 'ftp://ops.example.org/', 'file:///etc/passwd', 'https://', 'https://me:secret@ops.example.org/']) {
    it(`--webhook refuses "${wrong}"`, () => assert.throws(() => parseWebhook(wrong), (e: Error & { code?: string }) =>
      e.code === 'commander.invalidArgument' && !e.message.includes('secret@')))
  }

  it('--rate-limit takes calls a second, calls and burst, or none, and says so to everything else', () => {
    assert.deepEqual(parseRateLimit('50'), { perSecond: 50, burst: 500 })
    assert.deepEqual(parseRateLimit('50/60'), { perSecond: 50, burst: 60 })
    assert.equal(parseRateLimit('none'), 'none')
    assert.throws(() => parseRateLimit('often'), (e: Error & { code?: string }) =>
      e.code === 'commander.invalidArgument' && e.message.includes('often is none of CALLS, CALLS/BURST'))
  })

  it('--operator takes URNs of users, one or more', () => {
    const [alice, bob] = ['urn:publicid:IDN+lab.example+user+alice', 'urn:publicid:IDN+lab.example+user+bob']
    assert.deepEqual(parseOperator(bob, parseOperator(alice)), [alice, bob])
    for (const wrong of ['alice', 'urn:publicid:IDN+lab.example+slice+alice', '']) assert.throws(() => parseOperator(wrong), { code: 'commander.invalidArgument' })
  })
})
