// A long series of snapshots by the policy, and restores now and then: pause, restore time, open files, memory, layers and room must be
// as they were at the beginning.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { realClock as clock, until } from '../../base/time.js'
import { text } from '../../cli/demo/slice-client.js'
import { FaultRig, type HypervisorKind, type Victim } from '../faults/rig.js'

export interface Sample {
  snapshot: number
  pauseMs: number
  /** Open files of all processes, and of one VM. */
  files: number
  vmFiles: number
  memoryMiB: number
  layers: number
  layerFiles: number
  roomMiB: number
}
interface Row { what: string; early: number; late: number; ok: boolean }

const ours: Victim[] = ['worker', 'agent', 'switch', 'am', 'redis']
const early = 20
/** Samples on both sides that a median is taken of. */
const window = 10
const restores = 5
const allowed = 0.2
const patienceMs = 120_000

export async function flat(at: { hypervisor: HypervisorKind; count: number; interval: string; say: (line: string) => void }): Promise<{ ok: boolean; rows: Row[]; samples: Sample[] }> {
  const rig = new FaultRig(at.hypervisor)
  await rig.open(`interval="${at.interval}" on_failure="rollback" retries="100"`)
  const samples: Sample[] = []
  const restoreMs: { early: number[]; late: number[] } = { early: [], late: [] }
  let last = ''
  while (samples.length < at.count) {
    const newest = await until(clock, patienceMs, 100, async () => {
      const entry = (await rig.slice.snapshots()).at(-1)
      return entry && text(entry, 'id') !== last ? entry : undefined
    })
    if (!newest) throw new Error('no new snapshot came')
    last = text(newest, 'id')
    await clock.sleep(1_000) // retention and merging follow at once; what they leave is what counts
    samples.push(sample(rig, samples.length + 1, Math.max(...Object.values(newest['pause_ms'] as Record<string, number>))))
    const s = samples.at(-1)!
    if (s.snapshot % 10 === 0) at.say(JSON.stringify(s))
    const when = samples.length === early + window ? restoreMs.early : samples.length === at.count ? restoreMs.late : undefined
    for (let n = 0; when && n < restores; n++) when.push(await restore(rig))
  }
  await rig.assertConserved()
  await rig.close()
  const at20 = samples.slice(early - window, early + window)
  const atEnd = samples.slice(-2 * window)
  const row = (what: string, of: (s: Sample) => number): Row => compare(what, median(at20.map(of)), median(atEnd.map(of)))
  const rows = [
    row('pause, ms', (s) => s.pauseMs), compare('restore, ms', median(restoreMs.early), median(restoreMs.late)),
    row('open files, all processes', (s) => s.files), row('open files, one VM', (s) => s.vmFiles), row('memory of our processes, MiB', (s) => s.memoryMiB),
    row('layers of one disk', (s) => s.layers), row('layer files', (s) => s.layerFiles), row('state folder, MiB', (s) => s.roomMiB),
  ]
  at.say(`\n| | around snapshot ${early} | the last ${2 * window} of ${at.count} | |\n| --- | --- | --- | --- |`)
  for (const r of rows) at.say(`| ${r.what} | ${r.early} | ${r.late} | ${r.ok ? 'ok' : '**no**'} |`)
  return { ok: rows.every((r) => r.ok), rows, samples }
}

/** Lower is no growth. */
const compare = (what: string, before: number, after: number): Row => ({ what, early: before, late: after, ok: after <= before * (1 + allowed) })

const median = (values: number[]): number => Math.round(([...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN) * 10) / 10

async function restore(rig: FaultRig): Promise<number> {
  const snapshot = text((await rig.slice.snapshots()).at(-1)!, 'id')
  await rig.rollBack(snapshot)
  const told = /running again after (\d+) ms/.exec((await rig.slice.status())[0]!.resourceStatus)
  return told ? Number(told[1]) : NaN
}

export function sample(rig: FaultRig, snapshot: number, pauseMs: number): Sample {
  const vms = rig.vmPids()
  const pids = [...vms, ...ours.map((name) => rig.pidOf(name))]
  const host = join(rig.state, 'host')
  const [record] = readdirSync(join(host, 'vms')).filter((f) => f.endsWith('.json'))
  return {
    snapshot, pauseMs,
    files: pids.reduce((sum, pid) => sum + openFiles(pid), 0), vmFiles: openFiles(vms[0]!),
    memoryMiB: Math.round(ours.reduce((sum, name) => sum + residentMiB(rig.pidOf(name)), 0)),
    layers: (JSON.parse(readFileSync(join(host, 'vms', record!), 'utf8')) as { layers: string[] }).layers.length,
    layerFiles: readdirSync(join(host, 'layers')).filter((f) => f.endsWith('.qcow2')).length,
    roomMiB: Math.round(bytesIn(rig.state) / 1024 / 1024),
  }
}

const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length
const residentMiB = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024

/** Blocks that are really taken. What goes while it is counted does not count. */
function bytesIn(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name)
    try {
      return sum + (entry.isDirectory() ? bytesIn(path) : statSync(path).blocks * 512)
    } catch {
      return sum
    }
  }, 0)
}
