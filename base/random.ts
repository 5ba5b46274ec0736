// The only dice in the house, so that a simulation can load them.
import { createHash, randomBytes } from 'node:crypto'

export interface Random {
  bytes(count: number): Buffer
}

export const realRandom: Random = { bytes: (count) => randomBytes(count) }

/** Lower-case hex, `bytes` * 2 characters: safe in file names, URNs and job ids. */
export function token(random: Random, bytes = 8): string {
  return random.bytes(bytes).toString('hex')
}

/** Chance that the same seed gives again: fractions from 0 to 1, without 1 (sfc32). For emulation, never for secrets. */
export function seededFractions(seed: string): () => number {
  const start = createHash('sha256').update(seed).digest()
  let [a, b, c, d] = [0, 4, 8, 12].map((at) => start.readUInt32LE(at)) as [number, number, number, number]
  return () => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + t | 0
    return (t >>> 0) / 4_294_967_296
  }
}
