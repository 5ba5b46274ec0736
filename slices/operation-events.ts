// Begin and end of operations in plain sentences, for the event log. Periodic snapshots come so often that of them only
// what became of them is told (snapshot-committed, snapshot-aborted), and a failure.
import type { Happening } from './event.js'
import type { Operation } from './operation.js'
import type { SliceRecord } from './slice.js'

const mostNames = 5
const forNobody = ['policy', 'recovery', 'lease']

/** Undefined: not told. */
export function begunEvent(slice: SliceRecord, operation: Operation): Happening | undefined {
  if (isPeriodic(operation)) return undefined
  const why = forNobody.includes(operation.who) ? `: ${operation.why}` : ''
  return { ...about(slice, operation), kind: 'operation-begun', text: `${phrase(slice, operation)} has begun${why}` }
}

/** `ended`: the operation with its end written in it. `slice`: as it was before that end. */
export function endedEvent(slice: SliceRecord, ended: Operation): Happening | undefined {
  const common = about(slice, ended)
  const what = phrase(slice, ended)
  if (ended.state === 'done') {
    if (isPeriodic(ended)) return undefined
    const ms = ended.result['runningMs']
    return { ...common, kind: 'operation-done', text: `${what} is done${ms === undefined ? '' : `: running again after ${ms} ms`}` }
  }
  const why = ended.error === '' ? 'another operation came first' : ended.error
  return { ...common, kind: 'operation-failed', text: ended.state === 'pre-empted' ? `${what} was given up: ${why}` : `${what} failed: ${why}` }
}

const isPeriodic = (operation: Operation): boolean => operation.kind === 'snapshot' && operation.who === 'policy'

function about(slice: SliceRecord, operation: Operation): Pick<Happening, 'op' | 'who' | 'node'> {
  const names = nodesOf(slice, operation)
  const one = names.length === 1 && ['provision', 'start', 'stop', 'restart', 'update-users', 'create-image', 'delete'].includes(operation.kind)
  return { op: operation.id, who: operation.who, ...(one ? { node: names[0]! } : {}) }
}

function phrase(slice: SliceRecord, operation: Operation): string {
  const { snapshot, name } = operation.params
  const id = snapshot === undefined ? '' : name === undefined ? ` ${snapshot}` : ` ${name} (${snapshot})`
  switch (operation.kind) {
    case 'snapshot': return `snapshot${id}`
    case 'suspend': return `suspend with snapshot${id}`
    case 'resume': return `resume from snapshot${id}`
    case 'rollback': return `rollback to snapshot${id}`
    case 'delete-snapshot': return `removal of snapshot${id}`
    case 'halt': return snapshot === undefined ? 'halt of the whole slice' : `suspension of the whole slice at snapshot${id}`
    case 'update-users': return `change of the accounts of ${listed(nodesOf(slice, operation))}`
    case 'create-image': return `image ${operation.params.image?.name ?? ''} of the disk of ${listed(nodesOf(slice, operation))}`
    case 'shutdown': return 'shutdown of the whole slice'
    default: return `${operation.kind} of ${listed(nodesOf(slice, operation))}`
  }
}

const nodesOf = (slice: SliceRecord, operation: Operation): string[] =>
  slice.slivers.filter((s) => operation.params.slivers?.includes(s.id) ?? true).map((s) => s.clientId)

/** Names for a sentence: `a, b`; of many only the first. */
export function listed(names: string[]): string {
  if (names.length === 0) return 'no node'
  return names.length <= mostNames ? names.join(', ') : `${names.slice(0, mostNames).join(', ')} and ${names.length - mostNames} more`
}
