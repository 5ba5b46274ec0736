// geni_best_effort: without it a call is done for all slivers or for none, with it each sliver has its own result.
import assert from 'node:assert/strict'
import { rfc3339 } from '../../../base/time.js'
import type { Struct, Value } from '../../../am-plugin/xmlrpc/value.js'
import { aggregate, listOf, minute, ok, refused } from './aggregate.js'

const best: Struct = { geni_best_effort: true }
const ghost = 'urn:publicid:IDN+lab.example+sliver+v-000000000000'
const errorsOf = (value: Value): unknown[] => listOf(value).map((s) => s['geni_error'])

async function two() {
  const am = await aggregate()
  const urns = (await am.ready(['a', 'b'])).slivers.map((s) => s.urn)
  const of = (method: string, names: string[], ...rest: Value[]) => am.call(method, [names, am.credentials, ...rest])
  return { ...am, urns, of }
}

describe('best effort', () => {
  it('a sliver that never was fails by itself and no longer the call, in every method that takes the option', async () => {
    const am = await two()
    const named = [ghost, am.urns[0]!]
    const until = rfc3339(am.time.at + 60 * minute)
    const calls: [string, Value[]][] = [['Status', []], ['PerformOperationalAction', ['geni_restart']], ['Renew', [until]], ['Delete', []]]
    for (const [method, more] of calls) {
      const before = await am.record()
      refused(await am.of(method, [am.urns[0]!, ghost], ...more, {}), 12, /there is no sliver .*v-000000000000/)
      refused(await am.of(method, named, ...more, {}), 12, /there is no sliver .*v-000000000000 here/)
      assert.deepEqual(await am.record(), before)
      const list = listOf(ok(await am.of(method, named, ...more, best)))
      assert.deepEqual(list.map((s) => s['geni_sliver_urn']), [am.urns[0], ghost], method)
      assert.deepEqual([list[0]!['geni_error'], list[1]!['geni_allocation_status']], ['', 'geni_unallocated'])
      assert.match(list[1]!['geni_error'] as string, /there is no sliver/)
      for (const s of list) for (const member of Object.values(s)) assert.equal(typeof member, 'string')
    }
    assert.deepEqual((await am.record()).slivers.map((s) => s.allocation), ['geni_unallocated', 'geni_provisioned'])
  })

  it('of slivers that all never were is an error: nobody can say whose they are', async () => {
    const am = await two()
    refused(await am.of('Status', [ghost], best), 12, /there is no sliver/)
    refused(await am.of('Delete', [am.urns[0]!.replace('+sliver+', '+node+')], best), 1, /neither the one slice nor a sliver/)
  })

  it('Provision takes those that wait for it, and says of each other why not', async () => {
    const am = await two()
    const fresh = listOf(ok(await am.allocate(['c', 'd']))).map((s) => s['geni_sliver_urn'] as string)
    await am.store.update(am.sliceUrn, (r) => { r.slivers[3]!.expires = rfc3339(am.time.at - 1000); return r })
    refused(await am.of('Provision', [am.urns[0]!, ...fresh], {}), 13, /is provisioned already/)
    refused(await am.of('Provision', fresh, {}), 15, /expired at/)
    assert.equal(am.queue.added.length, 0)
    const value = ok(await am.of('Provision', [am.urns[0]!, ghost, ...fresh], best)) as Struct
    const [c, a, d, g] = listOf(value)
    assert.deepEqual([c!['geni_error'], c!['geni_allocation_status'], c!['geni_sliver_urn']], ['', 'geni_provisioned', fresh[0]])
    assert.match(a!['geni_error'] as string, /is provisioned already/)
    assert.match(d!['geni_error'] as string, /expired at/)
    assert.match(g!['geni_error'] as string, /there is no sliver/)
    assert.match(value['geni_rspec'] as string, /client_id="c"/)
    assert.doesNotMatch(value['geni_rspec'] as string, /client_id="[abd]"/)
    assert.deepEqual(am.queue.added.map((o) => o.params.slivers?.length), [1])
  })

  it('an action begins on the slivers that are in a state for it, and an action nobody knows is refused all the same', async () => {
    const am = await two()
    await am.store.update(am.sliceUrn, (r) => { r.slivers[1]!.operational = 'geni_notready'; return r })
    refused(await am.poa('geni_stop'), 13, /b is geni_notready/)
    assert.equal(am.queue.added.length, 0)
    const list = listOf(ok(await am.poa('geni_stop', best)))
    assert.deepEqual(list.map((s) => s['geni_operational_status']), ['geni_stopping', 'geni_notready'])
    assert.match(list[1]!['geni_error'] as string, /geni_stop is not possible: b is geni_notready/)
    assert.deepEqual(am.queue.added.map((o) => [o.kind, o.params.slivers?.length]), [['stop', 1]])
    refused(await am.poa('random_action', best), 13, /there is no action/)
    refused(await am.poa('', best), 13, /there is no action/)
  })

  it('an action that fits none of them does nothing and says so of each', async () => {
    const am = await two()
    await am.settle('geni_notready')
    assert.deepEqual(errorsOf(ok(await am.poa('geni_restart', best))).map((e) => /geni_restart is not possible/.test(e as string)), [true, true])
    assert.equal(am.queue.added.length, 0)
    assert.equal((await am.record()).operation, null)
  })

  it('actions on whole slices know no best effort', async () => {
    const am = await two()
    await am.store.update(am.sliceUrn, (r) => { r.slivers[1]!.operational = 'geni_failed'; return r })
    refused(await am.poa('violin_snapshot', best), 13, /b is geni_failed/)
  })

  it('Renew says of slivers that have expired that they have, and renews the others', async () => {
    const am = await two()
    await am.store.update(am.sliceUrn, (r) => { r.slivers[1]!.expires = rfc3339(am.time.at - 1000); return r })
    const until = rfc3339(am.time.at + 60 * minute)
    refused(await am.on('Renew', until, {}), 15, /expired at/)
    const [a, b] = listOf(ok(await am.on('Renew', until, best)))
    assert.deepEqual([a!['geni_error'], a!['geni_expires']], ['', until])
    assert.match(b!['geni_error'] as string, /expired at/)
    assert.equal(b!['geni_expires'], rfc3339(am.time.at - 1000))
  })
})
