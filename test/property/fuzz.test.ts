// A short run of the fuzzer (test/fuzz, `npm run fuzz` for the long one), and that its judge can tell.
import assert from 'node:assert/strict'
import { fuzz, inProcess, judge, unchanged, type Tally } from '../fuzz/run.js'
import { encodeLoosely } from '../fuzz/mutate-call.js'
import { makeWorld, secret, type World } from '../fuzz/world.js'

describe('calls that have been changed at random', function () {
  this.timeout(900_000) // a quarter of a minute alone, minutes beside much other work
  let world: World
  before(async () => { world = await makeWorld() })

  it('are changed from calls that are granted to whom they should be, and to nobody else', async () => {
    const all = await unchanged(world)
    assert.deepEqual(all.filter((c) => c.why !== undefined), [])
    const granted = new Set(all.filter((c) => c.code === 0 && c.method !== 'GetVersion').map((c) => c.person.name))
    assert.deepEqual([...granted], ['alice with her own credential', 'dave, to whom alice has delegated', 'a tool that speaks for alice'])
    const missing = ['ListResources', 'Describe', 'Allocate', 'Status', 'Renew', 'Delete', 'Shutdown', 'PerformOperationalAction', 'CreateImage', 'ListImages']
      .filter((method) => !all.some((c) => c.method === method && c.code === 0))
    assert.deepEqual(missing, [])
  })

  it('are judged: what is granted, shown or left unanswered against the rules is seen', async () => {
    const tally = {} as Tally
    const [alice, carol] = ['alice with her own', 'carol'].map((name) => world.people.find((p) => p.name.startsWith(name)))
    const { call, path } = alice!.calls.find((c) => c.call.method === 'Status')!
    const input = { person: alice!, path, body: Buffer.from(encodeLoosely(call)) }
    const outcome = await inProcess(world, input)
    assert.equal(judge(world, input, outcome, tally), undefined)
    assert.match(judge(world, { ...input, person: carol! }, outcome, tally)!, /^granted to carol/)
    assert.match(judge(world, input, { answer: { code: { geni_code: 0 }, value: secret, output: '' } }, tally)!, /slice of somebody else/)
    assert.match(judge(world, input, { answer: { code: { geni_code: 18 }, value: '', output: 'no' } }, tally)!, /breaks clients/)
    assert.match(judge(world, input, { answer: { code: { geni_code: 3 }, value: '', output: '' } }, tally)!, /no reason/)
    assert.match(judge(world, input, { answer: 'x' }, tally)!, /no result struct/)
    assert.match(judge(world, input, { wrong: 'bug' }, tally)!, /bug/)
  })

  it('neither crash nor hang the aggregate, nor get what they should not: 5,000 of them', async () => {
    const { tally, fault } = await fuzz(world, { count: 5_000, seed: 20261125 })
    assert.equal(fault && `input ${fault.index} of seed 20261125, by ${fault.input.person.name}: ${fault.why}`, undefined)
    assert.equal(tally.sent, 5_000)
    assert.ok(tally.granted > 200 && tally.refused > 1_000 && tally.faults > 100 && tally.onTheWire === 625, JSON.stringify(tally))
  })
})
