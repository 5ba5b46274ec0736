// The format of a state folder: what `up` may find there, in one number. STATE/format is written when the folder is new and after
// each migration, last and durably: a migration that dies half way is begun again. docs/upgrading.md tells it to the operator.
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeDurably } from '../../base/durable.js'
import { Failure, Refusal } from '../../base/errors.js'
import { checkEverything } from './check-records.js'
import type { Layout } from './layout.js'

/** `software`: the last program that has used the folder. */
export interface StateFormat { format: number; software: string }
/** May be run again on what an earlier try has left half done. */
export interface Migration { from: number; to: number; what: string; run(layout: Layout): Promise<void> }

export const stateFormat = 1
/** 0 is a folder with contents and without STATE/format: it was made before there was this file. */
const migrations: Migration[] = [
  { from: 0, to: 1, what: 'checking that all records in it can be read', run: checkEverything },
]

/** Before: we hold the lock of the folder. After: its contents are of our format and STATE/format says so. Refuses a newer one. */
export async function bringUpToDate(
  layout: Layout, software: string, say: (line: string) => void, ways = { current: stateFormat, migrations },
): Promise<void> {
  const path = join(layout.state, 'format')
  const found = await formatOf(layout, path)
  const { current } = ways
  if (found && found.format > current) {
    throw new Refusal('unsupported', `the state folder ${layout.state} has format ${found.format} (geni-violin ${found.software} has used it), this program ` +
      `(${software}) understands ${current}: start it with that program or a newer one, or choose another folder with --state`)
  }
  let at = found?.format ?? current
  while (at < current) {
    const next = ways.migrations.find((m) => m.from === at)
    if (!next) throw new Failure('failed', `there is no way from format ${at} of the state folder ${layout.state} to ${current}: an older program may know one`)
    say(`state folder: from format ${next.from} to ${next.to}: ${next.what}`)
    await next.run(layout)
    await stamp(path, { format: next.to, software })
    at = next.to
  }
  if (found?.software !== software || found.format !== current) await stamp(path, { format: current, software })
}

const stamp = (path: string, content: StateFormat): Promise<void> => writeDurably(path, `${JSON.stringify(content)}\n`)

/** Undefined: there is nothing in it yet. */
async function formatOf(layout: Layout, path: string): Promise<StateFormat | undefined> {
  try {
    return parse(await readFile(path, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new Failure('damaged', `${path} cannot be read, so the format of the state folder is not known: put it back from a copy, or choose another ` +
        `folder with --state. Where this program has used the folder last it says {"format":${stateFormat},"software":"..."}`, { cause: error })
    }
  }
  const folders = [layout.federation, layout.redis, layout.store, layout.switch, layout.host]
  return folders.some((folder) => hasContents(folder)) ? { format: 0, software: '0.1.0 or earlier' } : undefined
}

function parse(text: string): StateFormat {
  const { format, software } = jsonOf(text) as StateFormat
  if (!Number.isSafeInteger(format) || format < 0 || typeof software !== 'string') throw new Error('it has no format and software')
  return { format, software }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) ?? {}
  } catch {
    throw new Error('it is no JSON')
  }
}

function hasContents(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
