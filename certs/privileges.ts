// Which privilege of a credential allows which kind of call. Issuers disagree on names (SFA, ProtoGENI, ORCA), so the
// table takes what any of them grants for the same thing.

/** Kinds of calls. Snapshots, suspend, resume, rollback and policies are 'change'; listing them is 'read'. */
export type Operation = 'list-resources' | 'read' | 'change' | 'shutdown'

const change = ['*', 'embed', 'bind', 'control', 'instantiate', 'pi', 'sa', 'authority']

const privileges: Record<Operation, ReadonlySet<string> | 'any'> = {
  'list-resources': 'any', // any valid credential of the caller: the resources are no secret among members
  read: new Set([...change, 'info']),
  change: new Set(change),
  shutdown: new Set(['*', 'embed', 'control', 'pi', 'authority']),
}

/** Does one of these privileges allow the operation? */
export function allows(operation: Operation, names: readonly string[]): boolean {
  const wanted = privileges[operation]
  return wanted === 'any' || names.some((name) => wanted.has(name))
}

/** The privileges that would do, for the answer to somebody who has none of them. */
export function privilegesFor(operation: Operation): string[] {
  const wanted = privileges[operation]
  return wanted === 'any' ? [] : [...wanted]
}
