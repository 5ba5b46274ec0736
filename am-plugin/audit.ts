// The audit log: one line of JSON for each call, in a file of its own. It says who asked for what, on what, and why that
// was allowed or refused. Who runs the aggregate answers for it with this file, so it does not depend on the level of
// the other logs.
import { createHash } from 'node:crypto'
import { openSync, writeSync } from 'node:fs'
import type { ServerCall } from './server.js'

/** What a call has found out about its caller so far. */
export interface Who {
  /** URN of the user, once that is certain. */
  caller: string
  /** URN of the tool that speaks for the user. */
  tool?: string
  /** Why the rights were granted; absent as long as they were not. */
  granted?: string
}

export interface AuditLine {
  at: string
  call: string
  user: string
  tool?: string
  /** SHA-256 of the certificate that was shown, accepted or not. */
  certificate?: string
  method: string
  on: string
  allowed: boolean
  /** The GENI code of the answer. */
  code: number
  why: string
  /** What went wrong although it was allowed. */
  end?: string
  ms: number
}

export type Audit = (line: AuditLine) => void

interface Ended { call: ServerCall; who: Who; on: string; code: number; said: string | undefined; ms: number }

/** The line for a call that has ended. */
export function auditLine(at: string, { call, who, on, code, said, ms }: Ended): AuditLine {
  const leaf = call.peer[0]
  const { granted } = who
  return {
    at, call: call.callId, user: who.caller, ...(who.tool === undefined ? {} : { tool: who.tool }),
    ...(leaf === undefined ? {} : { certificate: createHash('sha256').update(leaf).digest('hex') }),
    method: call.method.slice(0, 80), on, allowed: granted !== undefined, code, why: (granted ?? said ?? '').slice(0, 2000),
    ...(granted === undefined || said === undefined ? {} : { end: said.slice(0, 2000) }), ms,
  }
}

/** Appends to `file`, readable by its owner only. A line that cannot be written is told, and the call goes on. */
export function openAudit(file: string, failed: (error: unknown) => void): Audit {
  const descriptor = openSync(file, 'a', 0o600)
  return (line) => {
    try {
      writeSync(descriptor, `${JSON.stringify(line)}\n`)
    } catch (error) {
      failed(error)
    }
  }
}
