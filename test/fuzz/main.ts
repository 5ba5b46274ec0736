// The long run of the fuzzer. Prints how far it is; when something does not hold it says what, by which seed and number, writes
// the input to a file and ends with 1.
//   npm run fuzz -- [--count 200000] [--seed 1] [--from 0] [--out FOLDER]
//   npm run fuzz -- --seed 1 --from 4711 --count 1      one input again (keys are made anew: the file has the exact bytes)
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { fuzz, type Tally } from './run.js'
import { makeWorld } from './world.js'

const { values } = parseArgs({ options: {
  count: { type: 'string', default: '200000' }, seed: { type: 'string', default: '1' }, from: { type: 'string', default: '0' }, out: { type: 'string', default: 'build/fuzz' },
} })
const [count, seed, from] = [Number(values.count), Number(values.seed), Number(values.from)]
const say = (line: string) => { process.stdout.write(`${line}\n`) }
const begun = performance.now()
const shown = (t: Tally) => `${t.sent} sent, ${t.onTheWire} over TLS: ${t.granted} granted, ${t.refused} refused, ${t.faults} no call at all; ` +
  `slowest ${Math.round(t.slowestMs)} ms of processor, memory ${t.grownMiB >= 0 ? '+' : ''}${t.grownMiB.toFixed(1)} MiB, ${Math.round((performance.now() - begun) / 1000)} s`

const world = await makeWorld()
const { tally, fault } = await fuzz(world, { count, seed, from, progress: (t) => say(shown(t)) })
say(shown(tally))
if (fault) {
  const folder = join(values.out, `${seed}-${fault.index}`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'body.xml'), fault.input.body)
  writeFileSync(join(folder, 'about.json'), JSON.stringify({
    why: fault.why, seed, index: fault.index, person: fault.input.person.name, path: fault.input.path,
    chain: fault.input.person.chain.map((der) => der.toString('base64')), ...world.state,
  }, undefined, 1))
  say(`NOT OK: input ${fault.index} of seed ${seed}, by ${fault.input.person.name}: ${fault.why}\nit is in ${folder}`)
} else say('OK')
process.exitCode = fault ? 1 : 0
