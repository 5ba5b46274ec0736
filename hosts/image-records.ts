// A folder of images that can be had again: a record beside each file, and the record of none that is not whole. What an agent that died
// has left half made goes.
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder, removeDurably } from '../base/durable.js'
import { readableOr, readRecord, type Form } from '../base/records.js'

export interface RecordsOf<T> {
  form: Form<T>
  /** Name of its files, without their endings. */
  idOf: (record: T) => string
  /** How long its file is. */
  bytesOf: (record: T) => number
  /** A record cannot be read. */
  onLost: (why: string) => void
}

/** After: only what is whole and has a record is there; these records. */
export async function openImageRecords<T extends { format: number }>(folder: string, { form, idOf, bytesOf, onLost }: RecordsOf<T>): Promise<T[]> {
  await makeFolder(folder)
  const files = await readdir(folder)
  const records: T[] = []
  for (const file of files.filter((f) => f.endsWith('.json'))) {
    const path = join(folder, file)
    const record = await readableOr(() => readRecord(path, form), onLost)
    if (record && file === `${idOf(record)}.json` && await isWhole(join(folder, `${idOf(record)}.qcow2`), bytesOf(record))) records.push(record)
    else await removeDurably(path)
  }
  const known = new Set(records.flatMap((record) => [`${idOf(record)}.json`, `${idOf(record)}.qcow2`]))
  for (const file of files.filter((f) => !known.has(f))) await rm(join(folder, file), { force: true })
  return records
}

export const isWhole = (path: string, bytes: number): Promise<boolean> => stat(path).then(({ size }) => size === bytes, () => false)
