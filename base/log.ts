// Logging: JSON lines on stderr, one logger a process, so that one call id can be followed through all of them.
import { pino, type Logger } from 'pino'

export type Log = Logger

/** The one logger of a process, made in its main.ts and handed down. JSON lines on stderr. */
export function makeLog(process: string, level = 'info'): Log {
  return pino({ level, base: { process }, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ fd: 2, sync: true }))
}

/** For tests and library use: says nothing. */
export const silentLog: Log = pino({ level: 'silent' })
