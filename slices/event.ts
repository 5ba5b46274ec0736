// What has happened to a slice, for people who ask afterwards: one plain sentence for each thing, kept by the slice's UUID, so
// that the story outlives slivers. It is told and never asked: nothing decides by it.
import { explain } from '../base/errors.js'
import type { Log } from '../base/log.js'
import { rfc3339ms, within, type Clock } from '../base/time.js'
import type { SliceStore } from './slice-store.js'

/** Documented in docs/operating.md, with what each means. Webhooks and clients go by these names. */
export type EventKind =
  | 'allocated' | 'allocation-dropped' | 'lease-renewed' | 'lease-ended' | 'policy-set'
  | 'operation-begun' | 'operation-done' | 'operation-failed'
  | 'snapshot-committed' | 'snapshot-aborted' | 'snapshot-skipped' | 'snapshot-removed'
  | 'vm-ready' | 'vm-died' | 'recovered' | 'recovery-given-up' | 'host-lost' | 'host-back'

export interface SliceEvent {
  /** RFC 3339 with ms. */
  at: string
  /** The slice's URN: a webhook is told of all slices. */
  slice: string
  kind: EventKind
  text: string
  /** The operation that it belongs to, or ''. */
  op: string
  /** On whose behalf: a user's URN, 'policy', 'recovery', 'lease'; '' for nobody's. */
  who: string
  /** client_id of the one node that it is about, or ''. */
  node: string
}

/** An event as the feed of all slices gives it; `n` only grows. */
export interface FedEvent { n: number; uuid: string; event: SliceEvent }

export interface EventParts { store: SliceStore; clock: Clock; log?: Log }
export type Happening = { kind: EventKind; text: string } & Partial<Pick<SliceEvent, 'op' | 'who' | 'node'>>

const noteMs = 3_000

/** Notes an event. Never rejects and never takes long: what it tells of has happened, whether or not that can be written down. */
export async function noteEvent(at: EventParts, slice: { uuid: string; urn: string }, what: Happening): Promise<void> {
  const event: SliceEvent = { at: rfc3339ms(at.clock.now()), slice: slice.urn, op: '', who: '', node: '', ...what }
  try {
    await within(noteMs, at.store.addEvent(slice.uuid, event), () => new Error('the store does not answer'))
  } catch (error) {
    at.log?.warn({ slice: slice.urn, kind: what.kind, text: what.text, why: explain(error) }, 'an event could not be noted')
  }
}
