// AM API v2 over the slivers that v3 knows: the same store, the same rights, v2's shapes.
import assert from 'node:assert/strict'
import { inflateSync } from 'node:zlib'
import { Refusal } from '../../../base/errors.js'
import { rfc3339 } from '../../../base/time.js'
import type { Struct, Value } from '../../../am-plugin/xmlrpc/value.js'
import { splitPem } from '../../../certs/certificate.js'
import type { OperationalState } from '../../../slices/sliver.js'
import { field, read } from '../certs/field.js'
import { aggregate, listOf, minute, ok, refused, requestOf, rspecVersion } from './aggregate.js'

const day = 24 * 60 * minute
const users: Value = [{ urn: 'urn:publicid:IDN+lab.example+user+alice', keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJx alice@lab'] }]

/** As v2's clients call: plain strings for credentials, the slice's URN first. */
async function aggregate2() {
  const am = await aggregate()
  const credentials = am.credentials.map((c) => (c as Struct)['geni_value']!)
  const call2 = (method: string, ...params: Value[]) => am.call(method, params, { path: '/am/2.0' })
  const on2 = (method: string, ...rest: Value[]) => call2(method, am.sliceUrn, credentials, ...rest)
  const create = (names = ['a', 'b'], ...rest: Value[]) => on2('CreateSliver', requestOf(names), ...(rest.length > 0 ? rest : [users, {}]))
  const list2 = (options: Struct) => call2('ListResources', credentials, options)
  return { ...am, call2, on2, create, list2, plain: credentials }
}

describe('CreateSliver', () => {
  it('reserves, provisions and boots in one call, and answers with the manifest before the boot ends', async () => {
    const am = await aggregate2()
    const manifest = ok(await am.create()) as string
    assert.match(manifest, /type="manifest"/)
    assert.match(manifest, /<login authentication="ssh-keys" hostname="am.lab.example" port="\d+" username="alice"\/>/)
    assert.match(manifest, new RegExp(`expires="${rfc3339(am.expires)}"`))
    const { slivers } = await am.record()
    assert.deepEqual(slivers.map((s) => [s.allocation, s.operational]), Array.from({ length: 2 }, () => ['geni_provisioned', 'geni_configuring']))
    assert.deepEqual(am.queue.added.map((o) => [o.kind, o.params]), [['provision', { slivers: slivers.map((s) => s.id), boot: true }]])
  })

  it('is content with four arguments, or more than five, and keeps a geni_end_time', async () => {
    const am = await aggregate2()
    ok(await am.create(['a'], []))
    ok(await am.on2('DeleteSliver'))
    await am.settle()
    await am.store.update(am.sliceUrn, (r) => ({ ...r, slivers: [] }))
    const end = rfc3339(am.time.at + day)
    ok(await am.create(['a'], users, { geni_end_time: end }, 'call-id'))
    assert.equal((await am.record()).slivers[0]!.expires, end)
  })

  it('on a slice that has slivers already is "exists", whatever their names', async () => {
    const am = await aggregate2()
    ok(await am.create(['a']))
    refused(await am.create(['b']), 17, /has slivers already/)
    assert.equal((await am.record()).slivers.length, 1)
  })

  it('that cannot be provisioned leaves nothing behind', async () => {
    const am = await aggregate2()
    const update = am.store.update.bind(am.store)
    am.store.update = (urn, change, alongside) => {
      if (alongside) throw new Refusal('busy', 'somebody was quicker')
      return update(urn, change)
    }
    refused(await am.create(), 14, /quicker/)
    assert.deepEqual((await am.record()).slivers, [])
    am.store.update = update
    ok(await am.create())
  })

  it('refuses users that are none, an empty RSpec and another user', async () => {
    const am = await aggregate2()
    refused(await am.create(['a'], 'alice', {}), 1, /users must be an array/)
    refused(await am.create(['a'], [{ urn: 'alice' }], {}), 1, /users: "alice" is not the URN/)
    refused(await am.on2('CreateSliver', '', [], {}), 1, /./)
    const { bob } = await field()
    const peer = splitPem(read(bob.certificate))
    refused(await am.call('CreateSliver', [am.sliceUrn, am.plain, requestOf(['a']), [], {}], { path: '/am/2.0', peer }), 3, /belongs to/)
    assert.deepEqual(await am.store.slices(), [])
  })
})

describe('SliverStatus', () => {
  it('says of each sliver and of all together in the four words of v2 how they are', async () => {
    const cases: [OperationalState[], string, string[]][] = [
      [['geni_ready', 'geni_ready'], 'ready', ['ready', 'ready']],
      [['geni_ready', 'geni_configuring'], 'configuring', ['ready', 'configuring']],
      [['geni_failed', 'geni_configuring'], 'failed', ['failed', 'configuring']],
      [['violin_suspended', 'violin_suspended'], 'unknown', ['unknown', 'unknown']],
      [['geni_ready', 'geni_notready'], 'unknown', ['ready', 'unknown']],
    ]
    const am = await aggregate2()
    ok(await am.create())
    for (const [operational, all, each] of cases) {
      await am.store.update(am.sliceUrn, (r) => { r.slivers.forEach((s, i) => { s.operational = operational[i]! }); return r })
      const value = ok(await am.on2('SliverStatus', {})) as Struct
      const resources = value['geni_resources'] as Struct[]
      assert.deepEqual([value['geni_status'], resources.map((r) => r['geni_status'])], [all, each])
      assert.deepEqual(resources.map((r) => r['geni_operational_status']), operational)
      assert.deepEqual([value['geni_urn'], value['geni_expires']], [am.sliceUrn, rfc3339(am.expires)])
      for (const r of resources) assert.equal(r['geni_error'], '')
    }
  })

  it('of a slice without slivers, and without options, is "search failed"', async () => {
    const am = await aggregate2()
    refused(await am.on2('SliverStatus'), 12, /has no slivers here/)
    refused(await am.call2('SliverStatus', [am.sliceUrn], am.plain, {}), 1, /slice_urn must be a string/)
  })
})

describe('ListResources of v2', () => {
  it('is the advertisement, or with geni_slice_urn the manifest, compressed if that is wanted', async () => {
    const am = await aggregate2()
    assert.match(ok(await am.list2(rspecVersion)) as string, /type="advertisement"/)
    ok(await am.create(['a']))
    const manifest = ok(await am.list2({ ...rspecVersion, geni_slice_urn: am.sliceUrn })) as string
    assert.match(manifest, /type="manifest"[^]*client_id="a"/)
    const packed = ok(await am.list2({ ...rspecVersion, geni_slice_urn: am.sliceUrn, geni_compressed: true })) as string
    assert.equal(inflateSync(Buffer.from(packed, 'base64')).toString(), manifest)
  })

  it('of a slice that has nothing here is an empty manifest, and its rights are looked at', async () => {
    const am = await aggregate2()
    const manifest = ok(await am.list2({ ...rspecVersion, geni_slice_urn: am.sliceUrn })) as string
    assert.match(manifest, /type="manifest"/)
    assert.doesNotMatch(manifest, /<node/)
    refused(await am.list2({ ...rspecVersion, geni_slice_urn: am.sliceUrn.replace('exp1', 'exp2') }), 3, /not for/)
    refused(await am.list2({ ...rspecVersion, geni_slice_urn: 'exp1' }), 1, /not the URN of a slice/)
  })

  it('wants to know the RSpec version, and takes the name that v1 had for it', async () => {
    const am = await aggregate2()
    refused(await am.list2({}), 1, /geni_rspec_version is missing/)
    refused(await am.list2({ geni_rspec_version: { type: 'GENI', version: '99' } }), 4, /GENI 3 is/)
    ok(await am.list2({ rspec_version: { type: 'GENI', version: '3' } }))
    refused(await am.call2('ListResources'), 1, /credentials must be an array/)
    refused(await am.call2('ListResources', [], rspecVersion), 1, /no credential/)
  })
})

describe('RenewSliver and DeleteSliver', () => {
  it('answer true, and both versions see what they did', async () => {
    const am = await aggregate2()
    ok(await am.create())
    await am.settle('geni_ready')
    const end = rfc3339(am.time.at + 2 * day)
    assert.equal(ok(await am.on2('RenewSliver', end)), true)
    assert.deepEqual(listOf(ok(await am.on('Status', {}))).map((s) => s['geni_expires']), [end, end])
    assert.equal(ok(await am.on2('DeleteSliver', {})), true)
    refused(await am.on('Status', {}), 12, /no slivers/)
    refused(await am.on2('DeleteSliver', {}), 12, /no slivers/)
  })

  it('RenewSliver renews all or nothing, also when it is told to do its best', async () => {
    const am = await aggregate2()
    await am.ready(['a'])
    ok(await am.allocate(['b'])) // for ten minutes at most
    const before = await am.record()
    refused(await am.on2('RenewSliver', rfc3339(am.time.at + day), { geni_best_effort: true }), 7, /cannot be renewed/)
    refused(await am.on2('RenewSliver', rfc3339(am.expires + day), {}), 7, /cannot be renewed/)
    assert.deepEqual(await am.record(), before)
    assert.equal(ok(await am.on2('RenewSliver', rfc3339(am.expires + day), { geni_extend_alap: true })), true)
  })

  it('what v3 has made can be seen and deleted by v2', async () => {
    const am = await aggregate2()
    await am.ready(['a'])
    assert.equal((ok(await am.on2('SliverStatus', {})) as Struct)['geni_status'], 'ready')
    assert.equal(ok(await am.on2('DeleteSliver', {})), true)
    assert.equal(am.queue.added.at(-1)!.kind, 'delete')
  })

  it('Shutdown in v2 is that of v3: afterwards nothing may be created or deleted', async () => {
    const am = await aggregate2()
    ok(await am.create())
    assert.equal(ok(await am.on2('Shutdown', {})), true)
    refused(await am.on2('DeleteSliver', {}), 11, /was shut down/)
    refused(await am.create(['c']), 11, /was shut down/)
    refused(await am.on2('RenewSliver', rfc3339(am.time.at + day), {}), 11, /was shut down/)
  })
})
