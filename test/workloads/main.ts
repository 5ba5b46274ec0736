// Software that nobody here wrote, in the guests of a slice of three, across snapshots, kills, rollbacks and suspensions; its own means say
// whether anything came of it, beside an equally long run without.
//   npm run workloads -- etcd [--snapshots 20] [--rollbacks 5] [--suspends 2] [--rest 60] [--every 5] [--keep 6] [--json FILE]
// Real VMs only; the guest image is built by `violin image --with NAME`. Prints what happens and a table; exit 0 only if all holds.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { explain } from '../../base/errors.js'
import { realRandom } from '../../base/random.js'
import { realClock as clock } from '../../base/time.js'
import { FaultRig } from '../faults/rig.js'
import { Course, type CoursePlan } from './course.js'
import { etcd } from './etcd.js'
import { redis } from './redis.js'
import { iperf3 } from './iperf3.js'
import { judge } from './report.js'
import type { Workload } from './workload.js'

const workloads: Record<string, () => Workload> = { etcd, iperf3, redis }
const root = resolve(import.meta.dirname, '..', '..')
const { values, positionals } = parseArgs({ allowPositionals: true, options: {
  snapshots: { type: 'string', default: '20' }, rollbacks: { type: 'string', default: '5' }, suspends: { type: 'string', default: '2' },
  rest: { type: 'string', default: '60' }, every: { type: 'string', default: '5' }, keep: { type: 'string', default: '6' }, json: { type: 'string' },
} })
const begun = clock.monotonic()
const say = (line: string) => { process.stdout.write(`[${((clock.monotonic() - begun) / 1000).toFixed(1).padStart(7)} s] ${line}\n`) }

function wrongUse(why: string): never {
  process.stderr.write(`workloads: ${why}\n`)
  process.exit(2)
}

function number(name: 'snapshots' | 'rollbacks' | 'suspends' | 'rest' | 'every' | 'keep', least: number): number {
  const value = Number(values[name])
  if (!Number.isInteger(value) || value < least) wrongUse(`--${name} ${values[name]} is no whole number from ${least}`)
  return value
}

const make = workloads[positionals[0] ?? '']
if (!make || positionals.length > 1) wrongUse(`say which one: ${Object.keys(workloads).join(', ')}`)
const plan: CoursePlan = {
  snapshots: number('snapshots', 1), rollbacks: number('rollbacks', 0), suspends: number('suspends', 0), suspendMs: number('rest', 0) * 1000,
  everyMs: number('every', 1) * 1000, keep: number('keep', 1),
}
const workload = make()
const image = join(root, 'build', `image-${workload.name}`)
if (!existsSync(join(image, 'image.json'))) wrongUse(`there is no ${image}: run ./violin image --with ${workload.name}`)

/** The example of three nodes without its load, in the size that the software needs. */
const request = readFileSync(join(root, 'examples', 'three-nodes.rspec'), 'utf8')
  .replace(/<violin:rspec_checkpoint[^]*?<\/violin:rspec_checkpoint>/, '').replaceAll(/<services>.*?<\/services>/g, '')
  .replaceAll('<sliver_type name="default-vm"/>',
    `<sliver_type name="default-vm"><violin:vm memory_mib="${workload.memoryMiB}" disk_mib="${workload.diskMiB}"/></sliver_type>`)

const rig = new FaultRig('qemu')
rig.upEnv['VIOLIN_IMAGE'] = image
let whole = false
let course: Course | undefined
try {
  await rig.bringUp(request)
  course = new Course(rig, workload, plan, { clock, random: realRandom, say })
  const outcome = await course.run()
  const verdict = judge(outcome, plan, workload.judged)
  process.stdout.write(`\n${verdict.table.join('\n')}\n\n`)
  for (const reason of verdict.reasons) process.stdout.write(`NOT OK: ${reason}\n`)
  if (values.json) writeFileSync(values.json, JSON.stringify({ workload: workload.name, plan, ...outcome, ok: verdict.ok, reasons: verdict.reasons }, null, 1))
  whole = verdict.ok
} catch (error) {
  say(`NOT OK: ${explain(error)}`)
} finally {
  course?.hangUp()
  if (whole) await rig.close()
  else {
    process.stdout.write(`state and logs: ${rig.state}\n`)
    await rig.abandon()
  }
}
process.stdout.write(whole ? 'OK\n' : 'NOT OK\n')
process.exitCode = whole ? 0 : 1
