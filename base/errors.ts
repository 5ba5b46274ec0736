// Two kinds of error and no more. A Refusal says no and has changed nothing; a Failure tried and was told no by the
// world. Anything else that is thrown is a bug, and only the outermost edge catches it.

export type RefusalCode =
  | 'bad-arguments' | 'bad-version' | 'forbidden' | 'not-found' | 'busy' | 'unsupported' | 'exists' | 'expired'
  | 'too-big' | 'shut-down' | 'refused' | 'no-vlan'
export type FailureCode = 'host-lost' | 'timed-out' | 'no-space' | 'aborted' | 'damaged' | 'failed'

/** The caller asked for something we will not do. Nothing has changed. */
export class Refusal extends Error {
  override name = 'Refusal'
  readonly code: RefusalCode
  constructor(code: RefusalCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** We tried and the world said no. What we had begun has been undone. */
export class Failure extends Error {
  override name = 'Failure'
  readonly code: FailureCode
  constructor(code: FailureCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The whole chain of causes on one line: `cannot cut vm-3: QMP stop timed out: socket closed`. */
export function explain(error: unknown): string {
  const parts: string[] = []
  for (let e: unknown = error, depth = 0; e !== undefined && depth < 10; depth++) {
    parts.push(e instanceof Error ? e.message : typeof e === 'string' ? e : JSON.stringify(e))
    e = e instanceof Error ? e.cause : undefined
  }
  return parts.join(': ')
}

/** Ends a switch over a union: the compiler refuses it when a member was forgotten. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}
