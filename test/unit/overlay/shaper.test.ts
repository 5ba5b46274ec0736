import assert from 'node:assert/strict'
import fc from 'fast-check'
import { seededFractions } from '../../../base/random.js'
import { Shaper, type Shape } from '../../../overlay/shaper.js'

const never = () => 1
const shapes: fc.Arbitrary<Shape> = fc.record({
  capacityKbps: fc.option(fc.integer({ min: 8, max: 1_000_000 }), { nil: undefined }),
  latencyMs: fc.option(fc.integer({ min: 0, max: 2_000 }), { nil: undefined }),
  loss: fc.option(fc.constantFrom(0, 0.02, 0.5), { nil: undefined }),
}).map(({ capacityKbps, latencyMs, loss }) => ({
  ...capacityKbps !== undefined && { capacityKbps }, ...latencyMs !== undefined && { latencyMs }, ...loss !== undefined && { loss },
}))
const frames = fc.array(fc.record({ after: fc.integer({ min: 0, max: 40 }), bytes: fc.integer({ min: 60, max: 9_000 }) }), { maxLength: 120 })

/** Offers all frames at their times, looks once in `every` ms, and tells what came out when. */
function run(shape: Shape, offers: { after: number; bytes: number }[], every: number, seed = 's') {
  const shaper = new Shaper<number>(shape, seededFractions(seed))
  const out: { n: number; at: number; due: number }[] = []
  const dropped: string[] = []
  const sentAt: number[] = []
  const kept: number[] = []
  let now = 0
  const look = () => out.push(...shaper.arrived(now).map(({ item, due }) => ({ n: item, at: now, due })))
  offers.forEach(({ after, bytes }, n) => {
    for (const until = now + after; now < until; now++) if (now % every === 0) look()
    sentAt.push(now)
    const drop = shaper.offer(n, bytes, now)
    if (drop) dropped.push(drop)
    else kept.push(n)
  })
  for (let bound = 0; shaper.nextDue() !== undefined; bound++) {
    assert.ok(bound < 1_000_000, 'it does not end')
    now = Math.max(now, Math.ceil(shaper.nextDue()!))
    look()
  }
  return { out, dropped, sentAt, kept }
}

describe('the shape of a link', () => {
  it('keeps order, loses nothing that it let in, and lets nothing arrive early', () => {
    fc.assert(fc.property(shapes, frames, fc.integer({ min: 1, max: 30 }), (shape, offers, every) => {
      const { out, dropped, sentAt, kept } = run(shape, offers, every)
      assert.deepEqual(out.map((o) => o.n), kept)
      assert.equal(out.length + dropped.length, offers.length)
      for (const { n, at, due } of out) {
        const onTheLink = shape.capacityKbps === undefined ? 0 : offers[n]!.bytes * 8 / shape.capacityKbps
        assert.ok(due - sentAt[n]! >= onTheLink + (shape.latencyMs ?? 0) - 1e-6 && at >= due, `frame ${n} came early`)
      }
    }))
  })

  it('lets through no more than its capacity, over any stretch, however late it is looked at', () => {
    fc.assert(fc.property(fc.integer({ min: 8, max: 100_000 }), frames, (capacityKbps, offers) => {
      const { out } = run({ capacityKbps }, offers, 7)
      for (let i = 0; i < out.length; i++) {
        let bytes = 0
        for (let j = i + 1; j < out.length; j++) {
          bytes += offers[out[j]!.n]!.bytes
          assert.ok(bytes * 8 / capacityKbps <= out[j]!.due - out[i]!.due + 1e-6)
        }
      }
    }))
  })

  it('lets through all of its capacity while there is more than that to send', () => {
    const shaper = new Shaper<number>({ capacityKbps: 10_000, latencyMs: 20 }, never)
    let arrived = 0
    for (let ms = 0; ms < 10_000; ms++) { // 24 Mbit/s are offered
      for (let i = 0; i < 2; i++) shaper.offer(0, 1_500, ms)
      arrived += shaper.arrived(ms).length * 1_500 * 8
    }
    assert.ok(Math.abs(arrived / 10_000 - 10_000) < 50, `${arrived / 10_000} kbit/s`)
  })

  it('drops at its tail what would wait too long, by name, and what is in flight beyond a bound', () => {
    const slow = new Shaper<number>({ capacityKbps: 1_000 }, never) // 125 bytes a ms: 16 KiB are let wait
    const fates = Array.from({ length: 20 }, (_, n) => slow.offer(n, 1_000, 0))
    assert.deepEqual([fates.indexOf('rateTail'), fates.filter((f) => f === undefined).length], [16, 16])
    assert.equal(slow.offer(20, 1_000, 500), undefined, 'there is room again')
    const long = new Shaper<number>({ latencyMs: 1_000 }, never)
    let kept = 0
    while (long.offer(kept, 60_000, 0) === undefined) assert.ok(++kept < 1_000, 'it is not bounded')
    assert.equal(long.offer(0, 60_000, 0), 'delayTail')
    assert.ok(kept > 300)
    long.arrived(1_000)
    assert.equal(long.offer(0, 60_000, 1_000), undefined)
  })

  it('always takes one frame, however large, where nothing waits', () => {
    assert.equal(new Shaper<number>({ capacityKbps: 8 }, never).offer(0, 69_632, 0), undefined)
  })

  it('loses its part, the same one for the same seed', () => {
    const lost = (seed: string) => run({ loss: 0.02 }, Array.from({ length: 50_000 }, () => ({ after: 0, bytes: 60 })), 1, seed).dropped.length
    assert.ok(Math.abs(lost('a') / 50_000 - 0.02) < 0.002, `${lost('a')} of 50000`)
    assert.equal(lost('a'), lost('a'))
    const hundred = Array.from({ length: 100 }, () => ({ after: 0, bytes: 60 }))
    assert.notDeepEqual(run({ loss: 0.5 }, hundred, 1, 'a').kept, run({ loss: 0.5 }, hundred, 1, 'b').kept)
    assert.equal(run({ loss: 1 }, hundred, 1).kept.length, 0)
  })

  it('is no limit where nothing is asked', () => {
    const shaper = new Shaper<number>({}, never)
    for (let n = 0; n < 1_000; n++) assert.equal(shaper.offer(n, 1_500, 5), undefined)
    assert.equal(shaper.arrived(5).length, 1_000)
  })
})
