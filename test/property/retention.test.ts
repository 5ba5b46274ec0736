// Whatever the snapshots and bounds are: what retention takes is never what must stay, and no more than it has to.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { mayGo, outlived, toFree, type Stored } from '../../jobs/retention.js'

const start = Date.parse('2026-03-01T12:00:00Z')
const minute = 60_000
const stored = fc.array(fc.record({
  origin: fc.constantFrom('policy', 'policy', 'policy', 'user', 'suspend'), bytes: fc.integer({ min: 0, max: 100 }), gap: fc.integer({ min: 0, max: 30 }),
}), { maxLength: 12 }).map((all): Stored[] => {
  let at = start
  return all.map(({ origin, bytes, gap }, i) => {
    at += gap * minute
    return { id: `s-${i}`, origin: origin, name: origin === 'user' && i % 2 === 0 ? `n${i}` : '', created: new Date(at).toISOString(), bytes }
  })
})
const bounds = fc.record({
  keep: fc.integer({ min: 1, max: 6 }), maxAgeMs: fc.option(fc.integer({ min: 1, max: 120 * minute }), { nil: undefined }),
  maxBytes: fc.option(fc.integer({ min: 1, max: 400 }), { nil: undefined }), head: fc.integer({ min: -1, max: 12 }), later: fc.integer({ min: 0, max: 200 }),
})
const bytesIn = (all: Stored[]) => all.reduce((sum, e) => sum + e.bytes, 0)

function assertAllowed(entries: Stored[], going: Stored[], head: string): void {
  const newest = entries.filter((e) => e.origin === 'policy').at(-1)
  for (const e of going) {
    assert.equal(e.origin, 'policy')
    assert.equal(e.name, '')
    assert.notEqual(e.id, head)
    assert.notEqual(e, newest)
  }
  assert.equal(new Set(going).size, going.length)
  assert.deepEqual(going, entries.filter((e) => going.includes(e)), 'oldest first')
}

describe('retention', () => {
  it('takes none but old snapshots of the policy, and then all its bounds hold or nothing is left that may go', () => {
    fc.assert(fc.property(stored, bounds, (entries, { head: n, later, ...policy }) => {
      const head = `s-${n}`
      const now = Date.parse(entries.at(-1)?.created ?? new Date(start).toISOString()) + later * minute
      const limits = { keep: policy.keep, ...policy.maxAgeMs !== undefined && { maxAgeMs: policy.maxAgeMs }, ...policy.maxBytes !== undefined && { maxBytes: policy.maxBytes } }
      const going = outlived(entries, limits, head, now)
      assertAllowed(entries, going, head)
      const own = entries.filter((e) => e.origin === 'policy')
      const left = own.filter((e) => !going.includes(e))
      const stuck = left.filter((e) => e.id === head || e === own.at(-1))
      const loose = left.filter((e) => !stuck.includes(e))
      assert.ok(own.slice(0, -policy.keep).every((e) => going.includes(e) || e.id === head), 'keep')
      assert.ok(loose.every((e) => now - Date.parse(e.created) <= (policy.maxAgeMs ?? Infinity)), 'max_age')
      assert.ok(loose.length === 0 || bytesIn(left) <= (policy.maxBytes ?? Infinity), 'max_bytes')
    }), { numRuns: 3000 })
  })

  it('takes nothing that its bounds do not ask for', () => {
    fc.assert(fc.property(stored, bounds, (entries, { head: n, later, keep, maxAgeMs, maxBytes }) => {
      const now = start + 400 * minute + later * minute
      const own = entries.filter((e) => e.origin === 'policy')
      const going = outlived(entries, { keep, ...maxAgeMs !== undefined && { maxAgeMs }, ...maxBytes !== undefined && { maxBytes } }, `s-${n}`, now)
      for (const e of going) {
        const over = !own.slice(-keep).includes(e)
        const old = now - Date.parse(e.created) > (maxAgeMs ?? Infinity)
        const later_ = going.filter((g) => entries.indexOf(g) > entries.indexOf(e))
        const large = bytesIn(own.filter((o) => !going.includes(o))) + e.bytes + bytesIn(later_.filter((g) => own.slice(-keep).includes(g))) > (maxBytes ?? Infinity)
        assert.ok(over || old || large, `${e.id} need not have gone`)
      }
    }), { numRuns: 3000 })
  })

  it('frees as many bytes as it is asked for with the oldest that may go, or takes nothing because it cannot', () => {
    fc.assert(fc.property(stored, fc.integer({ min: -1, max: 12 }), fc.integer({ min: -50, max: 500 }), (entries, n, bytes) => {
      const head = `s-${n}`
      const going = toFree(entries, head, bytes)
      const all = mayGo(entries, head)
      if (!going) return assert.ok(bytesIn(all) < bytes)
      assertAllowed(entries, going, head)
      assert.ok(bytesIn(going) >= bytes)
      assert.deepEqual(going, all.slice(0, going.length))
      assert.ok(going.length === 0 || bytesIn(going.slice(0, -1)) < bytes, 'one too many')
    }), { numRuns: 3000 })
  })
})
