// Every scenario of scenarios/: the holes of the protocol, and every bug that was found, each as a story that must end well.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { loadProduct } from './product.js'
import { runScenario } from './scenario.js'

const folder = new URL('./scenarios/', import.meta.url)

describe('the scenarios of the simulation', function () {
  this.timeout(300_000)
  before(() => loadProduct())

  for (const file of readdirSync(folder).filter((name) => name.endsWith('.txt')).sort()) {
    const text = readFileSync(new URL(file, folder), 'utf8')
    it(`${file.replace('.txt', '')}: ${text.split('\n')[0]!.slice(2)}`, async () => {
      const found = await runScenario(text)
      assert.deepEqual(found.violations, [], found.last.join('\n'))
    })
  }
})
