// A run is one life of a slice. Its name orders runs: a counter, then 32 random bits, so that no two hosts that lost
// touch can name the same run (cut protocol, hole 18). 16 hex digits: as text they sort as numbers do.
import type { Random } from '../base/random.js'

export const noRun = '0000000000000000'

/** A run later than every one in `seen`. */
export function nextRun(seen: string[], random: Random): string {
  const highest = Math.max(0, ...seen.map((run) => Number.parseInt(run.slice(0, 8), 16)))
  if (highest >= 0xffff_ffff) throw new Error('the run counter is used up')
  return (highest + 1).toString(16).padStart(8, '0') + random.bytes(4).toString('hex')
}
