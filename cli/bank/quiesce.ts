// Counting needs a moment when nothing is in flight. Sending is stopped everywhere while receiving goes on, and the
// counters are read until they stand still.
import { Failure } from '../../base/errors.js'
import type { Clock } from '../../base/time.js'
import type { BankReport, NamedReport } from './report.js'

export interface CountableBank {
  readonly name: string
  report(): Promise<BankReport>
  stop(): Promise<void>
}

const everyMs = 150
const boundMs = 15_000
/** TCP repairs a loss by itself, but may wait seconds before it sends again: counters that stand still prove nothing yet. */
const streamPatienceMs = 5_000

/** Stops all banks and gives their reports once two rounds are equal; a Failure when they do not settle within 15 s. */
export async function quiesce(banks: CountableBank[], clock: Clock): Promise<NamedReport[]> {
  await Promise.all(banks.map((bank) => bank.stop()))
  const begun = clock.monotonic()
  let before = ''
  while (clock.monotonic() - begun < boundMs) {
    const reports = await Promise.all(banks.map(async (bank) => ({ name: bank.name, report: await bank.report() })))
    const counters = JSON.stringify(reports.map(({ report }) => ({ ...report, uptimeMs: 0 })))
    const waited = clock.monotonic() - begun
    if (counters === before && (streamsWhole(reports) || waited >= streamPatienceMs)) return reports
    before = counters
    await clock.sleep(everyMs)
  }
  throw new Failure('timed-out', `the banks of ${banks.map((b) => b.name).join(', ')} were stopped and still count after ${boundMs / 1000} s`)
}

function streamsWhole(reports: NamedReport[]): boolean {
  const sum = (member: 'sent' | 'received') => reports.reduce((n, r) => n + r.report.tcp[member], 0)
  return sum('sent') === sum('received')
}
