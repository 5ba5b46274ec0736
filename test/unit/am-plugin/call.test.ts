import assert from 'node:assert/strict'
import { Failure, Refusal } from '../../../base/errors.js'
import { codeOf } from '../../../am-plugin/geni-codes.js'
import { CallFault } from '../../../am-plugin/server.js'
import { encodeResponse } from '../../../am-plugin/xmlrpc/encode.js'
import type { Struct } from '../../../am-plugin/xmlrpc/value.js'
import { splitPem } from '../../../certs/certificate.js'
import { field, freshFolder, read, tools } from '../certs/field.js'
import { createFederation, issueUser } from '../../../certs/issue.js'
import { aggregate, ok, refused, rspecVersion } from './aggregate.js'

describe('a call', () => {
  it('GetVersion is answered to anybody, with geni_api beside the code and the types that old clients check', async () => {
    const am = await aggregate()
    const got = await am.call('GetVersion', [], { peer: [] })
    const value = ok(got) as Struct
    assert.equal(got.whole['geni_api'], 3)
    assert.equal(value['geni_single_allocation'], 0)
    assert.equal(value['geni_allocate'], 'geni_disjoint')
    assert.deepEqual(value['geni_api_versions'], { 2: 'https://am.lab.example:8443/am/2.0', 3: 'https://am.lab.example:8443/am/3.0' })
    for (const version of [...value['geni_request_rspec_versions'] as Struct[], ...value['geni_ad_rspec_versions'] as Struct[]]) {
      assert.deepEqual(Object.keys(version).sort(), ['extensions', 'namespace', 'schema', 'type', 'version'])
    }
    encodeResponse(got.whole)
  })

  it('is of the version that its path names, with or without a slash at its end; without a version in it, of v2', async () => {
    const am = await aggregate()
    const base = ['/am/2.0', '/am/2.0/', '/protogeni/xmlrpc/am/2.0', '/', '/RPC2', '/am', '/am/', '/protogeni/xmlrpc/am']
    for (const [api, paths] of [[2, base], [3, ['/am/3.0', '/am/3.0/', '/protogeni/xmlrpc/am/3.0']]] as const) {
      for (const path of paths) {
        const got = await am.call('GetVersion', [{}], { path })
        assert.deepEqual([got.whole['geni_api'], (ok(got) as Struct)['geni_api']], [api, api], path)
        assert.deepEqual((ok(got) as Struct)['geni_api_versions'], { 2: 'https://am.lab.example:8443/am/2.0', 3: 'https://am.lab.example:8443/am/3.0' })
        const [own, other] = api === 2 ? ['SliverStatus', 'Status'] : ['Status', 'SliverStatus']
        refused(await am.call(own, [api === 2 ? am.sliceUrn : [am.sliceUrn], am.credentials, {}], { path }), 12, /has no slivers here/)
        const elsewhere = `it is a method of AM API v${5 - api} at https://am.lab.example:8443/am/${5 - api}.0`
        refused(await am.call(other, [am.sliceUrn, am.credentials, {}], { path }), 13, new RegExp(elsewhere))
      }
    }
  })

  it('on a path that is nobody\'s even GetVersion is unsupported, with the right address', async () => {
    const am = await aggregate()
    refused(await am.call('GetVersion', [], { path: '/elsewhere' }), 13, /\/elsewhere: .*https:.*\/am\/3.0/)
  })

  it('an unknown method is a fault, a method of other versions is not', async () => {
    const am = await aggregate()
    await assert.rejects(am.call('Explode', []), (error: unknown) => error instanceof CallFault && error.code === -32601)
    await assert.rejects(am.call('constructor', []), CallFault)
    refused(await am.call('CreateSliver', []), 13, /CreateSliver is not spoken in AM API v3.*: it is a method of AM API v2 at/)
    for (const method of ['Update', 'Cancel']) refused(await am.call(method, []), 13, new RegExp(`${method} is not spoken .* without it`))
    refused(await am.call('Update', [], { peer: [] }), 3, /no certificate/)
  })

  it('without a certificate, or with one of strangers, all but GetVersion is forbidden', async () => {
    const am = await aggregate()
    refused(await am.call('ListResources', [am.credentials, rspecVersion], { peer: [] }), 3, /certificate is not accepted here: no certificate/)
    const dir = `${freshFolder()}/strangers`
    await createFederation(dir, { ...tools, authority: 'far.example', hostnames: [] })
    const mallory = await issueUser(dir, 'mallory', tools)
    refused(await am.call('ListResources', [am.credentials, rspecVersion], { peer: splitPem(read(mallory.certificate)) }), 3, /not trusted/)
    assert.equal(am.queue.added.length, 0)
  })

  it('the credential of somebody else gives no right', async () => {
    const am = await aggregate()
    const { bob } = await field()
    refused(await am.call('Status', [[am.sliceUrn], am.credentials, {}], { peer: splitPem(read(bob.certificate)) }), 3, /belongs to .*alice/)
  })

  it('no credentials at all are bad arguments, unusable ones forbid even ListResources', async () => {
    const am = await aggregate()
    refused(await am.call('ListResources', [[], rspecVersion]), 1, /no credential/)
    refused(await am.call('ListResources', [['<broken'], rspecVersion]), 3, /./)
    refused(await am.call('ListResources', []), 1, /credentials must be an array/)
  })

  it('a refused action has an empty array as value, because jFed reads one', async () => {
    const am = await aggregate()
    assert.deepEqual((await am.poa('geni_start')).value, [])
    assert.equal((await am.on('Status', {})).value, '')
  })

  it('a bug is an internal error that says nothing of its inside, and the log has it', async () => {
    const am = await aggregate()
    am.store.slice = async () => { throw new TypeError('secret detail') }
    const got = await am.on('Status', {})
    refused(got, 5, /internal error/)
    assert.doesNotMatch(got.output, /secret/)
    assert.match(String(am.lines.at(-1)!['why']), /secret detail/)
  })

  it('leaves one line in the audit log: who, what, on what, allowed or why not', async () => {
    const am = await aggregate()
    await am.on('Status', {})
    assert.equal(am.lines.length, 1)
    const { alice } = await field()
    const { callId, caller, method, target, allowed, code, why, ms } = am.lines[0]!
    assert.deepEqual({ callId, caller, method, target, allowed, code, ms }, {
      callId: 'c1', caller: alice.urn, method: 'Status', target: am.sliceUrn, allowed: false, code: 12, ms: 0,
    })
    assert.match(String(why), /has no slivers here/)
    await am.call('GetVersion', [])
    await assert.rejects(am.call('Explode', []))
    assert.deepEqual(am.lines.slice(1).map((l) => l['allowed']), [true, false])
  })

  it('never sends a code that jFed does not know', () => {
    const refusals = ['bad-arguments', 'bad-version', 'forbidden', 'not-found', 'busy', 'unsupported', 'exists', 'expired', 'too-big', 'shut-down', 'refused', 'no-vlan'] as const
    const failures = ['host-lost', 'timed-out', 'no-space', 'aborted', 'damaged', 'failed'] as const
    assert.deepEqual(refusals.map((c) => codeOf(new Refusal(c, ''))), [1, 4, 3, 12, 14, 13, 17, 15, 6, 11, 7, 24])
    assert.deepEqual(failures.map((c) => codeOf(new Failure(c, ''))), [2, 8, 2, 2, 2, 2])
    assert.equal(codeOf('thrown text'), 5)
  })
})

