// npm run sim -- --seed N --cuts M --faults a,b,c [--seeds COUNT]
// One seed: one line for each change of state. Many: one summary, with how often what has occurred. Each seed is run twice and must
// come to the same hash (`--once`: a single time). Ends with 1 when anything was found. `--scenario NAME`: a story of scenarios/ in place
// of a life at random; `--defect NAME`: with a deliberate defect (defects.ts).
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { defects } from './defects.js'
import { faultNames } from './faults.js'
import { loadProduct } from './product.js'
import { runScenario } from './scenario.js'
import { simulate, type Finding } from './simulation.js'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' }, seeds: { type: 'string', default: '1' }, cuts: { type: 'string', default: '5' },
    faults: { type: 'string', default: faultNames.join() }, once: { type: 'boolean', default: false }, quiet: { type: 'boolean', default: false },
    scenario: { type: 'string', default: '' }, defect: { type: 'string', default: '' },
  },
})
const unknown = values.faults.split(',').filter((name) => name !== '' && name !== 'none' && !faultNames.includes(name))
if (unknown.length > 0) throw new Error(`there is no fault ${unknown.join(', ')}: there are ${faultNames.join(', ')}, none`)
const chosen = values.faults.split(',').filter((name) => faultNames.includes(name))
const [first, count, cuts] = [Number(values.seed), Number(values.seeds), Number(values.cuts)]
const probes = new Map<string, number>()
const bad: Finding[] = []

const defect = defects.find((d) => d.name === values.defect)
if (values.defect !== '' && !defect) throw new Error(`there is no defect ${values.defect}`)
const how = values.scenario === '' ? `--cuts ${cuts} --faults ${values.faults}` : `--scenario ${values.scenario}`
const story = values.scenario === '' ? undefined : readFileSync(new URL(`./scenarios/${values.scenario}.txt`, import.meta.url), 'utf8')
const live = (seed: number, tell?: (line: string) => void): Promise<Finding> =>
  story === undefined ? simulate({ seed, cuts, faults: chosen, tell }) : runScenario(story, { seed, tell })

await loadProduct(values.defect === '' ? 'whole' : values.defect, defect?.changes)
const begun = performance.now()
const cpu = process.cpuUsage()
let events = 0
for (let seed = first; seed < first + count; seed++) {
  const tell = count === 1 && !values.quiet ? (line: string) => console.log(line) : undefined
  const found = await live(seed, tell)
  if (!values.once) {
    const again = await live(seed)
    if (again.hash !== found.hash) found.violations.push(`a seed is one run: the hash was ${found.hash}, then ${again.hash}`)
  }
  events += found.events
  for (const [name, n] of found.probes) probes.set(name, (probes.get(name) ?? 0) + n)
  if (found.violations.length === 0) {
    if (count === 1) console.log(`seed ${seed}: hash ${found.hash}, ${found.events} events, ${Math.round(found.virtualMs / 1000)} s of virtual time`)
    continue
  }
  bad.push(found)
  console.log(`\nseed ${seed} FAILED: ${found.violations.slice(0, 5).join('\n  ')}`)
  if (count > 1) console.log(`${found.last.join('\n')}\nagain: npm run sim -- --seed ${seed} ${how}`)
}
const seconds = (performance.now() - begun) / 1000
const used = process.cpuUsage(cpu)
const cpuMs = (used.user + used.system) / 1000 / count
console.log(`\n${count} seeds in ${seconds.toFixed(1)} s (${cpuMs.toFixed(1)} ms of one processor and ${Math.round(events / count)} events a seed), ${bad.length} failed${bad.length > 0 ? `: ${bad.map((f) => f.seed).join(', ')}` : ''}`)
for (const [name, n] of [...probes].sort(([a], [b]) => (a < b ? -1 : 1))) console.log(`${String(n).padStart(9)}  ${name}`)
if (bad.length > 0) process.exitCode = 1
