// The fault matrix: every kind of fault (kinds.ts) in every process at every named point (points.ts), on a slice under bank load, and what
// must hold after each (cells.ts).
//   npm run faults -- [--hypervisor simulated|qemu] [--kind KIND]... [--victim NAME]... [--point NAME]... [--times N] [--pairs] [--json FILE]
// KIND: kill (where none is named), stand, no-sync, no-name, no-sink, full-disk (needs root), or all.
// --pairs: two processes die at the same moment (a victim is then called a+b). --times: the whole so many times in a row.
// --share I/N: the I-th of N parts, each a like share of points and victims.
// Prints a line for each cell and a table for each kind at the end; exit 0 only if every cell holds.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { explain } from '../../base/errors.js'
import { realClock as clock } from '../../base/time.js'
import { cell, type Cell } from './cells.js'
import { killed } from './fault.js'
import { kinds, leftOut, strikes, told, type Kind, type Struck } from './kinds.js'
import { points, type Point } from './points.js'
import { Stage } from './stage.js'
import { victims, type HypervisorKind, type Victims } from './rig.js'

const { values } = parseArgs({ options: {
  hypervisor: { type: 'string', default: 'simulated' }, kind: { type: 'string', multiple: true, default: ['kill'] }, pairs: { type: 'boolean', default: false },
  victim: { type: 'string', multiple: true }, point: { type: 'string', multiple: true }, times: { type: 'string', default: '1' },
  share: { type: 'string', default: '1/1' }, json: { type: 'string' },
} })
const chosenKinds = kinds.filter((kind) => values.kind.includes('all') || values.kind.includes(kind))
const unknown = values.kind.filter((kind) => kind !== 'all' && !(kinds as readonly string[]).includes(kind))
const unknownPoints = (values.point ?? []).filter((name) => !points.some((p) => p.name === name))
const chosenPoints = points.filter((p) => values.point?.includes(p.name) ?? true)
const [part, parts] = values.share.split('/').map(Number) as [number, number]
const results: Cell[] = []
const say = (line: string) => { process.stdout.write(`${line}\n`) }

/** Whom a kind strikes: one, or with --pairs two. */
function victimsOf(kind: Kind): string[] {
  const pairs = victims.flatMap((a, i) => victims.slice(i + 1).map((b) => `${a}+${b}`))
  return (values.pairs && kind === 'kill' ? pairs : [...strikes[kind]]).filter((name) => values.victim?.includes(name) ?? true)
}

function whyNot(kind: Kind, point: Point, name: string): string | undefined {
  const reasons = name.split('+').map((victim) => leftOut(kind, point, victim as Struck))
  return reasons.find((reason) => reason !== undefined)
}

async function run(kind: Kind, time: number): Promise<void> {
  const stage = new Stage(values.hypervisor as HypervisorKind, [kind])
  const cells = chosenPoints.flatMap((point) => victimsOf(kind).map((name) => ({ point, name }))).filter(({ point, name }) => whyNot(kind, point, name) === undefined)
  for (const { point, name } of cells.filter((_, i) => i % parts === part - 1)) {
    const begun = clock.monotonic()
    const result: Cell = { kind, point: point.name, victims: name, time, ok: true, met: true, why: '', seconds: 0 }
    try {
      const rig = await stage.rig()
      result.met = await cell(rig, point, name.includes('+') ? killed(rig, name.split('+') as Victims) : stage.fault(kind, name as Struck))
    } catch (error) {
      Object.assign(result, { ok: false, why: explain(error).split('\n').slice(0, 12).join(' | ') })
      say(`  state and logs: ${stage.state}`)
      await stage.abandon() // what one cell has broken must not be another's fault
    }
    result.seconds = Math.round((clock.monotonic() - begun) / 100) / 10
    results.push(result)
    const verdict = !result.ok ? 'NOT OK' : result.met ? 'ok    ' : 'no use'
    say(`${verdict} ${kind.padEnd(9)} ${name.padEnd(values.pairs ? 13 : 7)} at ${point.name.padEnd(27)} ${result.seconds} s ${result.why}`)
  }
  await stage.close()
}

/** How it went each time: ok, or - where the fault was never met, or why not. */
function shown(kind: Kind, point: Point, name: string): string {
  if (whyNot(kind, point, name) !== undefined) return ''
  const all = results.filter((r) => r.kind === kind && r.point === point.name && r.victims === name)
  if (all.length === 0) return ''
  const bad = all.filter((r) => !r.ok).length
  return bad > 0 ? `**no** (${bad} of ${all.length})` : all.some((r) => r.met) ? 'ok' : '-'
}

function table(kind: Kind): string {
  const names = victimsOf(kind)
  const rows = chosenPoints.map((p) => ({ p, cells: names.map((name) => shown(kind, p, name)) })).filter(({ cells }) => cells.some((c) => c !== ''))
  return [
    `| ${told[kind]} | ${names.map((name) => name.replace('+', ' + ')).join(' | ')} |`, `| --- |${names.map(() => ' --- |').join('')}`,
    ...rows.map(({ p, cells }) => `| ${p.text} (\`${p.name}\`) | ${cells.join(' | ')} |`),
  ].join('\n')
}

function sentence(kind: Kind): string {
  const of = results.filter((r) => r.kind === kind)
  const met = of.filter((r) => r.met)
  const more = of.length - met.length
  return `${kind}: ${met.filter((r) => r.ok).length} of ${met.length} cells hold${more > 0 ? `; in ${more} more nobody did what fails` : ''}`
}

if (unknown.length > 0 || unknownPoints.length > 0) {
  say(`unknown: ${[...unknown, ...unknownPoints].join(', ')}; kinds are ${kinds.join(', ')}`)
  process.exit(2)
}
for (let time = 1; time <= Number(values.times); time++) for (const kind of chosenKinds) await run(kind, time)
for (const kind of chosenKinds) say(`\n${table(kind)}\n`)
for (const kind of chosenKinds) say(sentence(kind))
if (values.json) writeFileSync(values.json, JSON.stringify({ hypervisor: values.hypervisor, results }, null, 1))
process.exitCode = results.length > 0 && results.every((r) => r.ok) ? 0 : 1
