import assert from 'node:assert/strict'
import type { Struct, Value } from '../../../am-plugin/xmlrpc/value.js'
import { encodeResponse } from '../../../am-plugin/xmlrpc/encode.js'
import { aggregate, entry, listOf, ok, refused, requestOf, states } from './aggregate.js'

describe('geni_start, geni_stop, geni_restart', () => {
  it('start is waited through a provision that is still under way, then configures and queues', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a', 'b']))
    ok(await am.on('Provision', {}))
    am.time.whileAsleep = () => am.settle()
    assert.deepEqual(states(ok(await am.poa('geni_start'))), ['geni_configuring', 'geni_configuring'])
    assert.deepEqual(am.queue.added.map((o) => o.kind), ['provision', 'start'])
  })

  it('start says busy when the provision does not end', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a']))
    ok(await am.on('Provision', {}))
    refused(await am.poa('geni_start'), 14, /busy with provision/)
  })

  it('start is harmless where a VM is booting or up', async () => {
    const am = await aggregate()
    await am.ready(['a', 'b'])
    for (const state of ['geni_ready', 'geni_configuring'] as const) {
      await am.settle(state)
      assert.deepEqual(states(ok(await am.poa('geni_start'))), [state, state])
    }
    assert.equal(am.queue.added.length, 0)
  })

  it('straight after one another each gives success or "unsupported"', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    await am.settle('geni_notready')
    ok(await am.poa('geni_start'))
    refused(await am.poa('geni_restart'), 13, /geni_configuring/)
    refused(await am.poa('geni_stop'), 13, /geni_configuring/)
  })

  it('work on single slivers and leave the others alone', async () => {
    const am = await aggregate()
    const { slivers } = await am.ready(['a', 'b'])
    assert.deepEqual(states(ok(await am.poa('geni_stop', {}, [slivers[1]!.urn]))), ['geni_stopping'])
    assert.deepEqual((await am.record()).slivers.map((s) => s.operational), ['geni_ready', 'geni_stopping'])
    assert.deepEqual(am.queue.added[0]!.params.slivers, [slivers[1]!.id])
  })

  it('an unknown action or a wrong state is unsupported: the state is named, and what is possible', async () => {
    const am = await aggregate()
    refused(await am.poa('geni_start'), 12, /no slivers/)
    ok(await am.allocate(['a']))
    refused(await am.poa('geni_start'), 13, /geni_pending_allocation.*now possible: Provision or Delete/)
    await am.on('Provision', {})
    await am.settle()
    refused(await am.poa('violin_snapshot'), 13, /a is geni_notready, it must be geni_ready; now possible: geni_start/)
    for (const action of ['explode', 'constructor', '__proto__', '']) refused(await am.poa(action), 13, /there is no action.*violin_rollback/)
  })
})

