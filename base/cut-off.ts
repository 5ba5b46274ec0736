// Files that others hold open for appending and that must not grow for ever: logs of processes, consoles of VMs. The holder
// need not know: what is there goes into a copy, the file becomes empty, and the next line goes to its new end.
import { ftruncateSync, readSync, writeSync } from 'node:fs'
import { open, rename, rm, type FileHandle } from 'node:fs/promises'

const chunkBytes = 256 * 1024
/** A writer that is quicker than the copy is not followed for ever. */
const mostBytes = 1024 * 1024 * 1024

/**
 * Moves what `path` holds to `to`, which is whole whenever it is there, and empties `path`. What is written between the last
 * look at the end and the cut is lost: some microseconds, where the machine lets us run. Before: whoever writes has opened it for appending. On failure
 * `path` is as it was.
 */
export async function cutOff(path: string, to: string): Promise<void> {
  const copy = `${to}.new`
  const from = await open(path, 'r+')
  try {
    const into = await open(copy, 'w', 0o600)
    try {
      const end = await copyFrom(from, into, 0).catch(async (error: unknown) => {
        await rm(copy, { force: true }) // a part of it would only take room
        throw error
      })
      await rename(copy, to)
      cutAfter(from.fd, into.fd, await copyFrom(from, into, end)) // what came meanwhile
    } finally {
      await into.close()
    }
  } finally {
    await from.close()
  }
}

/** The last look and the cut, at once: between two turns of the event loop a quick writer writes hundreds of lines. */
function cutAfter(from: number, into: number, begin: number): void {
  const chunk = Buffer.alloc(chunkBytes)
  for (let at = begin; at < mostBytes;) {
    const bytesRead = readSync(from, chunk, 0, chunk.length, at)
    if (bytesRead === 0) break
    for (let written = 0; written < bytesRead;) written += writeSync(into, chunk, written, bytesRead - written, at + written)
    at += bytesRead
  }
  ftruncateSync(from, 0)
}

/** Returns the end to which it has come. */
async function copyFrom(from: FileHandle, into: FileHandle, begin: number): Promise<number> {
  const chunk = Buffer.alloc(chunkBytes)
  let at = begin
  while (at < mostBytes) {
    const { bytesRead } = await from.read(chunk, 0, chunk.length, at)
    if (bytesRead === 0) break
    for (let written = 0; written < bytesRead;) written += (await into.write(chunk, written, bytesRead - written, at + written)).bytesWritten
    at += bytesRead
  }
  return at
}
