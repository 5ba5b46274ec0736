// How often something is due: the pacing of images/bank.c in guest time, bounded after a delay so that a VM that stood for
// long does not flood the others.

/** In ms; `next` is when it is next due. */
export interface Pace { interval: number; next: number }

const catchUp = 10

/** How many are due by `now`; after a long delay no more than ten of them. */
export function due(pace: Pace, now: number): number {
  if (now < pace.next) return 0
  const n = Math.floor((now - pace.next) / pace.interval) + 1
  if (n > catchUp) {
    pace.next = now + pace.interval
    return catchUp
  }
  pace.next += n * pace.interval
  return n
}
