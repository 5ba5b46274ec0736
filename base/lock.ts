// An exclusive lock on a folder, held by the kernel for as long as the process lives: kill -9 frees it too.
import koffi from 'koffi'
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { Refusal } from './errors.js'

const libc = koffi.load('libc.so.6')
const flock = libc.func('int flock(int fd, int operation)') as (fd: number, operation: number) => number
const exclusiveNow = 2 | 4 // LOCK_EX | LOCK_NB

/** Takes the lock file or refuses, naming the process that has it. Returns how to give it back. */
export function takeLock(path: string, what: string): () => void {
  const fd = openSync(path, 'a+', 0o600)
  if (flock(fd, exclusiveNow) !== 0) {
    const holder = readFileSync(path, 'utf8').trim()
    closeSync(fd)
    throw new Refusal('busy', `${what} is in use by ${holder === '' ? 'another process' : `process ${holder}`}: stop it, or choose another folder with --state`)
  }
  ftruncateSync(fd, 0)
  writeSync(fd, `${process.pid}\n`)
  return () => closeSync(fd)
}
