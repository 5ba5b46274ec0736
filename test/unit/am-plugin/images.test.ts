// CreateImage, ListImages and DeleteImage as the AM answers them, and requests that name what they have made.
import assert from 'node:assert/strict'
import type { DiskImage } from '../../../slices/disk-image.js'
import type { Struct } from '../../../am-plugin/xmlrpc/value.js'
import { aggregate, ok, refused, rspecVersion } from './aggregate.js'

const alice = 'urn:publicid:IDN+lab.example+user+alice'
const bob = 'urn:publicid:IDN+lab.example+user+bob'
const urn = (name: string) => `urn:publicid:IDN+lab.example+image+${name}`
const imageOf = (name: string, more: Partial<DiskImage> = {}): DiskImage => ({
  format: 1, id: `i-${name}`, name, owner: alice, global: false, state: 'ready', why: '', guest: 'bank', diskMiB: 128, bytes: 3e9, digest: 'd',
  created: '2026-01-01T00:00:00Z', sliver: 'urn:a', ...more,
})
const request = (disk: string, size = '') => '<rspec type="request" xmlns="http://www.geni.net/resources/rspec/3" xmlns:violin="urn:geni-violin:rspec:ext:checkpoint:1">' +
  `<node client_id="copy"><sliver_type name="default-vm"><disk_image name="${disk}"/>${size}</sliver_type></node></rspec>`

async function withImages(images: DiskImage[] = []) {
  const am = await aggregate()
  const have = async (now: DiskImage[]) => { await am.store.saveHost({ ...(await am.store.hosts())[0]!, diskImages: now }) }
  await have(images)
  const create = async (name: string, sliver: string, options: Struct = {}) =>
    am.call('CreateImage', [am.sliceUrn, name, sliver, am.credentials, options])
  return { ...am, have, create, remove: (name: string, options: Struct = {}) => am.call('DeleteImage', [urn(name), am.credentials, options]) }
}