describe('violin_snapshot', () => {
  it('shows a wait state and the URN of the snapshot, and queues it with name and id', async () => {
    const am = await aggregate()
    await am.ready()
    const value = ok(await am.poa('violin_snapshot', { violin_name: 'before' }))
    assert.deepEqual(states(value), ['violin_snapshotting', 'violin_snapshotting'])
    const [operation] = am.queue.added
    assert.match(operation!.params.snapshot!, /^s-[0-9a-f]{12}$/)
    assert.deepEqual([operation!.kind, operation!.params.name], ['snapshot', 'before'])
    for (const s of listOf(value)) assert.equal(s['violin_snapshot'], `urn:publicid:IDN+lab.example+snapshot+${operation!.params.snapshot!}`)
  })

  it('while an operation holds the slice a second one is busy, with the name of the first', async () => {
    const am = await aggregate()
    await am.ready()
    ok(await am.poa('violin_suspend'))
    for (const action of ['violin_snapshot', 'violin_rollback', 'violin_resume']) refused(await am.poa(action), 14, /busy with suspend/)
  })

  it('never waits for a snapshot of the policy', async () => {
    const am = await aggregate()
    await am.ready()
    await am.store.update(am.sliceUrn, (r) => ({ ...r, operation: { id: 'snapshot-1', kind: 'snapshot', since: 'now', byPolicy: true } }))
    ok(await am.poa('violin_snapshot'))
  })

  it('is for the whole slice: some of its slivers, even one named twice, are not enough', async () => {
    const am = await aggregate()
    const { slivers } = await am.ready()
    const [a, b] = slivers.map((s) => s.urn) as [string, string]
    for (const urns of [[a], [a, a], [b, b.toUpperCase().replace('URN:PUBLICID:IDN', 'urn:publicid:IDN').replace('+SLIVER+', '+sliver+')]]) {
      refused(await am.poa('violin_snapshot', {}, urns), 13, /whole slices/)
    }
    ok(await am.poa('violin_snapshot', {}, [b, a]))
  })

  it('by slice passes over slivers that are only allocated', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.allocate(['b']))
    assert.deepEqual(states(ok(await am.poa('violin_snapshot'))), ['violin_snapshotting'])
  })

  it('refuses a name that the slice has, that is no name, or that could be taken for an id', async () => {
    const am = await aggregate()
    await am.ready()
    await am.store.saveSnapshots(am.sliceUuid, [entry('s-1', { name: 'first' })])
    refused(await am.poa('violin_snapshot', { violin_name: 'first' }), 17, /named first already/)
    for (const name of ['../x', 'a b', '-x', 'x'.repeat(65), 's-0123456789ab']) refused(await am.poa('violin_snapshot', { violin_name: name }), 1, /violin_name/)
    refused(await am.poa('violin_snapshot', { violin_name: 7 }), 1, /must be a string/)
    assert.equal(am.queue.added.length, 0)
  })
})

describe('violin_note', () => {
  it('goes with the operation of a snapshot and of a suspension, in any language', async () => {
    for (const action of ['violin_snapshot', 'violin_suspend']) {
      const am = await aggregate()
      await am.ready()
      const note = 'vor dem Umbau: größer\n\t2 \u{1f600}'
      ok(await am.poa(action, { violin_note: note }))
      assert.equal(am.queue.added[0]!.params.note, note)
    }
  })

  it('is told by violin_list; a snapshot without one has an empty one', async () => {
    const am = await aggregate()
    await am.ready()
    await am.store.saveSnapshots(am.sliceUuid, [entry('s-1', { note: 'größer' }), entry('s-2')])
    const answered = await am.poa('violin_list')
    encodeResponse(answered.whole)
    assert.deepEqual((listOf(ok(answered))[0]!['violin_snapshots'] as Struct[]).map((s) => s['note']), ['größer', ''])
  })

  it('is refused when it is too long or holds control characters, and nothing is changed', async () => {
    const am = await aggregate()
    await am.ready()
    for (const [note, why] of [
      ['x'.repeat(501), /has 501 characters: at most 500/], ['a\u001b[2J', /control character U\+001B: of those only newline and tab/],
      ['a\rb', /U\+000D/], ['\u009b', /U\+009B/], ['\ufffe', /U\+FFFE/], ['\ud800', /U\+D800/], [7, /violin_note must be a string/],
    ] as const) refused(await am.poa('violin_snapshot', { violin_note: note }), 1, why)
    assert.equal(am.queue.added.length, 0)
    ok(await am.poa('violin_snapshot', { violin_note: '\u{1f600}'.repeat(500) }))
  })
})

