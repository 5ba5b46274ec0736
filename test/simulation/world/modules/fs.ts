// node:fs, as far as the product that is simulated asks for it.
import { readStream } from './fs-promises.js'

export const createReadStream = (path: string): AsyncIterable<Buffer> => readStream(path)
export const constants = { X_OK: 1 }

const never = (name: string) => (): never => { throw new Error(`${name} is not simulated`) }
export const openSync = never('openSync')
export const closeSync = (): void => undefined
export const writeSync = (_fd: number, bytes: Buffer): number => bytes.length
export const readFileSync = never('readFileSync')
export const readSync = never('readSync')
export const readdirSync = (): string[] => []
export const ftruncateSync = never('ftruncateSync')
export const renameSync = never('renameSync')
export const chmodSync = (): void => undefined
export const rmSync = (): void => undefined
