// npm run teeth [-- --most 300 --only a,b]: does the simulation find every deliberate defect? One after another, each in seeds from 1
// on until it is found. Prints the table of docs/simulation.md; ends with 1 when one was not found within `--most` seeds.
import { parseArgs } from 'node:util'
import { defects, type Defect } from './defects.js'
import { faultNames } from './faults.js'
import { loadProduct } from './product.js'
import { simulate } from './simulation.js'

export interface Bite { defect: Defect; seeds: number | undefined; how: string }

/** Runs seeds from 1 on with the defect in the product until something is found. */
export async function bite(defect: Defect, most: number, cuts: number): Promise<Bite> {
  await loadProduct(defect.name, defect.changes)
  for (let seed = 1; seed <= most; seed++) {
    const { violations } = await simulate({ seed, cuts, faults: faultNames })
    if (violations.length > 0) return { defect, seeds: seed, how: violations[0]!.split('\n')[0]!.slice(0, 110) }
  }
  return { defect, seeds: undefined, how: '' }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { most: { type: 'string', default: '300' }, cuts: { type: 'string', default: '5' }, only: { type: 'string', default: '' }, show: { type: 'boolean', default: false } } })
  const chosen = defects.filter((d) => values.only === '' || values.only.split(',').includes(d.name))
  let missed = 0
  console.log('| defect | what is wrong | seeds | found by |\n| --- | --- | --- | --- |')
  for (const defect of chosen) {
    const { seeds, how } = await bite(defect, Number(values.most), Number(values.cuts))
    if (seeds === undefined) missed++
    console.log(`| ${defect.name} | ${defect.what} | ${seeds ?? `none in ${values.most}`} | ${how.split(':')[0]} |`)
    if (values.show) console.log(`    ${how}`)
  }
  console.log(`\n${chosen.length} defects, ${missed} not found`)
  if (missed > 0) process.exitCode = 1
}

if (process.argv[1]?.endsWith('teeth.ts')) await main()
