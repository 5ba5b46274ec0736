// The simulation in every run of the tests: fixed seeds, each twice with the same hash, with every kind of fault among them.
import assert from 'node:assert/strict'
import { faultNames } from './faults.js'
import { loadProduct } from './product.js'
import { simulate } from './simulation.js'

const firstSeed = 1
const seeds = 100
const cuts = 4

describe('the simulation', function () {
  this.timeout(600_000)
  before(() => loadProduct())

  it('finds nothing wrong in fixed seeds, each of which is the same run twice, and has every kind of fault in them', async () => {
    const probes = new Set<string>()
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
      const found = await simulate({ seed, cuts, faults: faultNames })
      assert.deepEqual(found.violations, [], `seed ${seed}: npm run sim -- --seed ${seed} --cuts ${cuts}\n${found.last.join('\n')}`)
      const again = await simulate({ seed, cuts, faults: faultNames })
      assert.equal(again.hash, found.hash, `seed ${seed} is not the same run twice`)
      for (const name of found.probes.keys()) probes.add(name)
    }
    for (const name of faultNames) if (name !== 'points') assert.ok(probes.has(`fault ${name}`), `there was no fault ${name}`)
    assert.ok([...probes].some((name) => name.startsWith('death at agent.')), 'no agent died at a point of its own')
  })
})
