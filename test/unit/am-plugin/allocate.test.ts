import assert from 'node:assert/strict'
import { rfc3339 } from '../../../base/time.js'
import { parseUrn } from '../../../base/urn.js'
import type { Struct } from '../../../am-plugin/xmlrpc/value.js'
import { encodeResponse } from '../../../am-plugin/xmlrpc/encode.js'
import { field, now, read } from '../certs/field.js'
import { aggregate, listOf, minute, ok, refused, requestOf, rspecVersion } from './aggregate.js'

describe('Allocate', () => {
  it('gives one sliver per node for ten minutes, and their manifest without logins', async () => {
    const am = await aggregate()
    const answered = await am.allocate(['a', 'b'])
    const value = ok(answered) as Struct
    encodeResponse(answered.whole)
    const slivers = listOf(value)
    assert.equal(slivers.length, 2)
    for (const s of slivers) {
      assert.equal(s['geni_allocation_status'], 'geni_allocated')
      assert.equal(s['geni_expires'], rfc3339(now + 10 * minute))
      assert.equal(parseUrn(s['geni_sliver_urn'] as string)!.type, 'sliver')
    }
    assert.match(value['geni_rspec'] as string, /type="manifest"/)
    assert.match(value['geni_rspec'] as string, /client_id="a"/)
    assert.doesNotMatch(value['geni_rspec'] as string, /<login/)
    assert.equal(am.queue.added.length, 0)
    assert.equal((await am.record()).uuid, am.sliceUuid)
  })

  it('takes the end that is asked for, never one later than the credential or in the past', async () => {
    const am = await aggregate()
    const wanted = rfc3339(now + 3 * minute)
    assert.equal(listOf(ok(await am.allocate(['a'], { geni_end_time: wanted })))[0]!['geni_expires'], wanted)
    am.time.at = am.expires - 4 * minute
    assert.equal(listOf(ok(await am.allocate(['b'], { geni_end_time: rfc3339(am.expires + 99 * minute) })))[0]!['geni_expires'], rfc3339(am.expires))
    refused(await am.allocate(['c'], { geni_end_time: '2001-01-01T00:00:00Z' }), 1, /in the past/)
  })

  it('a second one adds to the slice, and shows only what is new', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a', 'b']))
    const value = ok(await am.allocate(['c', 'd'])) as Struct
    assert.equal(listOf(value).length, 2)
    assert.doesNotMatch(value['geni_rspec'] as string, /client_id="a"/)
    const record = await am.record()
    assert.deepEqual(record.slivers.map((s) => s.clientId), ['a', 'b', 'c', 'd'])
    assert.equal(new Set(record.slivers.flatMap((s) => s.nics.map((n) => n.port))).size, 4)
    assert.equal(new Set(record.slivers.map((s) => s.loginPort)).size, 4)
  })

  it('refuses a name that the slice has, and changes nothing', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a', 'b']))
    const before = await am.record()
    refused(await am.allocate(['c', 'b']), 17, /has a node b already/)
    assert.deepEqual(await am.record(), before)
  })

  it('refuses what does not fit, and leaves no slice behind', async () => {
    const am = await aggregate(300)
    refused(await am.allocate(['a', 'b', 'c']), 6, /needs \d+ MiB/)
    assert.equal(await am.store.slice(am.sliceUrn), undefined)
  })

  it('refuses when no host is up', async () => {
    const am = await aggregate()
    await am.store.saveHost({ ...(await am.store.hosts())[0]!, alive: false })
    refused(await am.allocate(['a']), 6, /no host .* is up/)
  })

  it('does not promise the same memory twice, not even to two calls at once', async () => {
    const am = await aggregate(2 * (128 + 96))
    const codes = (await Promise.all([am.allocate(['a', 'b']), am.allocate(['c', 'd'])])).map((a) => a.code)
    assert.deepEqual(codes.sort(), [0, 6])
  })

  it('counts the memory of slivers that are being provisioned, which their host does not know of yet', async () => {
    const am = await aggregate(3 * (128 + 96))
    ok(await am.allocate(['a', 'b']))
    ok(await am.on('Provision', {}))
    refused(await am.allocate(['c', 'd']), 6, /needs \d+ MiB/)
  })

  it('carries no request along of which nothing is left', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a']))
    ok(await am.on('Delete', {}))
    ok(await am.allocate(['b']))
    const { allocations, slivers } = await am.record()
    assert.deepEqual(allocations.map((a) => a.requestXml === ''), [true, false])
    assert.deepEqual(slivers.map((s) => s.allocationIndex), [1])
  })

  it('refuses a malformed RSpec, an unknown image and a wrong slice with one sentence each, and changes nothing', async () => {
    const am = await aggregate()
    const { other } = await field()
    const image = '<disk_image name="urn:publicid:IDN+lab.example+image+nothing"/>'
    const cases: [unknown, number, RegExp][] = [
      ['<rspec', 1, /./], ['', 1, /./], [3, 1, /rspec must be a string/],
      [requestOf(['a']).replace('<node client_id="a"/>', `<node client_id="a"><sliver_type name="default-vm">${image}</sliver_type></node>`), 12, /nothing/],
    ]
    for (const [rspec, code, sentence] of cases) refused(await am.call('Allocate', [am.sliceUrn, am.credentials, rspec as string, {}]), code, sentence)
    refused(await am.call('Allocate', [other.urn, am.credentials, requestOf(['a']), {}]), 3, /not for .*exp2/)
    refused(await am.call('Allocate', ['exp1', am.credentials, requestOf(['a']), {}]), 1, /not the URN of a slice/)
    assert.deepEqual(await am.store.slices(), [])
  })

  it('keeps the checkpoint policy of the request', async () => {
    const am = await aggregate()
    const policy = '<violin:rspec_checkpoint interval="PT10S"><violin:retention keep="3"/></violin:rspec_checkpoint>'
    const value = ok(await am.call('Allocate', [am.sliceUrn, am.credentials, requestOf(['a', 'b'], policy), {}])) as Struct
    assert.deepEqual((await am.record()).policy, { intervalMs: 10_000, keep: 3 })
    assert.match(value['geni_rspec'] as string, /rspec_checkpoint/)
  })
})

