import assert from 'node:assert/strict'
import { Admission, type AdmissionLimits } from '../../../am-plugin/admission.js'
import { Refusal } from '../../../base/errors.js'

const wide: AdmissionLimits = {
  concurrent: 2, waiting: 4, bufferedBytes: 100, callerConcurrent: 2, callerWaiting: 4, callerBytes: 60,
}

/** Calls that end when they are told to, and the order in which they began. */
function calls(bounds: Partial<AdmissionLimits> = {}) {
  const admission = new Admission({ ...wide, ...bounds })
  const begun: string[] = []
  const ending = new Map<string, () => void>()
  const refused: string[] = []
  const call = (caller: string, name: string) => {
    void admission.run(caller, async () => {
      begun.push(name)
      await new Promise<void>((resolve) => ending.set(name, resolve))
    }).catch((error: unknown) => {
      assert.ok(error instanceof Refusal && error.code === 'busy', String(error))
      refused.push(name)
    })
  }
  const settle = () => new Promise<void>((resolve) => { setImmediate(resolve) })
  const end = async (name: string) => {
    ending.get(name)!()
    await settle()
  }
  return { admission, begun, refused, call, end, settle }
}

describe('admission', () => {
  it('lets callers take turns, whoever has asked for most', async () => {
    const { begun, call, end, settle } = calls({ concurrent: 1, waiting: 9, callerWaiting: 9 })
    for (const name of ['a1', 'a2', 'a3', 'a4', 'b1', 'c1', 'b2']) call(name[0]!, name)
    await settle()
    for (const name of ['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4']) {
      assert.equal(begun.at(-1), name)
      await end(name)
    }
  })

  it('gives one caller no more places than its share, also when others are free', async () => {
    const { begun, call, end, settle } = calls({ concurrent: 3, callerConcurrent: 2 })
    for (const name of ['a1', 'a2', 'a3', 'b1']) call(name[0]!, name)
    await settle()
    assert.deepEqual(begun, ['a1', 'a2', 'b1'])
    await end('b1')
    assert.deepEqual(begun, ['a1', 'a2', 'b1'])
    await end('a1')
    assert.deepEqual(begun, ['a1', 'a2', 'b1', 'a3'])
  })

  it('refuses the newest call of whoever waits with most when the line is full and somebody else comes', async () => {
    const { begun, refused, call, end, settle } = calls({ concurrent: 1 })
    for (const name of ['a0', 'a1', 'a2', 'a3', 'a4']) call('a', name)
    call('b', 'b1')
    await settle()
    assert.deepEqual(refused, ['a4'])
    call('a', 'a5') // has more than anybody
    call('b', 'b2') // one of three against two: nobody gains by it
    await settle()
    assert.deepEqual(refused, ['a4', 'a5', 'a3'])
    for (const name of ['a0', 'a1', 'b1', 'a2', 'b2']) await end(name)
    assert.deepEqual(begun, ['a0', 'a1', 'b1', 'a2', 'b2'])
  })

  it('refuses more in line than one caller may have', async () => {
    const { refused, call, settle } = calls({ concurrent: 1, callerWaiting: 1 })
    for (const name of ['a0', 'a1', 'a2']) call('a', name)
    await settle()
    assert.deepEqual(refused, ['a2'])
  })

  it('hands on the place of a call that failed', async () => {
    const { admission, begun, call, settle } = calls({ concurrent: 1 })
    await assert.rejects(admission.run('a', () => Promise.reject(new Error('bug'))), /bug/)
    call('b', 'b1')
    await settle()
    assert.deepEqual(begun, ['b1'])
  })

  it('counts bytes of one caller and of all, and what is given back is free again', () => {
    const { admission } = calls()
    admission.hold('a', 60)
    assert.throws(() => admission.hold('a', 1), { code: 'busy' })
    admission.hold('b', 40)
    assert.throws(() => admission.hold('c', 1), { code: 'busy' })
    admission.release('a', 60)
    admission.hold('c', 60)
  })
})
