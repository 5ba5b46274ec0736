// Records on disk and in Redis: JSON with a `format`. One of a format that this program does not know is never guessed at: the
// sentence names the record, the format found and the one understood. docs/upgrading.md tells what happens then.
import { readFile } from 'node:fs/promises'
import { explain, Failure } from './errors.js'

/** A record as it must be to be used: `format` is what we know; `unmarked` ones were written before their kind had a format. */
export interface Form<T> {
  format: number | string
  unmarked?: 'allowed'
  /** Is the rest what it must be, as far as it is used unseen? */
  is?: (record: T) => boolean
}

/** The record, or undefined where there is no file. Anything else that is wrong is a Failure, so that it is never taken for none. */
export async function readRecord<T extends object>(path: string, form: Form<T>): Promise<T | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Failure('damaged', `${path} cannot be read`, { cause: error })
  }
  return parseRecord(text, path, form)
}

/** `what`: how the record is called in the sentence that refuses it. */
export function parseRecord<T extends object>(text: string, what: string, form: Form<T>): T {
  let record: unknown
  try {
    record = JSON.parse(text)
  } catch (cause) {
    throw new Failure('damaged', `${what} is damaged: it is no JSON`, { cause })
  }
  if (typeof record !== 'object' || record === null) throw new Failure('damaged', `${what} is damaged: it is no record`)
  const found = (record as { format?: unknown }).format
  if (found !== form.format && !(found === undefined && form.unmarked)) {
    const shown = found === undefined ? 'no format' : `format ${JSON.stringify(found).slice(0, 60)}`
    throw new Failure('damaged', `${what} has ${shown}, this program understands ${JSON.stringify(form.format)}: use the program that wrote it, or a newer one`)
  }
  if (form.is && !holds(form.is, record as T)) throw new Failure('damaged', `${what} is damaged: parts of it are missing`)
  return record as T
}

function holds<T>(is: (record: T) => boolean, record: T): boolean {
  try {
    return is(record)
  } catch {
    return false
  }
}

/** Reads one of many: what is wrong with it is told and costs only itself. */
export async function readableOr<T>(read: () => Promise<T>, otherwise: (why: string) => void): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'damaged') throw error
    otherwise(explain(error))
    return undefined
  }
}
