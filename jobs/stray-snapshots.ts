// Folders of snapshots that the catalogue does not name, and names without a folder: of a cut whose worker stood still while another one
// took its place, or whose hosts never said that they had heard how it ended. Who is at work on a slice tidies up behind itself; this
// is for what nobody is at work on any more.
import { explain } from '../base/errors.js'
import type { SnapshotEntry } from '../snapshots/needs.js'
import { noteCatalogue } from './snapshot-jobs.js'
import type { JobParts } from './surroundings.js'

/** What differed at the last look, and whether it was mended then: what stays as it was (a damaged snapshot) is not tried again. */
interface Seen { difference: string; mended: boolean }

/** Gives what is to be called now and then. A difference must be there at two looks in a row: the first may be of something that just ends. */
export function strayLook(at: JobParts): () => Promise<void> {
  const seen = new Map<string, Seen>()
  return async () => {
    for (const { uuid, urn, token, operation } of await at.store.slices()) {
      const difference = operation ? '' : await differenceOf(at, uuid)
      const last = seen.get(uuid)
      if (difference === '') seen.delete(uuid)
      else if (last?.difference !== difference) seen.set(uuid, { difference, mended: false })
      else if (!last.mended) {
        const now = await at.store.slice(urn)
        if (!now || now.operation || now.token !== token) continue // since we looked
        last.mended = true
        at.log.warn({ slice: urn, difference }, 'the catalogue and the folders of snapshots differ: mending it')
        await mend(at, uuid).catch((error: unknown) => {
          last.mended = false
          at.log.warn({ slice: urn, why: explain(error) }, 'it could not be mended: trying again')
        })
      }
    }
  }
}

async function mend(at: JobParts, uuid: string): Promise<void> {
  await at.snapshots.endOpen(uuid)
  await noteCatalogue(at, uuid)
}

/** Names only: no file of a snapshot is read for it. */
async function differenceOf(at: JobParts, uuid: string): Promise<string> {
  const named = new Set(((await at.store.snapshots(uuid)) as SnapshotEntry[]).map((e) => e.id))
  const there = new Set(await at.snapshots.names(uuid))
  const lacking = [...there].filter((id) => !named.has(id)).map((id) => `+${id}`)
  const gone = [...named].filter((id) => !there.has(id)).map((id) => `-${id}`)
  return [...lacking, ...gone].sort().join(' ')
}
