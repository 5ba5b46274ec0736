// With the last VM of a slice the switch forgets it.
import { readableOr } from '../base/records.js'
import type { Log } from '../base/log.js'
import { noRun } from '../overlay/run.js'
import type { SliceMarks } from './slice-marks.js'
import type { SwitchLink } from './switch-link.js'

/** Never fails: a switch that is away has forgotten it already. */
export async function closeRunOf(at: { marks: SliceMarks; switchLink: SwitchLink; log: Log }, slice: string): Promise<void> {
  const marks = await readableOr(() => at.marks.get(slice), (why) => at.log.warn({ slice, why }, 'the switch is not told that a slice is gone'))
  const current = marks?.current ?? noRun
  if (current === noRun) return
  await at.switchLink.ask('closeRun', { slice, run: current })
    .catch((error: unknown) => at.log.warn({ err: error, slice }, 'the switch could not be told that a slice is gone'))
}