describe('images of disks', () => {
  it('are begun on one ready node of the slice, at both URLs', async () => {
    const am = await withImages()
    const [a] = (await am.ready(['a', 'b'])).slivers
    assert.deepEqual(ok(await am.create('web', a!.urn, { global: true })), [urn('web')])
    const [begun] = am.queue.added
    assert.deepEqual([begun!.kind, begun!.who, begun!.params.slivers, { ...begun!.params.image, id: '' }], ['create-image', alice, [a!.id], { id: '', name: 'web', global: true }])
    assert.deepEqual((await am.record()).slivers.map((s) => [s.operational, s.resourceStatus.includes('image web')]), [['geni_ready', true], ['geni_ready', false]])
    refused(await am.create('other', a!.urn), 14, /busy with create-image/)
    await am.settle()
    ok(await am.call('CreateImage', [am.sliceUrn, 'two', a!.urn, am.credentials, { global: '0' }], { path: '/am/2.0' }))
    assert.equal(am.queue.added[1]!.params.image!.global, false)
  })

  it('are refused with the reason, and nothing has changed', async () => {
    const am = await withImages([imageOf('web'), imageOf('theirs', { owner: bob }), imageOf('broken', { owner: bob, state: 'failed', why: 'x' })])
    const [a] = (await am.ready(['a', 'b'])).slivers
    const before = await am.record()
    for (const name of ['', 'a b', '../x', 'a'.repeat(65), '.hidden']) refused(await am.create(name, a!.urn), 1, /imagename ".*" must be/)
    for (const name of ['WEB', 'theirs', 'broken', 'Bank']) refused(await am.create(name, a!.urn), 17, new RegExp(`an image of the name ${name} already`))
    refused(await am.create('x', am.sliceUrn), 1, /is not the URN of a sliver: an image is made of one node/)
    refused(await am.create('x', `${a!.urn}0`), 12, /there is no sliver/)
    refused(await am.call('CreateImage', [am.sliceUrn, 'x', a!.urn, []]), 1, /no credential/)
    refused(await am.call('CreateImage', [`${am.sliceUrn}2`, 'x', a!.urn, am.credentials]), 3, /./)
    am.parts.quotas = { 'user-images': 1 }
    refused(await am.create('x', a!.urn), 6, /quota user-images: .*alice has 1 image of at most 1/)
    am.parts.quotas = { 'user-images-bytes': 3e9 }
    refused(await am.create('x', a!.urn), 6, /quota user-images-bytes/)
    am.parts.quotas = {}
    assert.deepEqual(await am.record(), before)
    await am.settle('geni_failed')
    refused(await am.create('x', a!.urn), 13, /a is geni_failed, it must be geni_ready or geni_notready or violin_suspended/)
    assert.deepEqual(am.queue.added, [])
  })

  it('of two calls at once for one name, one is made; a failed one is made anew by its owner', async () => {
    const am = await withImages([imageOf('broken', { state: 'failed', why: 'x' })])
    const [a] = (await am.ready(['a', 'b'])).slivers
    const codes = (await Promise.all([am.create('web', a!.urn), am.create('web', a!.urn)])).map((r) => r.code).sort((x, y) => x - y)
    assert.deepEqual(codes, [0, 17])
    await am.settle()
    ok(await am.create('broken', a!.urn))
  })

  it('are listed to their owner and nobody else', async () => {
    const am = await withImages([imageOf('web'), imageOf('half', { state: 'making', global: true }), imageOf('theirs', { owner: bob, global: true })])
    const list = ok(await am.call('ListImages', [alice, am.credentials, {}])) as Struct[]
    assert.deepEqual(list.map((i) => [i['urn'], i['url'], i['violin_state'], i['violin_global'], i['violin_bytes']]), [
      [urn('web'), '', 'ready', 0, '3000000000'], [urn('half'), '', 'making', 1, '3000000000'],
    ])
    refused(await am.call('ListImages', [bob, am.credentials, {}]), 3, /only .*bob and operators/)
    refused(await am.call('ListImages', ['bob', am.credentials, {}]), 1, /"bob" is not the URN of a user/)
    refused(await am.call('ListImages', [alice, [], {}]), 1, /no credential/)
    const operators = ok(await am.call('ListImages', [bob, [], {}], { peer: [am.own[0]!] })) as Struct[]
    assert.deepEqual(operators.map((i) => i['urn']), [urn('theirs')])
  })

  it('are deleted by their owner and by operators, and not while an allocated node waits for them', async () => {
    const am = await withImages([
      imageOf('web'), imageOf('theirs', { owner: bob, global: true }), imageOf('secret', { owner: bob }),
      imageOf('shared', { owner: '', global: true, ofOperator: true }),
    ])
    refused(await am.remove('theirs'), 3, /only .*bob and operators/)
    refused(await am.remove('secret'), 12, /there is no image/)
    refused(await am.remove('none'), 12, /there is no image/)
    refused(await am.remove('bank'), 3, /belongs to this aggregate/)
    refused(await am.remove('shared'), 3, /a file in a folder of the operator/)
    refused(await am.call('DeleteImage', [urn('shared'), [], {}], { peer: [am.own[0]!] }), 3, /a file in a folder of the operator/)
    refused(await am.remove('web', { creator_urn: bob }), 12, /of .*bob here/)
    ok(await am.call('Allocate', [am.sliceUrn, am.credentials, request('web'), {}]))
    refused(await am.remove('WEB'), 7, /is wanted by nodes that are allocated/)
    ok(await am.on('Provision', {}))
    refused(await am.remove('web'), 7, /wanted/)
    assert.deepEqual(am.removed, [])
    await am.settle()
    assert.equal(ok(await am.remove('web', { creator_urn: alice })), true)
    assert.equal(ok(await am.call('DeleteImage', [urn('secret'), [], {}], { peer: [am.own[0]!] })), true)
    assert.deepEqual(am.removed, [['local', 'i-web'], ['local', 'i-secret']])
  })

  it('are what nodes are made of: those that the caller may use, once they are ready', async () => {
    const am = await withImages([
      imageOf('web'), imageOf('theirs', { owner: bob, global: true }), imageOf('secret', { owner: bob }), imageOf('half', { state: 'making' }),
      imageOf('broken', { state: 'failed', why: 'a bad block' }),
    ])
    const allocate = (disk: string, size = '') => am.call('Allocate', [am.sliceUrn, am.credentials, request(disk, size), {}])
    refused(await allocate(urn('secret')), 12, /which is not here; there are: bank, web, theirs/)
    refused(await allocate('half'), 14, /"half" cannot be used: it is still being made/)
    refused(await allocate('broken'), 12, /it could not be made \(a bad block\)/)
    refused(await allocate('web', '<violin:vm disk_mib="127"/>'), 1, /disk_mib="127"; it must be from 128 to/)
    ok(await allocate(urn('Theirs')))
    const [node] = (await am.record()).slivers.map((s) => s.node)
    assert.deepEqual([node!.image, node!.disk, node!.diskMiB], ['bank', 'theirs', 128])
    const advertisement = ok(await am.call('ListResources', [am.credentials, rspecVersion])) as string
    for (const [name, there] of [['bank', true], ['web', true], ['theirs', true], ['secret', false], ['half', false], ['broken', false]] as const) {
      assert.equal(advertisement.includes(`name="${urn(name)}"`), there, name)
    }
  })
})