describe('violin_snapshot_first', () => {
  const two = async () => {
    const am = await aggregate()
    await am.ready()
    await am.store.saveSnapshots(am.sliceUuid, [entry('s-1', { name: 'first' }), entry('s-2')])
    return am
  }

  it('is one operation: a rollback to what is the latest now, with a snapshot that has an id and, if they are given, name and note', async () => {
    const am = await two()
    const [a] = listOf(ok(await am.poa('violin_rollback', { violin_snapshot_first: true, violin_name: 'kept', violin_note: 'why' })))
    assert.equal(am.queue.added.length, 1)
    const { kind, params: { snapshot, first } } = am.queue.added[0]!
    assert.deepEqual([kind, snapshot, first!.name, first!.note], ['rollback', 's-2', 'kept', 'why'])
    assert.match(first!.snapshot, /^s-[0-9a-f]{12}$/)
    assert.deepEqual([a!['violin_snapshot'], a!['violin_snapshot_first']], [entry('s-2').urn, `urn:publicid:IDN+lab.example+snapshot+${first!.snapshot}`])
    assert.equal(a!['geni_operational_status'], 'violin_rolling_back')
    const plain = await two()
    ok(await plain.poa('violin_rollback', { violin_snapshot: 'first', violin_snapshot_first: '1' }))
    assert.deepEqual(Object.keys(plain.queue.added[0]!.params.first!), ['snapshot'])
  })

  it('is refused at once where the slice cannot be snapshotted, and the rollback alone is not', async () => {
    for (const state of ['geni_failed', 'violin_suspended', 'geni_notready'] as const) {
      const am = await two()
      await am.store.update(am.sliceUrn, (r) => { r.slivers[1]!.operational = state; return r })
      const before = await am.record()
      refused(await am.poa('violin_rollback', { violin_snapshot_first: true }), 13, new RegExp(`b is ${state}, only a slice whose nodes are all geni_ready.*without it is possible`))
      assert.deepEqual([await am.record(), am.queue.added], [before, []])
      ok(await am.poa('violin_rollback'))
    }
  })

  it('is refused too when a VM dies between the look and the lock', async () => {
    const am = await two()
    const update = am.store.update.bind(am.store)
    am.store.update = (urn, change, alongside) => update(urn, (r) => { r.slivers[0]!.operational = 'geni_failed'; return change(r) }, alongside)
    refused(await am.poa('violin_rollback', { violin_snapshot_first: true }), 13, /a is geni_failed/)
    assert.equal((await am.record()).operation, null)
  })

  it('is what a name or a note of a rollback is for: without it they are refused', async () => {
    const am = await two()
    refused(await am.poa('violin_rollback', { violin_note: 'why' }), 1, /violin_note is for the snapshot that violin_snapshot_first takes/)
    refused(await am.poa('violin_rollback', { violin_name: 'x' }), 1, /violin_name is for/)
    refused(await am.poa('violin_rollback', { violin_snapshot_first: true, violin_name: 'first' }), 17, /named first already/)
    refused(await am.poa('violin_rollback', { violin_snapshot_first: 'perhaps' }), 1, /violin_snapshot_first must be a boolean/)
    assert.equal(am.queue.added.length, 0)
  })
})

describe('Status with violin_operation', () => {
  it('tells what has become of the operation that an action has begun, also when another has begun since', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    const id = listOf(ok(await am.poa('violin_snapshot')))[0]!['violin_operation'] as string
    const told = async () => ((await am.on('Status', { violin_operation: id })).value as Struct)['violin_operation'] as Struct | undefined
    assert.deepEqual([(await told())!['state'], (await told())!['ended']], ['queued', ''])
    await am.settle('geni_ready')
    ok(await am.poa('violin_snapshot'))
    assert.deepEqual([(await told())!['kind'], (await told())!['state'], (await told())!['error']], ['snapshot', 'done', ''])
  })

  it('tells nothing of what is no operation, or of another slice', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.poa('violin_snapshot'))
    const operation = (await am.store.operation((await am.record()).operation!.id))!
    await am.store.saveOperation({ ...operation, id: 'snapshot-2', slice: `${am.sliceUrn}x` })
    for (const id of ['snapshot-2', 'nothing']) {
      assert.equal((ok(await am.on('Status', { violin_operation: id })) as Struct)['violin_operation'], undefined)
    }
  })
})

