// Files that others hold open for appending and that must not grow for ever: logs of processes, consoles of VMs. The holder
// need not know: what is there goes into a copy, the file becomes empty, and the next line goes to its new end.
import { open, rename } from 'node:fs/promises'

const chunkBytes = 256 * 1024

/**
 * Moves what `path` holds to `to`, which is whole whenever it is there, and empties `path`. What is written between the last
 * look at the end and the cut is lost: well under a millisecond. Before: whoever writes has opened it for appending.
 */
export async function cutOff(path: string, to: string): Promise<void> {
  const from = await open(path, 'r+')
  try {
    const copy = await open(`${to}.new`, 'w', 0o600)
    try {
      const chunk = Buffer.alloc(chunkBytes)
      for (let at = 0; ;) {
        const { bytesRead } = await from.read(chunk, 0, chunk.length, at)
        if (bytesRead === 0) break
        await copy.write(chunk, 0, bytesRead, at)
        at += bytesRead
      }
      await from.truncate(0)
    } finally {
      await copy.close()
    }
  } finally {
    await from.close()
  }
  await rename(`${to}.new`, to)
}
