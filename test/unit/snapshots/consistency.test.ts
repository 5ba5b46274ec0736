import assert from 'node:assert/strict'
import { judgeCut } from '../../../snapshots/consistency.js'
import { balanced, tallyOf } from './shares.js'

const nameOf = (port: number) => `p${port}`

describe('the judgement of a cut', () => {
  it('finds nothing where every frame is accounted for', () => {
    assert.deepEqual(judgeCut(balanced().shares, nameOf), { orphans: [], losses: [], notCovered: [] })
  })

  it('finds an orphan: received before the cut, and not sent before it', () => {
    const { shares, two } = balanced()
    two.channels[0]!.highest = 4
    assert.deepEqual(judgeCut(shares, nameOf).orphans, ['p1 -> p2: frame 4 was received, only 3 were sent'])
  })

  it('finds a loss: sent before the cut, neither received nor recorded', () => {
    const { shares } = balanced()
    shares[0]!.log.recorded = []
    assert.deepEqual(judgeCut(shares, nameOf).losses, ['p1 -> p2: 3 frames were sent before the cut, 2 are accounted for'])
  })

  it('finds a loss that a doubled frame hides from counting', () => {
    const { shares } = balanced()
    shares[0]!.log.recorded[0]!.tally = tallyOf(1, 2)
    assert.equal(judgeCut(shares, nameOf).losses.length, 1)
  })

  it('finds what a receiver that has heard nothing at all has missed', () => {
    const { shares, two } = balanced()
    two.channels = []
    assert.equal(judgeCut(shares, nameOf).losses.length, 1)
  })

  it('counts a drop before the cut as a known fate, and a dropped frame of a later epoch as a loss', () => {
    const { shares } = balanced()
    shares[0]!.log.recorded = []
    shares[0]!.log.drops = [{ to: 2, from: 1, kind: 'queueTail', epoch: 1, tally: tallyOf(1, 3), seqs: [3] }]
    assert.deepEqual(judgeCut(shares, nameOf).losses, [])
    shares[0]!.log.drops[0]!.kind = 'orphan'
    assert.deepEqual(judgeCut(shares, nameOf).losses, ['p1 -> p2: 1 frames of a later epoch were dropped'])
  })

  it('believes the devices more than the switch', () => {
    const { shares, one } = balanced()
    one.witness = 'tx-differs'
    assert.match(judgeCut(shares, nameOf).losses[0]!, /^p1: its device sent another number of frames/)
  })

  it('names what it cannot say anything about', () => {
    const { shares, one } = balanced()
    one.witness = 'none'
    shares[0]!.vms[1]!.cut.drained = false
    assert.deepEqual(judgeCut(shares, nameOf).notCovered, [
      'p1: its device has no counting base in common with the switch', 'b: it had not taken all frames sent to it (NIC overflow)',
    ])
  })

  it('asks nothing of ports that share no LAN', () => {
    const { shares, one, two } = balanced()
    one.born = []
    two.born = []
    shares[0]!.log.recorded = []
    assert.deepEqual(judgeCut(shares, nameOf).losses, [])
  })
})
