// Coordinator and participants, the product's own, in every state that they can come to: every order of what they say, deadlines
// and expiries at any moment, one fault of any kind anywhere, a second attempt while much of a void first one is still under way.
// Whatever comes: at most one outcome, a commit that is whole, every VM runs in the end, epochs only grow. `npm run exhaustive` visits
// larger worlds.
import assert from 'node:assert/strict'
import { allFaults, type CutBounds, type Defect } from '../exhaustive/cut-state.js'
import { CutWorld } from '../exhaustive/cut-world.js'
import { everyState } from '../exhaustive/every-state.js'

const one: CutBounds = { hosts: 1, attempts: 1, kind: 'live', faults: allFaults, count: 1 }
const worlds: { name: string; bounds: CutBounds; states: number; committed: number }[] = [
  { name: 'a snapshot of one host, each step of each work apart, with one fault', bounds: one, states: 7_594, committed: 5 },
  { name: 'a suspension of one host, the same', bounds: { ...one, kind: 'suspend' }, states: 7_681, committed: 5 },
  { name: 'a snapshot of two hosts', bounds: { ...one, hosts: 2, faults: [], coarse: true }, states: 21_601, committed: 4 },
  { name: 'two attempts, the first one void', bounds: { ...one, attempts: 2, faults: [], coarse: true }, states: 20_539, committed: 32 },
]
/** Each where it is found soonest. */
const defects: [Exclude<Defect, 'none'>, Partial<CutBounds>, RegExp][] = [
  ['void beside the cut', { kind: 'suspend' }, /has kept what belongs to op1/],
  ['expires when sealed', {}, /committed and h1 has no part/],
  ['commit early', {}, /committed and h1 has no part/],
  ['two decisions', { attempts: 2, coarse: true }, /decided 2 times/],
  ['outcome goes first', { attempts: 2, coarse: true }, /decided 2 times/],
  ['epoch again', { attempts: 2, coarse: true, faults: [] }, /went back to epoch 1/],
]

describe('a cut in every state that it can come to', function () {
  this.timeout(120_000)
  for (const { name, bounds, states, committed } of worlds) {
    it(`ends well: ${name} (${states.toLocaleString('en')} states)`, () => {
      const found = everyState(new CutWorld(bounds), 1_000_000)
      assert.deepEqual(found.story, undefined, `${found.why}:\n${found.story?.join('\n')}`)
      const commits = found.ends.filter((end) => Object.values(end.outcomes).includes('commit')).length
      assert.ok(found.states >= states && commits >= committed, `${found.states} states, ${commits} ends with a commit: it visits less than it did`)
    })
  }
  for (const [defect, bounds, why] of defects) {
    it(`is found wrong with the defect "${defect}"`, () => {
      const found = everyState(new CutWorld({ ...one, ...bounds, defect }), 1_000_000)
      assert.match(found.why, why)
    })
  }
})
