// The only dice in the house, so that a simulation can load them.
import { randomBytes } from 'node:crypto'

export interface Random {
  bytes(count: number): Buffer
}

export const realRandom: Random = { bytes: (count) => randomBytes(count) }

/** Lower-case hex, `bytes` * 2 characters: safe in file names, URNs and job ids. */
export function token(random: Random, bytes = 8): string {
  return random.bytes(bytes).toString('hex')
}
