import assert from 'node:assert/strict'
import { encodeResponse } from '../../../am-plugin/xmlrpc/encode.js'
import { decodeResponse } from '../../../am-plugin/xmlrpc/decode.js'
import type { Struct } from '../../../am-plugin/xmlrpc/value.js'
import { rfc3339 } from '../../../base/time.js'
import { mayBegin, type OperationalState } from '../../../slices/sliver.js'
import { aggregate, listOf, ok, refused } from './aggregate.js'

const anyState: OperationalState[] = mayBegin['violin_list']!

describe('violin_events', () => {
  const told = async (am: Awaited<ReturnType<typeof aggregate>>, options: Struct = {}) =>
    listOf(ok(await am.poa('violin_events', options)))[0]!['violin_events'] as Struct[]

  it('tells with the first sliver what the AM has done, oldest first, with operation and user', async () => {
    const am = await aggregate()
    const { creator } = await am.ready()
    const answered = await am.poa('violin_events')
    const [first, second] = listOf(ok(answered))
    encodeResponse(answered.whole)
    assert.equal(second!['violin_events'], undefined)
    const events = first!['violin_events'] as Struct[]
    const [operation] = await am.store.operations(am.sliceUrn, 1)
    assert.deepEqual(events.map((e) => [e['kind'], e['op'], e['who'], e['node']]), [
      ['allocated', '', creator, ''], ['operation-begun', operation!.id, creator, ''], ['operation-done', operation!.id, creator, ''],
    ])
    assert.deepEqual(Object.keys(events[0]!).sort(), ['at', 'kind', 'node', 'op', 'text', 'who'])
    assert.match(events[0]!['at'] as string, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.match(events[0]!['text'] as string, /^a, b allocated until \d{4}-/)
  })

  it('tells a policy that was set, a lease that was renewed, a Delete and a Shutdown', async () => {
    const am = await aggregate()
    await am.ready()
    ok(await am.poa('violin_set_policy', { violin_policy: '<rspec_checkpoint xmlns="urn:geni-violin:rspec:ext:checkpoint:1" interval="PT5S"/>' }))
    ok(await am.poa('violin_set_policy')) // tells only
    ok(await am.on('Renew', rfc3339(am.time.at + 3600_000), {}))
    ok(await am.allocate(['c']))
    const c = (await am.record()).slivers.at(-1)!
    ok(await am.call('Delete', [[c.urn], am.credentials, {}]))
    const events = (await told(am)).slice(3)
    assert.deepEqual(events.map((e) => e['kind']), ['policy-set', 'lease-renewed', 'allocated', 'allocation-dropped'])
    assert.match(events[0]!['text'] as string, /^the checkpoint policy is now <rspec_checkpoint .*interval="PT5S"/)
    assert.match(events[1]!['text'] as string, /^the lease of a, b now ends at /)
    assert.equal(events[3]!['text'], 'c deleted before Provision')
    ok(await am.on('Delete', {}))
    assert.equal((await am.store.events(am.sliceUuid, 1))[0]!.text, 'delete of a, b has begun')
  })

  it('gives as many as are wanted, the newest, and says what a wrong number should be', async () => {
    const am = await aggregate()
    await am.ready()
    for (const one of [1, '1']) assert.deepEqual((await told(am, { violin_count: one })).map((e) => e['kind']), ['operation-done'])
    assert.equal((await told(am, { violin_count: 1000 })).length, 3)
    for (const wrong of [0, -1, 1001, 1.5, '0', 'ten', '1e3', true, [1]]) {
      refused(await am.poa('violin_events', { violin_count: wrong }), 1, /^option violin_count must be a whole number from 1 to 1000$/)
    }
  })

  it('is allowed in every state of a provisioned slice and while it is busy, for the whole slice', async () => {
    const am = await aggregate()
    refused(await am.poa('violin_events'), 12, /no slivers/)
    const { slivers } = await am.ready()
    for (const state of anyState) {
      await am.store.update(am.sliceUrn, (r) => { for (const s of r.slivers) s.operational = state; return r })
      assert.equal((await told(am)).length, 3, state)
    }
    refused(await am.poa('violin_events', {}, [slivers[0]!.urn]), 13, /whole slices/)
  })
})

describe('violin_console', () => {
  it('shows the end of each console that is asked for, in text that XML can carry', async () => {
    const am = await aggregate()
    const { slivers } = await am.ready()
    const [a, b] = slivers.map((s) => s.id) as [string, string]
    am.consoles.texts = { [a]: 'boot\r\n\u001b[1mOK\u001b[0m <&> \u0000\ud800 ü\ufffe', [b]: '' }
    const answered = await am.poa('violin_console')
    assert.deepEqual(listOf(ok(answered)).map((s) => s['violin_console']), ['boot\r\n\ufffd[1mOK\ufffd[0m <&> \ufffd\ufffd ü\ufffd', ''])
    const read = decodeResponse(encodeResponse(answered.whole))
    assert.ok(read.kind === 'value')
    assert.deepEqual(listOf((read.value as Struct)['value']!).map((s) => s['violin_console']), ['boot\r\n\ufffd[1mOK\ufffd[0m <&> \ufffd\ufffd ü\ufffd', ''])
    assert.deepEqual(am.consoles.asked, [{ of: [{ host: 'local', vm: a }, { host: 'local', vm: b }], bytes: 16384 }])
  })

  it('shows one node as well, in every state, and only of those that are provisioned when the slice is named', async () => {
    const am = await aggregate()
    const { slivers } = await am.ready()
    am.consoles.texts = Object.fromEntries(slivers.map((s) => [s.id, s.clientId]))
    for (const state of anyState) {
      await am.store.update(am.sliceUrn, (r) => { for (const s of r.slivers) s.operational = state; return r })
      assert.deepEqual(listOf(ok(await am.poa('violin_console', { violin_bytes: '7' }, [slivers[1]!.urn]))).map((s) => s['violin_console']), ['b'], state)
    }
    ok(await am.allocate(['c']))
    assert.equal(listOf(ok(await am.poa('violin_console'))).length, 2)
    const c = (await am.record()).slivers.at(-1)!
    refused(await am.poa('violin_console', {}, [c.urn]), 13, /c is geni_pending_allocation/)
  })

  it('refuses a number of bytes that is none, too many, or too many for all nodes together', async () => {
    const am = await aggregate()
    await am.ready(Array.from({ length: 9 }, (_, i) => `n${i}`))
    for (const wrong of [0, 1024 * 1024 + 1, 'all', -5]) refused(await am.poa('violin_console', { violin_bytes: wrong }), 1, /violin_bytes must be a whole number from 1 to 1048576/)
    refused(await am.poa('violin_console', { violin_bytes: 1024 * 1024 }), 1, /9 slivers is too much for one answer: ask for fewer slivers, or for 932067 bytes/)
    assert.deepEqual(am.consoles.asked, [])
  })
})
