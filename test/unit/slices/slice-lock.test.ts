import assert from 'node:assert/strict'
import type { Refusal } from '../../../base/errors.js'
import { realRandom as random } from '../../../base/random.js'
import { beginOperation, endOperation, holds, type NewOperation } from '../../../slices/slice-lock.js'
import { aSlice, noon } from '../../a-slice.js'
import { openMemoryStore } from '../../fakes/memory-store.js'

async function locked() {
  const store = openMemoryStore()
  const clock = { now: () => noon, monotonic: () => 0, sleep: async () => undefined }
  const at = { store, clock, random }
  const slice = aSlice('exp1')
  await store.create(slice)
  const begin = (more: Partial<NewOperation> = {}) =>
    beginOperation(at, slice.urn, { kind: 'snapshot', who: 'alice', why: 'test', callId: 'c', ...more }, () => undefined)
  return { at, store, slice, begin }
}

describe('the lock of a slice', () => {
  it('says which operation holds it and since when', async () => {
    const { begin } = await locked()
    await begin()
    await assert.rejects(begin({ kind: 'rollback' }), (e: Refusal) =>
      e.code === 'busy' && e.message === 'the slice is busy with snapshot since 2026-03-01T12:00:00Z: try again in a few seconds')
  })

  it('gives way to what pre-empts, and a snapshot of the policy to everything', async () => {
    const { begin, store, slice } = await locked()
    const policy = await begin({ who: 'policy' })
    const user = await begin()
    const deleting = await begin({ kind: 'delete', preempts: true })
    const record = (await store.slice(slice.urn))!
    assert.deepEqual([policy, user, deleting].map((o) => holds(record, o.operation)), [false, false, true])
    assert.deepEqual([policy, user, deleting].map((o) => o.operation.token), [1, 2, 3])
  })

  it('is taken with the change of the record, or not at all', async () => {
    const { at, store, slice } = await locked()
    await assert.rejects(beginOperation(at, slice.urn, { kind: 'stop', who: 'a', why: '', callId: 'c' }, (record) => {
      record.slivers = []
      throw new Error('on second thoughts')
    }))
    assert.deepEqual(await store.slice(slice.urn), slice)
    assert.deepEqual(await store.operations(slice.urn, 9), [])
  })

  it('that another has taken is not freed by the end of the earlier operation, whose change of the record is void', async () => {
    const { at, begin, store, slice } = await locked()
    const { operation: late } = await begin()
    await begin({ kind: 'delete', preempts: true })
    await endOperation(at, late, { state: 'failed', error: 'it gave way' }, (record) => { record.head = 'wrong' })
    const record = (await store.slice(slice.urn))!
    assert.deepEqual([record.operation?.kind, record.head], ['delete', ''])
    const { state, error } = (await store.operation(late.id))!
    assert.deepEqual([state, error], ['pre-empted', 'it gave way'])
  })

  it('is freed in the same step in which the operation ends', async () => {
    const { at, begin, store, slice } = await locked()
    const { operation } = await begin()
    const seen: (string | undefined)[] = []
    const update = store.update.bind(store)
    store.update = (urn, change, alongside) => update(urn, change, () => {
      const ended = alongside!()
      seen.push(ended.state)
      return ended
    })
    await endOperation(at, operation, { state: 'done', result: { n: 1 } }, (record) => { record.head = 's-1' })
    assert.deepEqual(seen, ['done'])
    const record = (await store.slice(slice.urn))!
    assert.deepEqual([record.operation, record.head, (await store.operation(operation.id))!.result], [null, 's-1', { n: 1 }])
  })
})