describe('ListResources', () => {
  it('gives an advertisement in which every node says whether it is available', async () => {
    const am = await aggregate()
    const text = ok(await am.call('ListResources', [am.credentials, rspecVersion])) as string
    assert.match(text, /component_id="urn:publicid:IDN\+lab.example\+node\+local"/)
    assert.match(text, /<available now="true"/)
    assert.match(text, /violin_snapshot/)
  })

  it('says of a host that it is full as soon as the rest of it is allocated, and leaves it out of what is available', async () => {
    const am = await aggregate(500)
    const list = async (options = {}) => ok(await am.call('ListResources', [am.credentials, { ...rspecVersion, ...options }])) as string
    assert.match(await list(), /<available now="true"/)
    ok(await am.allocate(['a', 'b']))
    am.time.at += 1_500
    assert.match(await list(), /<available now="false"/)
    assert.doesNotMatch(await list({ geni_available: true }), /<node /)
    refused(await am.allocate(['c']), 6, /node c needs 224 MiB of memory, local has 52 MiB left: ask for fewer or smaller nodes/)
  })

  it('wants to know the RSpec version, and knows one', async () => {
    const am = await aggregate()
    refused(await am.call('ListResources', [am.credentials, {}]), 1, /geni_rspec_version is missing/)
    refused(await am.call('ListResources', [am.credentials, { geni_rspec_version: { type: 'ProtoGENI', version: '2' } }]), 4, /GENI 3 is/)
    ok(await am.call('ListResources', [am.credentials, { geni_rspec_version: { type: 'geni', version: 3 } }]))
    refused(await am.call('ListResources', [am.credentials, { ...rspecVersion, geni_slice_urn: am.sliceUrn }]), 1, /use Describe/)
  })
})
