import assert from 'node:assert/strict'
import { rfc3339 } from '../../../base/time.js'
import type { Struct, Value } from '../../../am-plugin/xmlrpc/value.js'
import { splitPem } from '../../../certs/certificate.js'
import { field, read } from '../certs/field.js'
import { aggregate, listOf, minute, ok, refused, rspecVersion, states } from './aggregate.js'

const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJx alice@lab'
const users: Struct = { geni_users: [{ urn: 'urn:publicid:IDN+lab.example+user+alice', keys: [key] }] }
const day = 24 * 60 * minute

describe('Provision', () => {
  it('answers at once with slivers that can be started and a manifest that says where to log in, and queues the work', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a', 'b']))
    const value = ok(await am.on('Provision', users)) as Struct
    assert.deepEqual(states(value), ['geni_notready', 'geni_notready'])
    assert.deepEqual(listOf(value).map((s) => s['geni_allocation_status']), ['geni_provisioned', 'geni_provisioned'])
    const { loginPort } = (await am.record()).slivers[0]!
    const login = `<login authentication="ssh-keys" hostname="am.lab.example" port="${loginPort}" username="alice"/>`
    assert.ok((value['geni_rspec'] as string).includes(login), value['geni_rspec'] as string)
    const ids = (await am.record()).slivers.map((s) => s.id)
    assert.deepEqual(am.queue.added.map((o) => [o.kind, o.params]), [['provision', { slivers: ids }]])
  })

  it('by slice takes the slivers that wait for it, and has nothing to do when none does', async () => {
    const am = await aggregate()
    refused(await am.on('Provision', {}), 12, /has no slivers here/)
    await am.ready(['a'])
    refused(await am.on('Provision', {}), 12, /no slivers that wait for Provision/)
    ok(await am.allocate(['b']))
    assert.equal(listOf(ok(await am.on('Provision', {}))).length, 1)
  })

  it('refuses an end in the past and slivers that have expired', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a']))
    refused(await am.on('Provision', { geni_end_time: '2001-01-01' }), 1, /in the past/)
    am.time.at += 11 * minute
    refused(await am.on('Provision', {}), 15, /expired at/)
    assert.equal(am.queue.added.length, 0)
  })

  it('never brings back a sliver that was deleted while it ran', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a', 'b']))
    const update = am.store.update.bind(am.store)
    am.store.update = async (urn, change) => { // somebody else is quicker
      am.store.update = update
      await update(urn, (r) => ({ ...r, slivers: r.slivers.slice(1) }))
      return update(urn, change)
    }
    refused(await am.on('Provision', {}), 12, /in the meantime/)
    assert.deepEqual((await am.record()).slivers.map((s) => s.allocation), ['geni_allocated'])
  })

  it('is busy while another operation holds the slice, and names it', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.allocate(['b']))
    ok(await am.poa('violin_snapshot'))
    refused(await am.on('Provision', {}), 14, /busy with snapshot since/)
  })
})

describe('Status', () => {
  it('of a slice without slivers is "search failed"', async () => {
    const am = await aggregate()
    refused(await am.on('Status', {}), 12, /has no slivers here/)
  })

  it('has an error text for every sliver, empty unless that sliver failed, and says what is going on', async () => {
    const am = await aggregate()
    await am.ready(['a', 'b'])
    await am.store.update(am.sliceUrn, (r) => {
      Object.assign(r.slivers[0]!, { operational: 'geni_failed', error: 'its VM was killed', resourceStatus: 'dead' })
      return r
    })
    ok(await am.poa('geni_restart', {}, [(await am.record()).slivers[0]!.urn]))
    const value = ok(await am.on('Status', {})) as Struct
    assert.equal(value['geni_urn'], am.sliceUrn)
    assert.deepEqual(listOf(value).map((s) => s['geni_error']), ['its VM was killed', ''])
    for (const s of listOf(value)) assert.match(s['geni_resource_status'] as string, /restart under way since/)
  })
})

describe('a list of slivers', () => {
  it('that names one twice, in whatever case, has it once in the answer', async () => {
    const am = await aggregate()
    const { slivers } = await am.ready(['a', 'b'])
    const urn = slivers[0]!.urn
    const answered = await am.call('Status', [[urn, urn, urn.replace('lab.example', 'LAB.example')], am.credentials, {}])
    assert.deepEqual(listOf(ok(answered)).map((s) => s['geni_sliver_urn']), [urn])
  })
})