describe('violin_rollback, violin_resume, violin_delete', () => {
  it('rollback takes the latest snapshot, or one by id, URN or name', async () => {
    for (const [wanted, id] of [[undefined, 's-2'], ['s-1', 's-1'], ['first', 's-1'], ['urn:publicid:IDN+lab.example+snapshot+s-1', 's-1']] as const) {
      const am = await aggregate()
      await am.ready()
      await am.store.saveSnapshots(am.sliceUuid, [entry('s-1', { name: 'first' }), entry('s-2')])
      const value = ok(await am.poa('violin_rollback', wanted === undefined ? {} : { violin_snapshot: wanted }))
      assert.deepEqual(states(value), ['violin_rolling_back', 'violin_rolling_back'])
      assert.equal(listOf(value)[0]!['violin_snapshot'], entry(id).urn)
      assert.equal(am.queue.added[0]!.params.snapshot, id)
    }
  })

  it('without any snapshot, or to an unknown one, nothing is changed and the sentence says what to do', async () => {
    const am = await aggregate()
    await am.ready()
    const before = await am.record()
    refused(await am.poa('violin_rollback'), 12, /^the slice has no snapshot yet: take one with violin_snapshot$/)
    await am.store.saveSnapshots(am.sliceUuid, [entry('s-1', { name: 'first' })])
    refused(await am.poa('violin_rollback', { violin_snapshot: 'frist' }), 12, /"frist": it has first \(s-1\)/)
    assert.deepEqual([await am.record(), am.queue.added], [before, []])
  })

  it('rollback is possible from a failed VM, resume only from a suspended slice', async () => {
    const am = await aggregate()
    await am.ready()
    await am.store.saveSnapshots(am.sliceUuid, [entry('s-1', { kind: 'suspend' })])
    refused(await am.poa('violin_resume'), 13, /geni_ready, it must be violin_suspended/)
    await am.settle('violin_suspended')
    refused(await am.poa('violin_snapshot'), 13, /violin_suspended/)
    await am.store.update(am.sliceUrn, (r) => ({ ...r, head: 's-1' }))
    refused(await am.poa('violin_delete', { violin_snapshot: 's-1' }), 7, /resume it first/)
    assert.deepEqual(states(ok(await am.poa('violin_resume'))), ['violin_resuming', 'violin_resuming'])
    assert.equal(am.queue.added[0]!.params.snapshot, 's-1')
    await am.settle('geni_failed')
    ok(await am.poa('violin_rollback'))
  })

  it('delete must be told which, and leaves the slivers in their states', async () => {
    const am = await aggregate()
    await am.ready()
    await am.store.saveSnapshots(am.sliceUuid, [entry('s-1'), entry('s-2')])
    refused(await am.poa('violin_delete'), 1, /needs the option violin_snapshot/)
    refused(await am.poa('violin_delete', { violin_snapshot: 's-3' }), 12, /it has s-1, s-2/)
    assert.deepEqual(states(ok(await am.poa('violin_delete', { violin_snapshot: 's-1' }))), ['geni_ready', 'geni_ready'])
    assert.deepEqual(am.queue.added.map((o) => [o.kind, o.params.snapshot]), [['delete-snapshot', 's-1']])
  })
})

describe('violin_list', () => {
  it('is sent once, with the first sliver, in types that every XML-RPC client takes', async () => {
    const am = await aggregate()
    await am.ready()
    await am.store.saveSnapshots(am.sliceUuid, [entry('s-1', { name: 'first' }), entry('s-2', { origin: 'policy' })])
    const answered = await am.poa('violin_list')
    const [first, second] = listOf(ok(answered))
    encodeResponse(answered.whole)
    assert.equal(second!['violin_snapshots'], undefined)
    const [one, two] = first!['violin_snapshots'] as Struct[]
    const { id, bytes, pause_ms: pause, skew_ms: skew, longest_hold_ms: hold, frames_recorded: recorded, committed_ms: committed } = one!
    assert.deepEqual({ id, bytes, pause, skew, hold, recorded, committed }, {
      id: 's-1', bytes: '3000000000', pause: { a: '7.5', b: '8' }, skew: '0.25', hold: '9.5', recorded: 4, committed: 813,
    })
    assert.equal(two!['origin'], 'policy')
  })

  it('works while the slice is busy', async () => {
    const am = await aggregate()
    await am.ready()
    ok(await am.poa('violin_snapshot'))
    assert.deepEqual(listOf(ok(await am.poa('violin_list')))[0]!['violin_snapshots'], [])
  })
})

