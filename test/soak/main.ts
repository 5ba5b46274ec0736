// What only time shows, on a slice of three VMs under bank load. Prints a line for each step and a table at the end; exit 0 only
// if all holds. Long, so not a part of `./violin test`.
//   npm run soak -- kills [--count 20] [--minutes 15]        random VMs are killed, the policy brings the slice back
//   npm run soak -- flat [--count 300] [--interval PT5S]      a long series of snapshots: nothing may grow
//   npm run soak -- full-disk [--count 5]                     the disk is filled to the last byte during a snapshot (needs root)
//   npm run soak -- verified [--count 200] [--every 2]        live snapshots of four VMs, each verified; all that are kept restored
// All take --hypervisor qemu|simulated (qemu) and --json FILE.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { HypervisorKind } from '../faults/rig.js'
import { flat } from './flat.js'
import { fullDisk } from './full-disk.js'
import { kills } from './kills.js'
import { verified } from './verified.js'

const { values, positionals } = parseArgs({ allowPositionals: true, options: {
  hypervisor: { type: 'string', default: 'qemu' }, count: { type: 'string' }, minutes: { type: 'string', default: '15' },
  interval: { type: 'string', default: 'PT5S' }, every: { type: 'string', default: '2' }, json: { type: 'string' },
} })
const hypervisor = values.hypervisor as HypervisorKind
const count = (otherwise: number) => (values.count === undefined ? otherwise : Number(values.count))
const say = (line: string) => { process.stdout.write(`${line}\n`) }

const [what] = positionals
if (what === 'verified' && hypervisor !== 'qemu') {
  say('verified counts what the kernels of real guests say: leave out --hypervisor')
  process.exit(2)
}
const result = what === 'kills' ? await kills({ hypervisor, count: count(20), minutes: Number(values.minutes), say })
  : what === 'flat' ? await flat({ hypervisor, count: count(300), interval: values.interval, say })
    : what === 'full-disk' ? await fullDisk({ hypervisor, count: count(5), say })
      : what === 'verified' ? await verified({ hypervisor, count: count(200), everyMs: Number(values.every) * 1000, say })
        : undefined
if (!result) {
  say('say what: kills, flat, full-disk or verified')
  process.exitCode = 2
} else {
  if (values.json) writeFileSync(values.json, JSON.stringify(result, null, 1))
  say(result.ok ? 'OK' : 'NOT OK')
  process.exitCode = result.ok ? 0 : 1
}
