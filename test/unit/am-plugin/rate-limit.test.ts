import assert from 'node:assert/strict'
import { parseRate, RateLimit } from '../../../am-plugin/rate-limit.js'
import { realClock } from '../../../base/time.js'

describe('the rate limit', () => {
  function limit(perSecond: number, burst: number) {
    const time = { at: 0 }
    return { time, rate: new RateLimit({ perSecond, burst }, { ...realClock, monotonic: () => time.at }) }
  }

  it('gives a burst, then so many a second, and says how long to wait', () => {
    const { time, rate } = limit(4, 3)
    assert.deepEqual([1, 2, 3, 4].map(() => rate.take('a')), [0, 0, 0, 250])
    time.at = 200
    assert.equal(rate.take('a'), 50)
    time.at = 250
    assert.deepEqual([rate.take('a'), rate.take('a')], [0, 250])
    time.at = 3_600_000
    assert.deepEqual([1, 2, 3, 4].map(() => rate.take('a')), [0, 0, 0, 250])
  })

  it('is each caller\'s own', () => {
    const { rate } = limit(1, 1)
    assert.deepEqual([rate.take('a'), rate.take('a'), rate.take('b')], [0, 1000, 0])
  })

  it('remembers who has asked too much when thousands of others come, and forgets those who have not', () => {
    const { time, rate } = limit(1, 2)
    rate.take('a')
    rate.take('a')
    for (let i = 0; i < 9_999; i++) rate.take(`other ${i}`)
    time.at = 1_000 // their buckets are full again, that of a is not
    rate.take('one more')
    assert.deepEqual([rate.take('a'), rate.take('a')], [0, 1000])
  })

  it('is not there without a rate', () => {
    const rate = new RateLimit(undefined, realClock)
    assert.ok(Array.from({ length: 10_000 }, () => rate.take('a')).every((wait) => wait === 0))
  })

  it('is written as CALLS, CALLS/BURST or none', () => {
    assert.deepEqual(['50', '5/7', 'none'].map(parseRate), [{ perSecond: 50, burst: 500 }, { perSecond: 5, burst: 7 }, 'none'])
    assert.deepEqual(['', '0', '5/0', '-1', '1e3', '5/', 'many', '1.5'].map(parseRate), Array(8).fill(undefined))
  })
})