describe('violin_set_policy', () => {
  const policy = (attributes: string) => `<rspec_checkpoint xmlns="urn:geni-violin:rspec:ext:checkpoint:1" ${attributes}/>`
  const told = (value: Value) => listOf(value).map((s) => s['violin_policy'])

  it('changes the policy of a slice that runs, without a job, and tells what holds now', async () => {
    const am = await aggregate()
    await am.ready()
    const whole = '<rspec_checkpoint xmlns="urn:geni-violin:rspec:ext:checkpoint:1" interval="PT5S" on_failure="rollback" retries="9"><retention keep="8"/></rspec_checkpoint>'
    assert.deepEqual(told(ok(await am.poa('violin_set_policy', { violin_policy: `<?xml version="1.0"?>${policy('interval="PT1S" on_failure="rollback" retries="9"')}` }))), [whole, undefined])
    assert.deepEqual((await am.record()).policy, { keep: 8, intervalMs: 5_000, onFailure: 'rollback', retries: 9 })
    assert.deepEqual([states(ok(await am.poa('violin_set_policy'))), told(ok(await am.poa('violin_set_policy')))], [['geni_ready', 'geni_ready'], [whole, undefined]])
    assert.equal(am.queue.added.length, 0)
    ok(await am.poa('violin_set_policy', { violin_policy: whole }))
    assert.equal((await am.record()).policy!.retries, 9)
  })

  it('takes it from a whole request too', async () => {
    const am = await aggregate()
    await am.ready()
    ok(await am.poa('violin_set_policy', { violin_policy: requestOf(['other'], '<violin:rspec_checkpoint max_pause="PT0.5S"/>') }))
    assert.deepEqual((await am.record()).policy, { keep: 8, maxPauseMs: 500 })
  })

  for (const [what, xml, code, message] of [
    ['no XML', '<rspec_checkpoint', 1, /violin_policy is not well-formed XML/],
    ['another element', '<node client_id="a"/>', 1, /violin_policy has no <rspec_checkpoint/],
    ['what we cannot do', policy('on_failure="retry"'), 13, /on_failure="retry"/],
    ['a misspelt attribute', policy('intervall="PT5S"'), 1, /an attribute intervall/],
    ['no number', policy('retries="many"'), 1, /retries="many", which is no count from 0 up/],
  ] as const) {
    it(`refuses ${what}, and changes nothing`, async () => {
      const am = await aggregate()
      await am.ready()
      const before = await am.record()
      refused(await am.poa('violin_set_policy', { violin_policy: xml }), code, message)
      assert.deepEqual(await am.record(), before)
    })
  }
})

describe('geni_update_users', () => {
  const alice = 'urn:publicid:IDN+lab.example+user+alice'
  const geni_users = [{ urn: alice, keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJx alice@lab'] }]

  it('hands the accounts to the job, of all slivers or of one', async () => {
    const am = await aggregate()
    const { slivers } = await am.ready(['a', 'b'])
    assert.deepEqual(states(ok(await am.poa('geni_update_users', { geni_users }))), ['geni_updating_users', 'geni_updating_users'])
    const [operation] = am.queue.added
    assert.deepEqual([operation!.kind, operation!.params.logins?.map((l) => [l.name, l.keys.length])], ['update-users', [['alice', 1]]])
    await am.settle('geni_ready')
    assert.deepEqual(states(ok(await am.poa('geni_update_users', { geni_users: [] }, [slivers[1]!.urn]))), ['geni_updating_users'])
    assert.deepEqual(am.queue.added.at(-1)!.params, { slivers: [slivers[1]!.id], logins: [], was: { [slivers[1]!.id]: 'geni_ready' } })
  })

  it('wants to be told who, and is refused (7) where a VM is not ready', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    refused(await am.poa('geni_update_users'), 1, /needs the option geni_users/)
    refused(await am.poa('geni_update_users', { geni_users: [{ urn: 'alice' }] }), 1, /is not the URN of a user/)
    await am.settle('violin_suspended')
    refused(await am.poa('geni_update_users', { geni_users }), 7, /a is violin_suspended, it must be geni_ready/)
    assert.equal(am.queue.added.length, 0)
  })
})
