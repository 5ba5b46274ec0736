import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { openAudit, type AuditLine } from '../../../am-plugin/audit.js'
import { cutOff } from '../../../base/cut-off.js'
import { splitPem } from '../../../certs/certificate.js'
import { letSpeak } from '../../../certs/delegate.js'
import { keyFromPem } from '../../../certs/mint.js'
import { certify, dayMs, field, freshFolder, now, pemOf, read, signerOf } from '../certs/field.js'
import { aggregate, ok, refused, rspecVersion } from './aggregate.js'

async function audited() {
  const am = await aggregate()
  const lines: AuditLine[] = []
  am.parts.audit = (line) => { lines.push(line) }
  return { am, lines }
}

describe('the audit log', () => {
  it('has one line for each call: who, what, on what, and why it was allowed', async () => {
    const { am, lines } = await audited()
    const { alice, slice } = await field()
    ok(await am.allocate(['a']))
    assert.equal(lines.length, 1)
    const { why, certificate, ...line } = lines[0]!
    assert.deepEqual(line, {
      at: new Date(now).toISOString().replace('.000Z', 'Z'), call: 'c1', user: alice.urn, method: 'Allocate', on: slice.urn, allowed: true, code: 0, ms: 0,
    })
    assert.match(why, /^credential of .*alice for .*exp1, signed by .*authority\+sa, with embed, bind, control, until /)
    assert.equal(certificate, createHash('sha256').update(splitPem(read(alice.certificate))[0]!).digest('hex'))
  })

  it('says why a call was refused, and of one that was allowed and failed how it ended', async () => {
    const { am, lines } = await audited()
    const { bob } = await field()
    refused(await am.on('Status', {}), 12, /no slivers/)
    refused(await am.call('Status', [[am.sliceUrn], am.credentials, {}], { peer: splitPem(read(bob.certificate)) }), 3, /belongs to/)
    refused(await am.call('Status', [[am.sliceUrn], am.credentials, {}], { peer: [] }), 3, /no certificate/)
    assert.deepEqual(lines.map((l) => [l.user, l.allowed, l.code]), [[(await field()).alice.urn, true, 12], [bob.urn, false, 3], ['', false, 3]])
    assert.match(lines[0]!.end!, /has no slivers here/)
    assert.match(lines[1]!.why, /the credential belongs to .*alice, and the caller is .*bob/)
    assert.match(lines[2]!.why, /not accepted here: no certificate was given/)
    assert.equal(lines[2]!.certificate, undefined)
  })

  it('tells user and tool apart when a tool speaks', async () => {
    const { am, lines } = await audited()
    const { alice, bob, federation } = await field()
    const ma = signerOf(federation.ma.certificate, federation.ma.key)
    const tool = await certify({ urn: 'urn:publicid:IDN+lab.example+tool+portal' }, ma)
    const peer = splitPem(pemOf(tool.certificate, ma.certificate))
    const statement = letSpeak({
      user: { key: keyFromPem(read(alice.key)), pem: read(alice.certificate) }, tool: pemOf(tool.certificate), expires: now + dayMs,
    })
    const credentials = [...am.credentials, { geni_type: 'geni_abac', geni_version: '1', geni_value: statement }]
    const options = { ...rspecVersion, geni_speaking_for: alice.urn }
    ok(await am.call('ListResources', [credentials, options], { peer }))
    refused(await am.call('ListResources', [credentials, { ...options, geni_speaking_for: bob.urn }], { peer }), 3, /geni_speaking_for names .*bob/)
    refused(await am.call('ListResources', [credentials, { ...options, geni_speaking_for: 7 }], { peer }), 1, /must be the URN of the user, a string/)
    assert.deepEqual(lines.map((l) => [l.user, l.tool, l.allowed]), [
      [alice.urn, tool.certificate.urn, true], [tool.certificate.urn, undefined, false], [tool.certificate.urn, undefined, false],
    ])
  })

  it('is a file of JSON lines for its owner only, that may be cut off under it', async () => {
    const { am } = await audited()
    const file = join(freshFolder(), 'audit.log')
    am.parts.audit = openAudit(file, (error) => { throw error })
    await am.call('GetVersion', [])
    await cutOff(file, `${file}.1`)
    await am.on('Status', {})
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const [before, after] = [`${file}.1`, file].map((f) => read(f).trim().split('\n').map((line) => JSON.parse(line) as AuditLine))
    assert.deepEqual(before!.map((l) => [l.method, l.allowed, l.why]), [['GetVersion', true, 'everybody may ask']])
    assert.deepEqual(after!.map((l) => l.method), ['Status'])
  })

  it('that cannot be written is told, and the call goes on', async () => {
    const { am } = await audited()
    const errors: unknown[] = []
    am.parts.audit = openAudit('/dev/full', (error) => { errors.push(error) })
    ok(await am.call('GetVersion', []))
    assert.match(String(errors[0]), /ENOSPC/)
  })
})
