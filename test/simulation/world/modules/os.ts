import { world } from '../world.js'

// A machine that always has the same memory free.
export const freemem = (): number => 8 * 1024 ** 3
export const totalmem = (): number => 16 * 1024 ** 3

/** Few or many: VMs are cut one after another, or side by side. */
export const availableParallelism = (): number => (world().seed % 2 === 0 ? 2 : 8)
