// The beat of the pacer, in a thread of its own: whatever the agent does meanwhile, it comes in time. It says nothing but its own id, once.
import koffi from 'koffi'
import { parentPort, workerData } from 'node:worker_threads'
import { mayRush, setUrgency } from '../../../base/priority.js'
import { beat, gapUs, slotUs, type PacerStart } from './pacer-beat.js'

const libc = koffi.load('libc.so.6')
const gettid = libc.func('int gettid()') as () => number
const usleep = libc.func('int usleep(uint us)') as (us: number) => number

const { shared, lanes } = workerData as PacerStart
const self = gettid()
parentPort!.postMessage(self)
setUrgency([self], 'leading')
if (mayRush(self)) {
  Atomics.store(shared, beat.state, 1)
  for (;;) {
    Atomics.wait(shared, beat.count, 0)
    if (Atomics.load(shared, beat.state) === 0) break
    round(paced())
  }
}

function paced(): number[] {
  return [...shared.subarray(beat.first, beat.first + Atomics.load(shared, beat.count))]
}

function round(threads: number[]): void {
  setUrgency([self], 'leading') // all threads of the agent fall back after a cut, and this one may not be known yet
  for (let i = 0; i < threads.length; i += lanes) {
    const now = threads.slice(i, i + lanes)
    setUrgency(now, 'soon')
    usleep(slotUs)
    setUrgency(now, 'last')
    const still = paced()
    setUrgency(now.filter((thread) => !still.includes(thread)), 'ordinary') // it was taken out meanwhile, and we came after that
  }
  usleep(gapUs(Math.ceil(threads.length / lanes)))
}
