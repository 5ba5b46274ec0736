import assert from 'node:assert/strict'
import type { Struct } from '../../../am-plugin/xmlrpc/value.js'
import { encodeResponse } from '../../../am-plugin/xmlrpc/encode.js'
import { aSlice, aSliver } from '../../a-slice.js'
import { rfc3339 } from '../../../base/time.js'
import { aggregate, entry, listOf, ok, refused, rspecVersion } from './aggregate.js'

describe('quotas at the AM', () => {
  it('refuse an Allocate as too big, in a sentence with quota, use and what to do, and change nothing', async () => {
    const am = await aggregate()
    am.parts.quotas = { 'slice-vms': 3 }
    ok(await am.allocate(['a', 'b']))
    const before = await am.record()
    refused(await am.allocate(['c', 'd']), 6, /^quota slice-vms: the slice has 2 VMs of at most 3 VMs, and 2 VMs more are asked for: ask for less, delete slivers/)
    assert.deepEqual(await am.record(), before)
    ok(await am.allocate(['c']))
  })

  it('of a user count all slices of the creator; a refused Allocate leaves no new slice behind', async () => {
    const am = await aggregate()
    ok(await am.allocate(['x']))
    const { creator } = await am.record()
    await am.store.remove(am.sliceUrn, (await am.record()).rev)
    await am.store.create(aSlice('other', { creator }))
    am.parts.quotas = { 'user-vms': 3 }
    refused(await am.allocate(['a', 'b']), 6, /quota user-vms: the slices of .* have 2 VMs of at most 3 VMs/)
    am.parts.quotas = { 'user-memory': 256 + 127 }
    refused(await am.allocate(['a']), 6, /quota user-memory: .* 256 MiB of memory of at most 383 MiB of memory, and 128 MiB/)
    am.parts.quotas = { 'user-slices': 1 }
    refused(await am.allocate(['a']), 6, /quota user-slices/)
    assert.equal(await am.store.slice(am.sliceUrn), undefined)
    am.parts.quotas = { 'user-slices': 2, 'user-vms': 4, 'user-memory': 512 }
    ok(await am.allocate(['a', 'b']))
  })

  it('let one of two Allocates through that come at once and would both fit alone', async () => {
    for (let round = 0; round < 5; round++) {
      const am = await aggregate()
      am.parts.quotas = { 'user-vms': 3 }
      const codes = (await Promise.all([am.allocate(['a', 'b']), am.allocate(['c', 'd'])])).map((answered) => answered.code)
      assert.deepEqual(codes.sort(), [0, 6])
      assert.equal((await am.record()).slivers.length, 2)
    }
  })

  it('are not charged to a later slice of the same name by the user of the earlier one', async () => {
    const am = await aggregate()
    ok(await am.allocate(['x']))
    const { creator, rev, urn } = await am.record()
    await am.store.remove(urn, rev)
    await am.store.create(aSlice('old', { urn, creator: 'urn:publicid:IDN+ch.example+user+bob', slivers: [] }))
    await am.store.create(aSlice('bobs', { creator: 'urn:publicid:IDN+ch.example+user+bob', slivers: [aSliver('q')] }))
    am.parts.quotas = { 'user-vms': 1 }
    ok(await am.allocate(['a']))
    assert.equal((await am.record()).creator, creator)
  })

  it('refuse a snapshot and a suspension at once, and begin nothing', async () => {
    const am = await aggregate()
    const slice = await am.ready()
    await am.store.saveSnapshots(slice.uuid, [entry('s-000000000001', { bytes: 600, members: slice.slivers.map((s) => ({ vm: s.id, clientId: s.clientId, host: s.host, ports: [] })) })])
    am.parts.quotas = { 'slice-snapshots-bytes': 1199 }
    for (const action of ['violin_snapshot', 'violin_suspend']) {
      refused(await am.poa(action), 6, /^quota slice-snapshots-bytes: the snapshots of the slice have 600 bytes of at most 1.1 KiB, .* about 600 bytes: remove some with violin_delete/)
    }
    assert.deepEqual([am.queue.added, (await am.record()).operation], [[], null])
    am.parts.quotas = { 'user-snapshots-bytes': 2000 }
    await am.store.keep({ format: 1, uuid: 'gone', urn: 'urn:gone', owner: slice.creator, until: rfc3339(am.time.at + 1000) })
    await am.store.saveSnapshots('gone', [entry('s-000000000002', { bytes: 801 })])
    refused(await am.poa('violin_snapshot'), 6, /quota user-snapshots-bytes/)
    am.parts.quotas = { 'slice-snapshots-bytes': 1200, 'user-snapshots-bytes': 2001 }
    ok(await am.poa('violin_snapshot'))
  })

  it('are told in GetVersion and in the advertisement', async () => {
    const am = await aggregate()
    am.parts.quotas = { 'slice-vms': 12, 'slice-snapshots-bytes': 5e12, 'user-memory': 4096 }
    const version = await am.call('GetVersion', [])
    encodeResponse(version.whole)
    const value = version.value as Struct
    assert.deepEqual(value['violin_quotas'], { 'slice-vms': '12', 'slice-snapshots-bytes': '5000000000000', 'user-memory': '4096' })
    assert.equal((value['violin_limits'] as Struct)['max_nodes'], 12)
    const ad = ok(await am.call('ListResources', [am.credentials, rspecVersion])) as string
    assert.match(ad, /storage_target [^>]*quota_bytes="5000000000000"/)
    assert.match(ad, /max_nodes="12"/)
    am.parts.quotas = {}
    assert.doesNotMatch(ok(await am.call('ListResources', [am.credentials, rspecVersion])) as string, /quota_bytes/)
    assert.equal(listOf(ok(await am.allocate(['a', 'b']))).length, 2)
  })
})
