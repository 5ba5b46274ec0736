// Fetches a file that a user has named, from a place that the operator allows (base/source.ts): within time and size, without
// following anybody elsewhere, and with the digest that was given.
import { createHash } from 'node:crypto'
import { open, realpath, stat, type FileHandle } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { explain, Failure } from '../base/errors.js'
import type { Source } from '../base/source.js'

export interface FetchBounds { bytes: number; ms: number }
export const archiveBounds: FetchBounds = { bytes: 16 * 1024 * 1024, ms: 10_000 }

export async function fetchSource({ url, sha256 }: Source, places: readonly string[], bounds = archiveBounds): Promise<Buffer> {
  const wrong = (why: string, cause?: unknown) => new Failure('failed', `${url} cannot be fetched: ${why}`, cause === undefined ? undefined : { cause })
  let bytes: Buffer
  try {
    bytes = url.startsWith('file:') ? await readBelow(fileURLToPath(url), places, bounds.bytes) : await download(url, bounds)
  } catch (error) {
    throw error instanceof Error && error.name === 'TimeoutError' ? wrong(`it took longer than ${bounds.ms / 1000} s`) : wrong(explain(error))
  }
  const digest = createHash('sha256').update(bytes).digest('hex')
  if (sha256 !== undefined && digest !== sha256) throw wrong(`its digest is ${digest}, not the one asked for`)
  return bytes
}

/** Opens a file below one of the places. Links may lead out of the place: what they lead to is asked. */
export async function openBelow(path: string, places: readonly string[], most: number): Promise<{ file: FileHandle; size: number }> {
  const real = await realpath(path)
  const local = places.filter((place) => place.startsWith('file:'))
  const folders = await Promise.all(local.map((place) => realpath(fileURLToPath(place)).catch(() => undefined)))
  if (!folders.some((folder) => folder !== undefined && real.startsWith(`${folder === '/' ? '' : folder}/`))) throw new Error('it leads out of its place')
  if (!(await stat(real)).isFile()) throw new Error('it is no file') // first: opening a pipe would wait
  const file = await open(real)
  try {
    const { size } = await file.stat()
    if (size > most) throw tooLarge(most)
    return { file, size }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function readBelow(path: string, places: readonly string[], most: number): Promise<Buffer> {
  const { file } = await openBelow(path, places, most)
  try {
    return await file.readFile()
  } finally {
    await file.close()
  }
}

async function download(url: string, { bytes, ms }: FetchBounds): Promise<Buffer> {
  const answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(ms) })
  if (!answer.ok || !answer.body) throw new Error(`the answer is ${answer.status}`)
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of answer.body as unknown as AsyncIterable<Uint8Array>) {
    size += part.length
    if (size > bytes) throw tooLarge(bytes)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

const tooLarge = (most: number): Error => new Error(`it is larger than ${most} bytes`)
