// Chance of the product: it comes from the seed.
import { world } from '../world.js'

export { createHash } from 'node:crypto'
export const randomBytes = (count: number): Buffer => world().tokens.bytes(count)
