// Actions that only read: what happened (violin_events), what a node's console says (violin_console), and where a browser finds
// that (geni_console_url). They are allowed in every state, also while the slice is busy.
import { Failure, Refusal } from '../../base/errors.js'
import type { SliceEvent } from '../../slices/event.js'
import { provisioned, type SliceRecord } from '../../slices/slice.js'
import { consoleUrl } from '../console-page.js'
import { sliverStruct, type AmParts, type Target } from '../context.js'
import { countOption } from '../options.js'
import { xmlSafe } from '../xmlrpc/encode.js'
import type { Struct, Value } from '../xmlrpc/value.js'

const events = { least: 1, most: 1000, standard: 100 }
const consoleBytes = { least: 1, most: 1024 * 1024, standard: 16 * 1024 }
/** Of one answer: clients read it whole into memory, and so do we. */
const mostConsoleBytes = 8 * 1024 * 1024

/** The first sliver carries the events, oldest first, so that they are sent once. */
export async function tellEvents(at: AmParts, slice: SliceRecord, target: Target, options: Struct): Promise<Value> {
  const told = (await at.store.events(slice.uuid, countOption(options, 'violin_count', events))).map(eventStruct)
  return target.slivers.map((s, i) => sliverStruct(s, i === 0 ? { violin_events: told } : {}))
}

const eventStruct = ({ at, kind, text, op, who, node }: SliceEvent): Struct => ({ at, kind, text: xmlSafe(text), op, who, node })

/** Each sliver carries the end of its console. */
export async function showConsoles(at: AmParts, target: Target, options: Struct): Promise<Value> {
  const bytes = countOption(options, 'violin_bytes', consoleBytes)
  if (bytes * target.slivers.length > mostConsoleBytes) {
    const fit = Math.floor(mostConsoleBytes / target.slivers.length)
    const much = `violin_bytes ${bytes} of ${target.slivers.length} slivers is too much for one answer`
    throw new Refusal('bad-arguments', `${much}: ask for fewer slivers, or for ${fit} bytes`)
  }
  const texts = await at.questions.consoles(target.slivers.map((s) => ({ host: s.host, vm: s.id })), bytes)
  return target.slivers.map((sliver) => {
    const text = texts[sliver.id]
    if (text === undefined) throw new Failure('failed', `the console of ${sliver.clientId} is missing in the answer`)
    return sliverStruct(sliver, { violin_console: xmlSafe(text) })
  })
}

/** As other aggregates answer it: the URL and nothing around it. */
export function nameConsole(at: AmParts, target: Target): Value {
  const [sliver, ...others] = target.slivers
  if (!sliver || others.length > 0) {
    throw new Refusal('bad-arguments', `geni_console_url is for one sliver: give its URN, not those of ${target.slivers.length}`)
  }
  return consoleUrl(at.publicUrl, sliver)
}

/** What an action on single slivers means by a slice URN: those that have, or will have, a VM. */
export const withProvisioned = (slice: SliceRecord, target: Target): Target =>
  target.bySlice && provisioned(slice).length > 0 ? { ...target, slivers: provisioned(slice) } : target
