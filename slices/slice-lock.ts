// One operation at a time per slice: the lock is a field of the record, taken by compare-and-set, with a token that only
// grows. A worker that was slow and comes back with an old token is refused everywhere.
import { Refusal } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import type { Log } from '../base/log.js'
import { rfc3339, type Clock } from '../base/time.js'
import { token as randomToken, type Random } from '../base/random.js'
import { noteEvent, type EventParts } from './event.js'
import { begunEvent, endedEvent } from './operation-events.js'
import type { Operation, OperationKind } from './operation.js'
import type { SliceRecord } from './slice.js'
import type { SliceStore } from './slice-store.js'

export interface NewOperation {
  kind: OperationKind
  who: string
  why: string
  callId: string
  params?: Operation['params']
  /** Delete, Shutdown and expiry void a cut that is under way. */
  preempts?: boolean
}

/**
 * Takes the slice for a new operation and changes the record with it, in one step. Refuses 'busy' when another operation
 * holds it; a snapshot of the policy never stands in a user's way.
 */
export async function beginOperation(
  at: { store: SliceStore; clock: Clock; random: Random; log?: Log }, urn: string, wanted: NewOperation,
  change: (slice: SliceRecord, operation: Operation) => void,
): Promise<{ slice: SliceRecord; operation: Operation }> {
  const id = `${wanted.kind}-${randomToken(at.random, 6)}`
  const now = rfc3339(at.clock.now())
  let operation: Operation | undefined
  faultPoint('operation.before-begun')
  const slice = await at.store.update(urn, (record) => {
    const holder = record.operation
    if (holder && !wanted.preempts && !holder.byPolicy) {
      throw new Refusal('busy', `the slice is busy with ${holder.kind} since ${holder.since}: try again in a few seconds`)
    }
    operation = {
      format: 1, rev: 1, id, kind: wanted.kind, slice: record.urn, who: wanted.who, why: wanted.why, callId: wanted.callId,
      token: record.token + 1, state: 'queued', params: wanted.params ?? {}, result: {}, error: '', created: now, ended: '',
    }
    record.token = operation.token
    record.operation = { id, kind: wanted.kind, since: now, byPolicy: wanted.who === 'policy' }
    change(record, operation)
    return record
  }, () => operation!)
  faultPoint('operation.begun')
  at.log?.info({ call: wanted.callId, op: id, kind: wanted.kind, slice: slice.urn }, 'operation begun')
  const begun = begunEvent(slice, operation!)
  if (begun) await noteEvent(at, slice, begun)
  return { slice, operation: operation! }
}

/** Does this operation still hold its slice? False: it was pre-empted, or has ended. */
export const holds = (slice: SliceRecord | undefined, operation: { id: string; token: number }): boolean =>
  slice?.operation?.id === operation.id && slice.token === operation.token

/**
 * Ends an operation and frees its slice, in one step: whoever dies on the way leaves neither a lock without an operation
 * nor slivers that wait for nobody. When another has taken the slice meanwhile, only the record of the operation changes.
 */
export async function endOperation(
  at: EventParts, operation: Operation,
  end: { state: 'done' | 'failed' | 'pre-empted'; error?: string; result?: Operation['result'] },
  change: (slice: SliceRecord) => void,
): Promise<void> {
  const ended: Operation = {
    ...operation, state: end.state, error: end.error ?? '', result: end.result ?? {}, ended: rfc3339(at.clock.now()),
  }
  let held = false
  faultPoint('operation.before-ended')
  const before = await at.store.slice(operation.slice)
  if (before) {
    await at.store.update(operation.slice, (record) => {
      held = holds(record, operation)
      if (!held) return undefined
      record.operation = null
      change(record)
      return record
    }, () => ended)
  }
  faultPoint('operation.ended')
  if (!held) {
    ended.state = end.state === 'failed' ? 'pre-empted' : end.state
    await at.store.saveOperation(ended)
  }
  const told = before && endedEvent(before, ended)
  if (told) await noteEvent(at, before, told)
}
