// Provision's first part: disk images that requests name by URL are fetched by the hosts. That may take long, and a job that waited
// would keep others from their turn: so it asks, says how far they are, and comes back.
import { explain, Failure } from '../base/errors.js'
import { limits } from '../base/limits.js'
import type { Operation } from '../slices/operation.js'
import { holds } from '../slices/slice-lock.js'
import type { SliceRecord } from '../slices/slice.js'
import type { Sliver } from '../slices/sliver.js'
import type { JobParts } from './surroundings.js'

/** The job is to run again after so long; its operation goes on. */
export interface Postponed { againMs: number }

/** Small ones are there at once. */
const atFirst = { forMs: 10_000, againMs: 250 }
const laterMs = 2_000

/** Undefined: all that can be had is there; `operation.params.lost` says what cannot. */
export async function fetchImages(at: JobParts, slice: SliceRecord, slivers: Sliver[], operation: Operation): Promise<Postponed | undefined> {
  const lost = operation.params.lost ?? {}
  const wanted = slivers.filter((s) => s.node.diskFrom !== undefined && lost[s.id] === undefined)
  const asked = await askAll(at, wanted, operation)
  const failed = asked.flatMap(({ sliver, why }) => (why === undefined ? [] : [[sliver.id, why] as const]))
  if (failed.length > 0) {
    operation.params = { ...operation.params, lost: { ...lost, ...Object.fromEntries(failed) } }
    await at.store.saveOperation({ ...operation, state: 'running' }) // a host tells of a failure for seconds only
  }
  const waiting = new Map(asked.flatMap(({ sliver, how }) => (how === undefined ? [] : [[sliver.id, `its disk image is being fetched: ${how}`] as const])))
  if (waiting.size === 0) return undefined
  await tell(at, slice, operation, waiting)
  const age = at.clock.now() - Date.parse(operation.created)
  return { againMs: age < atFirst.forMs ? atFirst.againMs : laterMs }
}

/** An agent that is away is started again, and fetches anew. */
const toldBy = (error: unknown): { how: string } | { why: string } =>
  (error instanceof Failure && ['host-lost', 'timed-out'].includes(error.code) ? { how: 'its host does not answer' } : { why: explain(error) })

interface Asked { sliver: Sliver; how?: string; why?: string }

/** Each host is asked once for each image. */
async function askAll(at: JobParts, slivers: Sliver[], { who, created }: Operation): Promise<Asked[]> {
  const overdue = at.clock.now() - Date.parse(created) > limits.imageWaitMs
  const answers = new Map<string, Promise<Omit<Asked, 'sliver'>>>()
  return Promise.all(slivers.map(async (sliver) => {
    const source = sliver.node.diskFrom!
    const key = `${sliver.host} ${source.sha256} ${source.url}`
    const answer = answers.get(key) ?? at.hosts.fetchImage(sliver.host, { source, owner: who, quotas: at.room.quotas, floorBytes: at.room.floorBytes })
      .then((state) => (state.state === 'there' ? {} : { how: state.how }), toldBy)
      .then((state) => ('how' in state && overdue ? { why: `its disk image has not come in ${limits.imageWaitMs / 3_600_000} hours: ${state.how}` } : state))
    answers.set(key, answer)
    return { sliver, ...await answer }
  }))
}

async function tell(at: JobParts, slice: SliceRecord, operation: Operation, texts: Map<string, string>): Promise<void> {
  await at.store.update(slice.urn, (record) => {
    const told = record.slivers.filter((s) => texts.has(s.id) && s.resourceStatus !== texts.get(s.id))
    if (told.length === 0 || !holds(record, operation)) return undefined
    for (const sliver of told) sliver.resourceStatus = texts.get(sliver.id)!
    return record
  })
}
