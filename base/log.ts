// Logging: JSON lines on stderr, one logger a process, so that one call id can be followed through all of them. A log that cannot be
// written (its disk is full) costs lines and never a process.
import { writeSync } from 'node:fs'
import { pino, type Logger } from 'pino'

export type Log = Logger

const stderr = 2

/** The one logger of a process, made in its main.ts and handed down. JSON lines on stderr. */
export function makeLog(process: string, level = 'info'): Log {
  return pino({ level, base: { process }, timestamp: pino.stdTimeFunctions.isoTime }, { write: linesTo((bytes) => writeSync(stderr, bytes)) })
}

/** For tests and library use: says nothing. */
export const silentLog: Log = pino({ level: 'silent' })

/** Writes whole lines where it can; what cannot be written is lost, and the next line begins on a line of its own. */
export function linesTo(write: (bytes: Buffer) => number): (line: string) => void {
  let torn = false
  return (line) => {
    const bytes = Buffer.from(torn ? `\n${line}` : line)
    let done = 0
    try {
      while (done < bytes.length) done += write(bytes.subarray(done))
      torn = false
    } catch {
      torn ||= done > 0
    }
  }
}
