// `npm run exhaustive`: larger worlds than a test run has time for. One line for each; exit 1 and the story when one is wrong.
import { allFaults, type CutBounds } from './cut-state.js'
import { CutWorld } from './cut-world.js'
import { everyState } from './every-state.js'

const one: CutBounds = { hosts: 1, attempts: 1, kind: 'live', faults: allFaults, count: 1 }
const worlds: CutBounds[] = [
  { ...one, count: 2 },
  { ...one, kind: 'suspend', count: 2 },
  { ...one, attempts: 2, count: 0 },
  { ...one, attempts: 2, coarse: true },
  { ...one, attempts: 2, kind: 'suspend', coarse: true },
  { ...one, hosts: 2, coarse: true, faults: ['lose', 'host-lost', 'agent restarts'] },
  { ...one, hosts: 2, kind: 'suspend', coarse: true, faults: ['work fails', 'switch restarts', 'worker dies'] },
]
const bound = 3_000_000

for (const bounds of worlds) {
  const begun = Date.now()
  const found = everyState(new CutWorld(bounds), bound)
  const commits = found.ends.filter((end) => Object.values(end.outcomes).includes('commit')).length
  const { hosts, attempts, kind, count, coarse } = bounds
  console.log(`${kind}, hosts ${hosts}, attempts ${attempts}, faults ${count} of ${bounds.faults.length} kinds${coarse ? ', works in one step' : ''}: ` +
    `${found.states} states, ${found.moves} moves, ${found.ends.length} ends (${commits} with a commit), ${Math.round((Date.now() - begun) / 1000)} s ${found.why}`)
  if (found.story) {
    console.log(found.story.join('\n'))
    process.exit(1)
  }
}