describe('Renew', () => {
  it('moves the end to the very instant that was asked for', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.on('Renew', rfc3339(nowOf(am) + 2 * day).replace('Z', '.5+00:00'), {}))
    assert.equal(listOf(ok(await am.on('Status', {})))[0]!['geni_expires'], rfc3339(nowOf(am) + 2 * day))
  })

  it('never goes beyond the credential: it names the limit, or clips when asked to', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    const beyond = rfc3339(am.expires + day)
    const before = await am.record()
    refused(await am.on('Renew', beyond, {}), 7, new RegExp(rfc3339(am.expires)))
    assert.deepEqual(await am.record(), before)
    assert.equal(listOf(ok(await am.on('Renew', beyond, { geni_extend_alap: true })))[0]!['geni_expires'], rfc3339(am.expires))
  })

  it('with geni_best_effort renews what it can and says which sliver it could not', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.allocate(['b'])) // ten minutes at most
    const [a, b] = listOf(ok(await am.on('Renew', rfc3339(nowOf(am) + day), { geni_best_effort: true })))
    assert.deepEqual([a!['geni_error'], a!['geni_expires']], ['', rfc3339(nowOf(am) + day)])
    assert.match(b!['geni_error'] as string, /cannot be renewed/)
    refused(await am.on('Renew', rfc3339(nowOf(am) + day), {}), 7, /cannot be renewed/)
  })

  it('refuses the past, what is no date, and slivers that have expired', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    refused(await am.on('Renew', '2001-01-01T00:00:00Z', {}), 1, /in the past/)
    refused(await am.on('Renew', 'soon', {}), 1, /not a date/)
    await am.store.update(am.sliceUrn, (r) => { r.slivers[0]!.expires = rfc3339(am.time.at - 1000); return r })
    refused(await am.on('Renew', rfc3339(nowOf(am) + day), {}), 15, /expired/)
  })
})

describe('Delete', () => {
  it('of slivers that are only allocated frees their names before it answers', async () => {
    const am = await aggregate()
    const allocated = listOf(ok(await am.allocate(['a', 'b'])))
    const gone = listOf(ok(await am.on('Delete', {})))
    for (const [i, s] of gone.entries()) {
      assert.equal(s['geni_allocation_status'], 'geni_unallocated')
      assert.equal(s['geni_operational_status'], 'geni_pending_allocation')
      assert.equal(s['geni_expires'], allocated[i]!['geni_expires'])
    }
    assert.equal(am.queue.added.length, 0)
    refused(await am.on('Status', {}), 12, /no slivers/)
    refused(await am.on('Delete', {}), 12, /no slivers/)
    ok(await am.allocate(['a', 'b']))
  })

  it('of VMs is a job that pre-empts whatever is going on, and they are seen no more', async () => {
    const am = await aggregate()
    await am.ready(['a', 'b'])
    ok(await am.poa('violin_snapshot'))
    const held = (await am.record()).token
    ok(await am.on('Delete', {}))
    const operation = am.queue.added.at(-1)!
    assert.deepEqual([operation.kind, operation.token > held], ['delete', true])
    assert.equal((await am.record()).operation?.id, operation.id)
    refused(await am.on('Status', {}), 12, /no slivers/)
    assert.deepEqual(listOf(ok(await am.on('Describe', rspecVersion))), [])
  })

  it('of an allocated sliver leaves the operation on the others alone', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    const [b] = listOf(ok(await am.allocate(['b'])))
    ok(await am.poa('violin_snapshot'))
    const held = (await am.record()).operation
    ok(await am.call('Delete', [[b!['geni_sliver_urn'] as string], am.credentials, {}]))
    const record = await am.record()
    assert.deepEqual([record.operation, record.slivers.map((s) => s.clientId)], [held, ['a']])
  })

  it('of the last sliver of a slice that has run is a job, because the snapshots go with it', async () => {
    const am = await aggregate()
    ok(await am.allocate(['a']))
    await am.store.update(am.sliceUrn, (r) => ({ ...r, run: 'r1' }))
    ok(await am.on('Delete', {}))
    assert.deepEqual(am.queue.added.map((o) => o.kind), ['delete'])
  })

  it('is waited for by the next Allocate of the same names', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.on('Delete', {}))
    am.time.whileAsleep = async () => {
      await am.settle()
      await am.store.remove(am.sliceUrn, (await am.store.slice(am.sliceUrn))!.rev)
    }
    ok(await am.allocate(['a']))
  })

  it('that takes too long makes the next Allocate say busy, not "exists"', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.on('Delete', {}))
    refused(await am.allocate(['a']), 14, /are being deleted/)
  })

  it('can be repeated when its job failed, with the slivers that were left', async () => {
    const am = await aggregate()
    const { slivers } = await am.ready(['a'])
    ok(await am.on('Delete', {}))
    await am.settle() // the job ended without removing them
    ok(await am.on('Delete', {}))
    assert.deepEqual(am.queue.added.map((o) => [o.kind, o.params.slivers]), Array.from({ length: 2 }, () => ['delete', [slivers[0]!.id]]))
  })
})