describe('names of slices that are used again', () => {
  it('the credential of the later slice gives no right to the VMs of the earlier one', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a']))
    await am.store.update(am.sliceUrn, (r) => ({ ...r, uuid: '00000000-0000-4000-8000-000000000000' }))
    for (const method of ['Status', 'Describe', 'Provision', 'Delete']) refused(await am.on(method, rspecVersion), 3, /another slice of the name/)
    refused(await am.poa('geni_start'), 3, /another slice/)
    refused(await am.on('Renew', rfc3339(now + minute), {}), 3, /another slice/)
    refused(await am.call('Shutdown', [am.sliceUrn, am.credentials, {}]), 3, /another slice/)
    refused(await am.allocate(['b']), 3, /another slice/)
  })

  it('the later slice begins anew once nothing of the earlier one is left', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a']))
    await am.store.update(am.sliceUrn, (r) => ({ ...r, uuid: '00000000-0000-4000-8000-000000000000', slivers: [], run: 'old', head: 's-old' }))
    ok(await am.allocate(['a']))
    const record = await am.record()
    assert.deepEqual([record.uuid, record.run, record.head, record.slivers.length], [am.sliceUuid, '', '', 1])
  })
})

describe('Describe', () => {
  it('of a slice without slivers is a valid empty manifest', async () => {
    const am = await aggregate()
    const value = ok(await am.on('Describe', rspecVersion)) as Struct
    assert.deepEqual([value['geni_slivers'], value['geni_urn']], [[], am.sliceUrn])
    assert.match(value['geni_rspec'] as string, /type="manifest"/)
  })

  it('by sliver shows exactly those; an unknown one, or one of another type, is an error', async () => {
    const am = await aggregate()
    const [a] = listOf(ok(await am.allocate(['a', 'b'])))
    const urn = a!['geni_sliver_urn'] as string
    const value = ok(await am.call('Describe', [[urn], am.credentials, rspecVersion])) as Struct
    assert.deepEqual(listOf(value).map((s) => s['geni_sliver_urn']), [urn])
    assert.doesNotMatch(value['geni_rspec'] as string, /client_id="b"/)
    const made = (type: string, name: string) => `urn:publicid:IDN+lab.example+${type}+${name}`
    refused(await am.call('Describe', [[made('sliver', 'v-0')], am.credentials, rspecVersion]), 12, /no sliver/)
    refused(await am.call('Describe', [[urn, made('sliver', 'v-0')], am.credentials, rspecVersion]), 12, /no sliver/)
    refused(await am.call('Describe', [[made('node', 'local')], am.credentials, rspecVersion]), 1, /neither/)
    refused(await am.call('Describe', [[am.sliceUrn, urn], am.credentials, rspecVersion]), 1, /neither/)
  })

  it('needs a credential of the slice, not just any', async () => {
    const am = await aggregate()
    const { alice } = await field()
    refused(await am.call('Describe', [[am.sliceUrn], [read(alice.credential)], rspecVersion]), 3, /not for .*exp1/)
  })
})
