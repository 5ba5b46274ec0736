// What is asked of the store of record. In Redis (redis-slice-store.ts); tests have a small one of their own.
import type { SliceEvent } from './event.js'
import type { HostCapacity } from './needs.js'
import type { Operation } from './operation.js'
import type { SliceRecord } from './slice.js'

export interface HostRecord extends HostCapacity { at: string; alive: boolean }

/** `until`: RFC 3339; then the snapshots go. */
export interface KeptSnapshots { format: 1; uuid: string; urn: string; owner: string; until: string }

export interface SliceStore {
  /** By URN, without regard to case. */
  slice(urn: string): Promise<SliceRecord | undefined>
  slices(): Promise<SliceRecord[]>
  /** The slice that holds this sliver URN. */
  sliceOfSliver(sliverUrn: string): Promise<SliceRecord | undefined>
  /** Creates with rev 1. False when there is one already. */
  create(slice: SliceRecord): Promise<boolean>
  /**
   * Reads, changes, and writes if nobody else wrote meanwhile; else again, up to a bound. `change` gets a copy, may throw
   * (then nothing is written) and returns undefined for "leave it". Returns what is stored afterwards. `alongside` gives
   * an operation that is stored in the same step as the slice, or not at all.
   */
  update(urn: string, change: (slice: SliceRecord) => SliceRecord | undefined, alongside?: () => Operation): Promise<SliceRecord>
  /** Removes the record if it is still at this revision. */
  remove(urn: string, rev: number): Promise<boolean>
  operation(id: string): Promise<Operation | undefined>
  /** One that has ended stays as it ended, whoever comes late: a worker that stood still, or was thought dead. */
  saveOperation(operation: Operation): Promise<void>
  /** Newest first, ended ones included, at most `count`. */
  operations(sliceUrn: string, count: number): Promise<Operation[]>
  hosts(): Promise<HostRecord[]>
  saveHost(host: HostRecord): Promise<void>
  /** What the catalogue knows of snapshots, for the AM, which has no access to the files. */
  snapshots(sliceUuid: string): Promise<unknown[]>
  saveSnapshots(sliceUuid: string, entries: unknown[]): Promise<void>
  /** Appends to the story of a slice. The newest 1000 are kept, for 30 days after the last. */
  addEvent(sliceUuid: string, event: SliceEvent): Promise<void>
  /** At most `count` of the newest, the newest last. */
  events(sliceUuid: string, count: number): Promise<SliceEvent[]>
  /** Slices whose lease has ended and whose snapshots still wait for their owner. One entry per UUID. */
  kept(): Promise<KeptSnapshots[]>
  keep(kept: KeptSnapshots): Promise<void>
  forgetKept(sliceUuid: string): Promise<void>
}

/** How the AM hands work to the worker. */
export interface OperationQueue {
  /** The operation's record is stored and the slice's lock is taken before this is called. */
  add(operation: Operation): Promise<void>
}
