// Several frozen layers into one, by QEMU's own storage daemon: a process beside the VMs, which reads the layers while VMs do
// too, and writes one file that nobody knows yet. It is our child and ends with us.
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { syncFile } from '../../../base/durable.js'
import { Failure } from '../../../base/errors.js'
import { limits } from '../../../base/limits.js'
import { setUrgency, threadsOf } from '../../../base/priority.js'
import { until, within, type Clock } from '../../../base/time.js'
import type { LayersToMerge } from '../hypervisor.js'
import { monitorOf } from '../monitor-of.js'
import { killProcess, startTime } from '../process.js'
import { chainNode, nodesNamed } from './block-graph.js'
import { makeQcow2 } from './qcow2.js'
import { Qmp } from './qmp.js'

interface Job { id: string; status: string; error?: string }

/** After: `path` holds what `layers` hold, and lies on `on`; it is on disk. On failure there is no file. */
export async function mergeQcow2(path: string, { layers, on, sizeMiB }: LayersToMerge, clock: Clock, signal: AbortSignal): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'violin-merge-'))
  const monitor = join(folder, 'qmp')
  try {
    await makeQcow2(path, { base: layers.at(-1)!, sizeMiB }) // empty: its chain is given below
    const chain = [...on, ...layers, path]
    const daemon = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-storage-daemon', '--blockdev', JSON.stringify(chainNode(chain, true)),
      '--chardev', `socket,id=monitor,path=${monitor},server=on,wait=off`, '--monitor', 'chardev=monitor'], { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    daemon.stderr.on('data', (chunk: Buffer) => { said = (said + chunk.toString()).slice(-1_000) })
    const failed = new Promise<never>((_, reject) => {
      daemon.once('error', (cause) => reject(new Failure('failed', 'the storage daemon cannot be started: is qemu-system-common installed?', { cause })))
      daemon.once('exit', (code, signal) => reject(new Failure('failed', `the storage daemon ended (${signal ?? code ?? '?'}): ${said.trim()}`)))
    })
    failed.catch(() => undefined)
    await Promise.race([new Promise((resolve) => daemon.once('spawn', resolve)), failed])
    const ref = { pid: daemon.pid!, started: (await startTime(daemon.pid!)) ?? '' }
    try {
      const qmp = await Promise.race([monitorOf(ref, clock, () => Qmp.connect(monitor)), failed])
      setUrgency(threadsOf(ref.pid), 'behind')
      await Promise.race([stream(qmp, chain.length - 1, on, clock, signal), failed])
      await qmp.call('quit')
      await within(limits.qmpMs, failed.catch(() => undefined), () => new Failure('timed-out', 'the storage daemon does not end'))
    } finally {
      await killProcess(ref, clock)
    }
    await syncFile(path)
  } catch (cause) {
    await rm(path, { force: true })
    throw new Failure('failed', `${layers.length} disk layers cannot be merged`, { cause })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Fills the empty top with all that lies between it and `on`. */
async function stream(qmp: Qmp, top: number, on: string[], clock: Clock, signal: AbortSignal): Promise<void> {
  const base = on.length === 0 ? {} : { 'base-node': nodesNamed(String(on.length - 1)).layer, 'backing-file': on.at(-1)! }
  let end: Record<string, unknown> | undefined
  qmp.onEvent((e) => { if (e.event === 'BLOCK_JOB_COMPLETED' || e.event === 'BLOCK_JOB_CANCELLED') end = e.data ?? {} })
  await qmp.call('block-stream', { 'job-id': 'merge', device: nodesNamed(String(top)).layer, ...base })
  const done = await until(clock, limits.mergeMs, 10, async () => {
    signal.throwIfAborted()
    if (end) return end
    const jobs = await qmp.call<Job[]>('query-jobs')
    if (jobs.some((job) => job.id === 'merge')) return undefined
    return end ?? { error: 'it ended without a word' } // its last event comes before such an answer
  })
  if (!done) throw new Failure('timed-out', `merging takes longer than ${limits.mergeMs} ms`)
  if (typeof done['error'] === 'string') throw new Failure('failed', done['error'])
}
