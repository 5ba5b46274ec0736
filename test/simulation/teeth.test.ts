// Some of the deliberate defects, those that are found soon: does the simulation still bite? All of them: npm run teeth.
import assert from 'node:assert/strict'
import { defects } from './defects.js'
import { bite } from './teeth.js'

const soon = ['no-record', 'no-gate', 'no-thaw', 'flip-before-stop', 'no-fsync', 'layers-not-synced', 'inventory-after-outcome']

describe('the teeth of the simulation', function () {
  this.timeout(300_000)

  for (const name of soon) {
    const defect = defects.find((d) => d.name === name)!
    it(`find ${name}: ${defect.what}`, async () => {
      const { seed } = await bite(defect)
      assert.notEqual(seed, undefined, `not found in ${defect.within} seeds`)
    })
  }
})
