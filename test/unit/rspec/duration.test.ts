import assert from 'node:assert/strict'
import fc from 'fast-check'
import { formatDuration, parseDuration } from '../../../rspec/duration.js'

describe('durations', () => {
  it('are read as XML Schema writes them', () => {
    for (const [text, ms] of [['PT10S', 10_000], ['PT15M', 900_000], ['P1DT1H', 90_000_000], ['PT0.5S', 500], ['PT0S', 0]] as const) {
      assert.equal(parseDuration(text), ms)
    }
  })

  it('of no fixed length, negative, empty or misspelt are none', () => {
    for (const text of ['', 'P', 'PT', 'P1M', 'P1Y', '-PT1S', 'PT1', '10', 'pt1s', 'P1DT', 'PT1S1M', 'PT1.S']) {
      assert.equal(parseDuration(text), undefined, text)
    }
  })

  it('are read as they were written', () => {
    fc.assert(fc.property(fc.nat(10 ** 10), (ms) => parseDuration(formatDuration(ms)) === ms))
  })
})
