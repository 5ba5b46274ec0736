// Who writes the memory of a running VM into its snapshot is waited for and in everybody's way at once: each page that the guest writes
// for the first time waits for it, and it is busy with all the other pages. Behind everybody else it lets guests stand for 100 ms and more
// over a few pages; before them it takes their processor. So it gets both, in turn: first of all for less than half a millisecond, then last
// of all for twice as long. The kernel's own means (SCHED_DEADLINE) are as coarse as its tick, 4 ms, and guests' TCP noticed it
// (docs/performance.md). A thread of its own keeps the beat (pacer-thread.ts), for the first seconds of a save: later new pages are few.
import { availableParallelism } from 'node:os'
import { Worker, type WorkerOptions } from 'node:worker_threads'
import type { Log } from '../../../base/log.js'
import { keepApart, setUrgency } from '../../../base/priority.js'
import { beat, most, type PacerStart } from './pacer-beat.js'

/** Most pages that a guest writes all the time have been written by then. */
const pacedMs = 3_000

/** From sources, as in the tests, the loader of the program must be told to the thread. */
function beginThread(options: WorkerOptions): Worker {
  const file = new URL('./pacer-thread.js', import.meta.url)
  if (!import.meta.filename.endsWith('.ts')) return new Worker(file, options)
  return new Worker(`import('tsx/esm/api').then(({ register }) => { register(); return import('${file.href}') })`, { ...options, eval: true })
}

export class Pacer {
  private readonly shared = new Int32Array(new SharedArrayBuffer(4 * (beat.first + most)))

  constructor(log: Log) {
    const start: PacerStart = { shared: this.shared, lanes: Math.max(1, Math.floor(availableParallelism() / 2)) }
    const worker = beginThread({ workerData: start, resourceLimits: { maxOldGenerationSizeMb: 16 } })
    worker.once('message', (thread: number) => {
      keepApart(thread)
      worker.unref()
    })
    worker.on('error', (error) => {
      Atomics.store(this.shared, beat.state, 0)
      log.error({ err: error }, 'who writes the memory of snapshots is not paced any more: guests stand longer after a cut')
    })
  }

  /** False: not there yet, or real-time classes may not be had (not root). */
  get paces(): boolean { return Atomics.load(this.shared, beat.state) === 1 }

  /** These write memory, until `remove` or for some seconds; then they are ordinary threads. Those that find no room are at once. */
  add(threads: readonly number[]): void {
    const count = Atomics.load(this.shared, beat.count)
    const room = this.paces ? most - count : 0
    setUrgency(threads.slice(0, room), 'last')
    setUrgency(threads.slice(room), 'ordinary')
    for (const [i, thread] of threads.slice(0, room).entries()) Atomics.store(this.shared, beat.first + count + i, thread)
    Atomics.store(this.shared, beat.count, count + Math.min(room, threads.length))
    Atomics.notify(this.shared, beat.count)
    setTimeout(() => this.remove(threads), pacedMs).unref()
  }

  /** Safe to call at any time, any number of times. */
  remove(threads: readonly number[]): void {
    const all = [...this.shared.subarray(beat.first, beat.first + Atomics.load(this.shared, beat.count))]
    const kept = all.filter((thread) => !threads.includes(thread))
    if (kept.length === all.length) return
    for (const [i, thread] of kept.entries()) Atomics.store(this.shared, beat.first + i, thread)
    Atomics.store(this.shared, beat.count, kept.length)
    setUrgency(all.filter((thread) => threads.includes(thread)), 'ordinary')
  }
}
