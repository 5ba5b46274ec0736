import assert from 'node:assert/strict'
import fc from 'fast-check'
import { addTo, emptyTally, equal, sum, takeFrom, type Tally } from '../../../overlay/tally.js'

const seqs = fc.tuple(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 2 ** 48 - 1 }))
const many = fc.array(seqs, { minLength: 1, maxLength: 30 })

function tallyOf(frames: [number, number][]): Tally {
  const tally = emptyTally()
  for (const [source, seq] of frames) addTo(tally, source, seq)
  return tally
}

describe('tallies', () => {
  it('do not depend on the order of frames', () => {
    fc.assert(fc.property(many.chain((f) => fc.tuple(fc.constant(f), fc.shuffledSubarray(f, { minLength: f.length }))), ([frames, shuffled]) => {
      assert.deepEqual(tallyOf(shuffled), tallyOf(frames))
    }))
  })

  it('add up over any split, and forget a frame that is taken back', () => {
    fc.assert(fc.property(many, fc.nat(30), seqs, (frames, at, [source, seq]) => {
      assert.deepEqual(sum(tallyOf(frames.slice(0, at)), tallyOf(frames.slice(at))), tallyOf(frames))
      const tally = tallyOf([...frames, [source, seq]])
      takeFrom(tally, source, seq)
      assert.ok(equal(tally, tallyOf(frames)))
    }))
  })

  it('differ when one frame was exchanged for another, also for one whose number differs only above 32 bits', () => {
    fc.assert(fc.property(many, seqs, seqs, (frames, one, another) => {
      fc.pre(one[0] !== another[0] || one[1] !== another[1])
      assert.ok(!equal(tallyOf([...frames, one]), tallyOf([...frames, another])))
    }))
    assert.ok(!equal(tallyOf([[1, 7]]), tallyOf([[1, 7 + 2 ** 32]])))
  })

  it('differ when a frame was lost and another doubled', () => {
    assert.ok(!equal(tallyOf([[1, 1], [1, 2]]), tallyOf([[1, 1], [1, 1]])))
  })
})
