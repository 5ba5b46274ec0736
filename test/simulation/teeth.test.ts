// Some of the deliberate defects, those that are found soon: does the simulation still bite? All of them: npm run teeth.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { defects } from './defects.js'
import { bite } from './teeth.js'

const soon = ['no-record', 'no-gate', 'no-thaw', 'flip-before-stop', 'no-fsync', 'layers-not-synced', 'inventory-after-outcome']

describe('the teeth of the simulation', function () {
  this.timeout(300_000)

  it('have each its place in the product as it is now', () => {
    const lost = defects.flatMap(({ name, changes }) => changes.filter(({ file, find }) =>
      readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8').split(find).length !== 2).map(({ file }) => `${name}: ${file}`))
    assert.deepEqual(lost, [])
  })

  for (const name of soon) {
    const defect = defects.find((d) => d.name === name)!
    it(`find ${name}: ${defect.what}`, async () => {
      const { seed } = await bite(defect)
      assert.notEqual(seed, undefined, `not found in ${defect.within} seeds`)
    })
  }
})
