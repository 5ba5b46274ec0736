// Our refusals and failures as GENI codes, and the struct that every answer is. Codes come from {0..17, 24} only: jFed
// throws on any other (AM API v3, "Return struct"; measured with real clients).
import { printable } from '../base/ascii.js'
import { explain, Failure, Refusal, type FailureCode, type RefusalCode } from '../base/errors.js'
import type { Struct, Value } from './xmlrpc/value.js'

const refusals = {
  'bad-arguments': 1, 'bad-version': 4, 'forbidden': 3, 'not-found': 12, 'busy': 14, 'unsupported': 13, 'exists': 17, 'expired': 15,
  'too-big': 6, 'shut-down': 11, 'refused': 7, 'no-vlan': 24,
} satisfies Record<RefusalCode, number>
const failures = { 'host-lost': 2, 'timed-out': 8, 'no-space': 2, 'aborted': 2, 'damaged': 2, 'failed': 2 } satisfies Record<FailureCode, number>
const internalError = 5

export function codeOf(error: unknown): number {
  if (error instanceof Refusal) return refusals[error.code]
  if (error instanceof Failure) return failures[error.code]
  return internalError
}

export function success(value: Value): Struct {
  return { code: { geni_code: 0, am_type: 'violin' }, value, output: '' }
}

/** `value` is never absent; jFed reads an array there when an action was refused. */
export function failure(error: unknown, method: string): Struct {
  const code = codeOf(error)
  const output = code === internalError ? 'internal error of the aggregate: its log has the details' : printable(explain(error))
  return { code: { geni_code: code, am_type: 'violin' }, value: method === 'PerformOperationalAction' ? [] : '', output }
}