describe('Shutdown', () => {
  it('pre-empts, and afterwards the slice can be looked at and nothing else', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.poa('violin_snapshot'))
    assert.equal(ok(await am.call('Shutdown', [am.sliceUrn, am.credentials, {}])), true)
    assert.equal(am.queue.added.at(-1)!.kind, 'shutdown')
    ok(await am.on('Status', {}))
    ok(await am.on('Describe', rspecVersion))
    for (const answered of [
      await am.on('Delete', {}), await am.on('Provision', {}), await am.poa('geni_start'), await am.poa('violin_list'),
      await am.on('Renew', rfc3339(nowOf(am) + day), {}), await am.allocate(['b']),
    ]) refused(answered, 11, /was shut down/)
  })

  it('twice is once', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.call('Shutdown', [am.sliceUrn, am.credentials, {}]))
    assert.equal(ok(await am.call('Shutdown', [am.sliceUrn, am.credentials, {}])), true)
    assert.equal(am.queue.added.length, 1)
  })

  it('leaves the slice to the operator, who is known by the aggregate\'s own certificate and needs no credential', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    const operator = (method: string, ...params: Value[]) => am.call(method, params, { peer: am.own })
    assert.equal(ok(await operator('Shutdown', am.sliceUrn, [], {})), true)
    assert.equal(am.queue.added.at(-1)!.who, am.parts.urn)
    await am.settle('geni_notready')
    refused(await am.poa('geni_start'), 11, /was shut down/)
    assert.deepEqual(states(ok(await operator('Status', [am.sliceUrn], [], {}))), ['geni_notready'])
    assert.equal(listOf(ok(await operator('Renew', [am.sliceUrn], [], rfc3339(nowOf(am) + day), {})))[0]!['geni_expires'], rfc3339(nowOf(am) + day))
    assert.deepEqual(states(ok(await operator('PerformOperationalAction', [am.sliceUrn], [], 'geni_start', {}))), ['geni_configuring'])
    await am.settle('geni_ready')
    ok(await operator('Delete', [am.sliceUrn], [], {}))
    assert.deepEqual(am.lines.filter((l) => l['method'] === 'Delete').map((l) => [l['caller'], l['allowed']]), [[am.parts.urn, true]])
    refused(await am.allocate(['b']), 11, /was shut down/)
  })

  it('another certificate of the aggregate\'s authority makes no operator', async () => {
    const am = await aggregate()
    await am.ready(['a'])
    ok(await am.call('Shutdown', [am.sliceUrn, am.credentials, {}]))
    const { federation } = await field()
    const peer = splitPem(read(federation.sa.certificate))
    refused(await am.call('Delete', [[am.sliceUrn], [], {}], { peer }), 1, /no credential was given/)
    refused(await am.call('Delete', [[am.sliceUrn], am.credentials, {}], { peer }), 3, /belongs to/)
  })

  it('is for a slice, not for a sliver of it', async () => {
    const am = await aggregate()
    const { slivers } = await am.ready(['a'])
    refused(await am.call('Shutdown', [slivers[0]!.urn, am.credentials, {}]), 1, /not the URN of a slice/)
    refused(await am.call('Shutdown', [am.sliceUrn.replace('exp1', 'exp2'), am.credentials, {}]), 3, /not for/)
  })
})

const nowOf = (am: { time: { at: number } }): number => am.time.at
