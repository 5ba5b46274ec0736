// The fault matrix: kill -9 of every process at every named point, on a slice under bank load, and what must hold after each.
//   npm run faults -- [--hypervisor simulated|qemu] [--pairs] [--victim NAME]... [--point NAME]... [--json FILE]
// --pairs: two processes die at the same moment (a victim is then called a+b).
// Prints a line for each cell and a table at the end; exit 0 only if every cell holds.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { explain } from '../../base/errors.js'
import { realClock as clock } from '../../base/time.js'
import { cell, points, type Cell } from './cells.js'
import { FaultRig, victims, type HypervisorKind, type Victims } from './rig.js'

const { values } = parseArgs({ options: {
  hypervisor: { type: 'string', default: 'simulated' }, pairs: { type: 'boolean', default: false }, victim: { type: 'string', multiple: true }, point: { type: 'string', multiple: true },
  json: { type: 'string' },
} })
const pairs = victims.flatMap((a, i) => victims.slice(i + 1).map((b): Victims => [a, b]))
const chosen = (values.pairs ? pairs : victims.map((v): Victims => [v])).filter((v) => values.victim?.includes(v.join('+')) ?? true)
const chosenPoints = points.filter((p) => values.point?.includes(p.name) ?? true)
const results: Cell[] = []
let rig: FaultRig | undefined

async function fresh(): Promise<FaultRig> {
  const opened = new FaultRig(values.hypervisor as HypervisorKind)
  await opened.open('on_failure="rollback" retries="100"')
  return opened
}

for (const point of chosenPoints) {
  for (const victims of chosen) {
    const name = victims.join('+')
    const begun = clock.monotonic()
    const result: Cell = { point: point.name, victims: name, ok: true, why: '', seconds: 0 }
    try {
      rig ??= await fresh()
      await cell(rig, point, victims)
    } catch (error) {
      Object.assign(result, { ok: false, why: explain(error).split('\n').slice(0, 12).join(' | ') })
      process.stdout.write(`  state and logs: ${rig?.state ?? '?'}\n`)
      await rig?.abandon()
      rig = undefined // what one cell has broken must not be another's fault
    }
    result.seconds = Math.round((clock.monotonic() - begun) / 100) / 10
    results.push(result)
    process.stdout.write(`${result.ok ? 'ok    ' : 'NOT OK'} ${name.padEnd(values.pairs ? 13 : 7)} at ${point.name.padEnd(24)} ${result.seconds} s ${result.why}\n`)
  }
}
await rig?.close()

const of = (point: string, victims: Victims) => results.find((r) => r.point === point && r.victims === victims.join('+'))
const table = [
  `| kill -9 of | ${chosen.map((v) => v.join(' + ')).join(' | ')} |`, `| --- |${chosen.map(() => ' --- |').join('')}`,
  ...chosenPoints.map((p) => `| ${p.text} (\`${p.name}\`) | ${chosen.map((v) => (of(p.name, v)?.ok ? 'ok' : '**no**')).join(' | ')} |`),
].join('\n')
process.stdout.write(`\n${table}\n\n${results.filter((r) => r.ok).length} of ${results.length} cells hold\n`)
if (values.json) writeFileSync(values.json, JSON.stringify({ hypervisor: values.hypervisor, results }, null, 1))
process.exitCode = results.every((r) => r.ok) ? 0 : 1
