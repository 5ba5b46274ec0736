// Fetches a file that may be large into a file of ours: from below a place that the operator allows (base/source.ts), without following
// anybody elsewhere, no more than so many bytes, and only with the digest that was asked for.
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { get } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { fileURLToPath } from 'node:url'
import { limits } from '../base/limits.js'
import type { DigestedSource } from '../base/source.js'
import { shownSize } from '../base/sizes.js'
import { openBelow } from './fetch.js'

interface FileFetch {
  places: readonly string[]
  mostBytes: number
  signal: AbortSignal
  /** Told as it goes on; `of` where it is known. */
  onBytes: (bytes: number, of: number | undefined) => void
  stallMs?: number
  /** A certificate authority in place of the ones that Node.js trusts. */
  ca?: string
}

interface Incoming { size: number | undefined; chunks: AsyncIterable<Buffer>; close(): Promise<void> }

/** Writes what `source` names to `path`. On failure a part of it may be left there. */
export async function fetchFile({ url, sha256 }: DigestedSource, path: string, how: FileFetch): Promise<void> {
  const from = url.startsWith('file:') ? await fromFile(url, how) : await fromServer(url, how)
  try {
    if (from.size !== undefined && from.size > how.mostBytes) throw tooLarge(how.mostBytes)
    const { digest, bytes } = await write(from, path, how)
    if (from.size !== undefined && bytes !== from.size) throw new Error(`it ended after ${bytes} of ${from.size} bytes`)
    if (digest !== sha256) throw new Error(`its digest is ${digest}, not the one asked for`)
  } finally {
    await from.close()
  }
}

async function write({ chunks, size }: Incoming, path: string, { mostBytes, signal, onBytes }: FileFetch): Promise<{ digest: string; bytes: number }> {
  const hash = createHash('sha256')
  const file = await open(path, 'w', 0o600)
  let bytes = 0
  try {
    for await (const chunk of chunks) {
      signal.throwIfAborted()
      bytes += chunk.length
      if (bytes > mostBytes) throw tooLarge(mostBytes)
      hash.update(chunk)
      for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten
      onBytes(bytes, size)
    }
  } finally {
    await file.close()
  }
  return { digest: hash.digest('hex'), bytes }
}

async function fromFile(url: string, { places }: FileFetch): Promise<Incoming> {
  const { file, size } = await openBelow(fileURLToPath(url), places, Infinity)
  const chunks = file.createReadStream({ highWaterMark: 1024 * 1024, autoClose: false }) as AsyncIterable<Buffer>
  return { size, chunks, close: () => file.close() }
}

async function fromServer(url: string, { signal, ca, stallMs = limits.imageStallMs }: FileFetch): Promise<Incoming> {
  const request = get(url, { signal, agent: false, timeout: stallMs, headers: { 'accept-encoding': 'identity' }, ...ca === undefined ? {} : { ca } })
  const stalled = () => new Error(`nothing has come for ${stallMs / 1000} s`)
  const early = () => request.destroy(stalled())
  request.on('timeout', early)
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject) // stays: later ones are told by the body too
  })
  request.off('timeout', early).on('timeout', () => answer.destroy(stalled()))
  const close = async (): Promise<void> => { request.destroy() }
  if (answer.statusCode !== 200) {
    await close()
    const { location } = answer.headers
    const elsewhere = location === undefined ? '' : `, which leads to ${location.slice(0, 200)}: give that place, if the operator allows it`
    throw new Error(`the answer of ${new URL(url).host} is ${answer.statusCode} ${answer.statusMessage ?? ''}`.trim() + elsewhere)
  }
  const length = answer.headers['content-length']
  return { size: length === undefined ? undefined : Number(length), chunks: answer as AsyncIterable<Buffer>, close }
}

const tooLarge = (most: number): Error => new Error(`it is larger than ${shownSize(most)}, which is the most that one may have here`)
