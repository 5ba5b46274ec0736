import assert from 'node:assert/strict'
import { judgeCut, judgeMembers } from '../../../snapshots/consistency.js'
import { anInventory, balanced, tallyOf } from './shares.js'

const nameOf = (port: number) => `p${port}`

describe('the judgement of a cut', () => {
  it('finds nothing where every frame is accounted for', () => {
    assert.deepEqual(judgeCut(balanced().shares, nameOf), { orphans: [], losses: [], notCovered: [], channels: [
      { name: 'p2 -> p1', sent: 1, received: 1, recorded: 0, dropped: {} }, { name: 'p1 -> p2', sent: 3, received: 2, recorded: 1, dropped: {} },
    ] })
  })

  it('finds an orphan: received before the cut, and not sent before it', () => {
    const { shares, two } = balanced()
    two.channels[0]!.highest = 4
    assert.deepEqual(judgeCut(shares, nameOf).orphans, ['p1 -> p2: frame 4 was received, only 3 were sent: at least 1 orphan'])
  })

  it('finds a loss: sent before the cut, neither received nor recorded', () => {
    const { shares } = balanced()
    shares[0]!.log.recorded = []
    assert.deepEqual(judgeCut(shares, nameOf).losses, ['p1 -> p2: 3 frames were sent before the cut, 2 are accounted for: 1 are in no part of the snapshot'])
  })

  it('finds a loss that a doubled frame hides from counting', () => {
    const { shares } = balanced()
    shares[0]!.log.recorded[0]!.tally = tallyOf(1, 2)
    assert.match(judgeCut(shares, nameOf).losses.join(), /3 are accounted for, but they are not the same$/)
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
    assert.deepEqual(judgeCut(shares, nameOf).channels[1]!.dropped, { queueTail: 1 })
    shares[0]!.log.drops.push({ to: 2, from: 1, kind: 'orphan', epoch: 2, tally: tallyOf(1, 4, 5, 8), seqs: [4, 5, 8] })
    assert.deepEqual(judgeCut(shares, nameOf).losses, ['p1 -> p2: 3 frames of a later epoch were dropped from the live run (4-5, 8)'])
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

  it('weighs the devices anew, with what they were weighed against', () => {
    const { shares, one } = balanced()
    Object.assign(one, { usedTx: 2, usedRx: 65_535, framesRead: 13, framesWritten: 30, base: { usedTx: 65_535, usedRx: 65_530, vring: 'v', framesRead: 10, framesWritten: 25 } })
    assert.deepEqual(judgeCut(shares, nameOf).losses, [])
    one.usedTx = 4
    assert.deepEqual(judgeCut(shares, nameOf).losses, ['p1: its device has sent 2 frames that the switch has not read'])
    Object.assign(one, { usedTx: 1, framesWritten: 33 })
    const unread = 'p1: 3 frames written to it had not come to the guest and are'
    assert.deepEqual(judgeCut(shares, nameOf).losses, ['p1: the switch has read 1 frame more than its device has sent', `${unread} in no part of the snapshot`])
    one.usedTx = 2
    shares[0]!.vms[0]!.cut.drained = false
    assert.deepEqual(judgeCut(shares, nameOf).losses, [])
    assert.ok(judgeCut(shares, nameOf).notCovered.includes(`${unread} neither recorded nor put back`))
    one.framesWritten = 29
    assert.match(judgeCut(shares, nameOf).notCovered.join(), /1 frame more than were written to it had come to the guest/)
  })

  it('says why a witness is missing, and that a switch was restarted', () => {
    const { shares, one } = balanced()
    Object.assign(one, { witness: 'none', reconnected: true, base: { usedTx: 0, usedRx: 0, vring: 'w', framesRead: 0, framesWritten: 0 } })
    assert.deepEqual(judgeCut(shares, nameOf).notCovered.map((t) => t.slice(0, 45)), [
      'p1: the switch was restarted before the cut, ', 'p1: the guest has reset its device, which has',
    ])
  })

  it('finds frames that the cut itself has made the switch drop', () => {
    const { shares } = balanced()
    shares[0]!.log.ports = [{ port: 1, framesHeld: 9, longestHoldMs: 1, heldDropped: 0 }, { port: 2, framesHeld: 9, longestHoldMs: 1, heldDropped: 7 }]
    assert.deepEqual(judgeCut(shares, nameOf).losses, ['p2: 7 frames were dropped while the cut held frames back'])
  })

  it('misses VMs that are not there, or twice, and ports that nobody has counted', () => {
    const { members, hosts } = anInventory()
    assert.deepEqual(judgeMembers(members, hosts), [])
    assert.deepEqual(judgeMembers([...members, { vm: 'vm3', clientId: 'c', host: 'h1', ports: [] }], hosts), ['c is in the snapshot not at all'])
    assert.deepEqual(judgeMembers([members[0]!], [...hosts, ...hosts]), ['a is in the snapshot 2 times'])
    assert.deepEqual(judgeMembers([{ ...members[0]!, ports: [1, 9] }], hosts), ['nothing was counted at port 9 of a'])
  })

  it('counts orphans by what is too much, and looks for losses beside them', () => {
    const { shares, two } = balanced()
    two.channels[0] = { from: 1, delivered: tallyOf(1, 1, 2, 3, 4, 5), highest: 5 }
    shares[0]!.log.recorded = []
    const { orphans, losses } = judgeCut(shares, nameOf)
    assert.deepEqual([orphans, losses], [['p1 -> p2: frame 5 was received, only 3 were sent: at least 2 orphans'], []])
    two.channels[0] = { from: 1, delivered: tallyOf(1, 1, 4), highest: 4 }
    assert.match(judgeCut(shares, nameOf).losses.join(), /2 are accounted for: 1 are in no part/)
  })

  it('asks nothing of ports that share no LAN', () => {
    const { shares, one, two } = balanced()
    one.born = []
    two.born = []
    shares[0]!.log.recorded = []
    assert.deepEqual(judgeCut(shares, nameOf).losses, [])
  })
})
