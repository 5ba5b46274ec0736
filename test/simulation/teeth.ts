// npm run teeth [-- --only a,b --most 300 --json --show]: does the simulation find every deliberate defect within the number of seeds that
// is stated for it? One after another. A seed counts when the product as it is has nothing wrong in it. Prints the table of
// docs/simulation.md; ends with 1 when one was not found. `--most`: go on so far beyond what is stated, to state it anew.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { defects, type Defect } from './defects.js'
import { faultNames } from './faults.js'
import { loadProduct } from './product.js'
import { runScenario } from './scenario.js'
import { simulate, type Finding } from './simulation.js'

/** What a user begins in a life at random. */
const cuts = 5

export interface Bite { defect: Defect; seed: number | undefined; how: string; seconds: number }

const scenarios = new URL('./scenarios/', import.meta.url)

/** A life with the defect, or as the product is. */
async function live({ name, changes, scenario }: Pick<Defect, 'name' | 'changes' | 'scenario'>, seed: number): Promise<Finding> {
  await loadProduct(name, changes)
  return scenario === undefined
    ? simulate({ seed, cuts, faults: faultNames })
    : runScenario(readFileSync(new URL(`${scenario}.txt`, scenarios), 'utf8'), { seed })
}

/** Runs seeds from 1 on with the defect in the product until something is found that is not there without it. */
export async function bite(defect: Defect, most = defect.within): Promise<Bite> {
  const begun = performance.now()
  const end = (seed?: number, how = ''): Bite => ({ defect, seed, how, seconds: (performance.now() - begun) / 1000 })
  for (let seed = 1; seed <= most; seed++) {
    const { violations } = await live(defect, seed)
    if (violations.length === 0) continue
    const sound = await live({ ...defect, name: 'whole', changes: [] }, seed)
    if (sound.violations.length === 0) return end(seed, violations[0]!.split('\n')[0]!.slice(0, 160))
  }
  return end()
}

const again = ({ defect, seed }: Bite): string =>
  `npm run sim -- --defect ${defect.name} --seed ${seed}${defect.scenario === undefined ? '' : ` --scenario ${defect.scenario}`}`

const row = ({ defect, seed, how }: Bite): string =>
  `| ${defect.name} | ${defect.what} | ${defect.scenario ?? 'seeds'} | ${seed ?? 'none'} | ${defect.within} | ${how.split(':')[0]} |`

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' }, most: { type: 'string', default: '0' },
      json: { type: 'boolean', default: false }, show: { type: 'boolean', default: false },
    },
  })
  const chosen = defects.filter((d) => values.only === '' || values.only.split(',').includes(d.name))
  const bites: Bite[] = []
  if (!values.json) console.log('| defect | what is wrong | where | found in seed | must be by | found by |\n| --- | --- | --- | --- | --- | --- |')
  for (const defect of chosen) {
    const found = await bite(defect, Math.max(defect.within, Number(values.most)))
    bites.push(found)
    if (values.json) continue
    console.log(row(found))
    if (values.show) console.log(`    ${found.how}\n    ${found.seconds.toFixed(0)} s; ${found.seed === undefined ? 'not found' : again(found)}`)
  }
  const missed = bites.filter(({ defect, seed }) => seed === undefined || seed > defect.within)
  if (values.json) {
    console.log(JSON.stringify(bites.map(({ defect: { name, what, scenario, within }, seed, how, seconds }) =>
      ({ name, what, scenario, within, seed: seed ?? null, how, seconds: Math.round(seconds) })), null, 2))
  } else {
    const which = missed.length > 0 ? `: ${missed.map((m) => m.defect.name).join(', ')}` : ''
    console.log(`\n${bites.length} defects, ${missed.length} not found in time${which}`)
  }
  if (missed.length > 0) process.exitCode = 1
}

if (process.argv[1]?.endsWith('teeth.ts')) await main()
