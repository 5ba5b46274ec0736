// What the snapshot core offers to the worker, as types: jobs/ calls these, the files beside this one implement them.

export type SnapshotMode = 'live' | 'stop' | 'drop' | 'uncoordinated'
export type SnapshotOrigin = 'policy' | 'user' | 'suspend'

/** A VM taking part: where it runs and under which names it is known. */
export interface Member { vm: string; clientId: string; host: string; ports: number[] }

/** Who may act: the operation's id and its fencing token (a lower one is refused by hosts for ever after). */
export interface Fence { op: string; token: number }

export interface SnapshotRequest extends Fence {
  /** Globally unique, made by the AM before the job: [a-z0-9-]+, the name of the snapshot's folder. */
  id: string
  /** Unique in the slice; undefined for policy snapshots. */
  name?: string
  /** A remark of the user, kept with the snapshot. */
  note?: string
  slice: { urn: string; uuid: string }
  /** Hints from Redis; hosts' maxima win. */
  run: string
  epoch: number
  parent?: string
  origin: SnapshotOrigin
  /** `suspend`: the VMs stay stopped and are destroyed once the outcome is written. */
  kind: 'live' | 'suspend'
  mode: SnapshotMode
  maxPauseMs?: number
  members: Member[]
  /** The slice's topology, for the inventory: opaque here, digested and given back at restore. */
  topology: unknown
}

/** What a committed snapshot looks like in the catalogue and in `violin_list`. */
export interface SnapshotEntry {
  format: 1
  id: string
  urn: string
  name: string
  note?: string
  slice: string
  origin: SnapshotOrigin
  kind: 'live' | 'suspend'
  mode: SnapshotMode
  parent: string
  created: string
  run: string
  epoch: number
  members: Member[]
  /** per client_id */
  pauseMs: Record<string, number>
  /** Where the pause went, per client_id: see CutPhases. */
  phasesMs: Record<string, { gate: number; stop: number; flip: number; save: number; thaw: number }>
  skewMs: number
  framesHeld: number
  longestHoldMs: number
  framesRecorded: number
  framesPutBack: number
  /** Only in `drop` mode: frames of the new epoch that were dropped, per `a -> b` of client_ids. */
  framesDropped: Record<string, number>
  bytes: number
  /** From the begin of the operation to the outcome. */
  committedMs: number
  /** What follows: absent in catalogues from before it was kept. SHA-256 of the inventory: `violin verify --expect` takes it. */
  digest?: string
  /** Per client_id: how long memory was still being written after the VM ran again. Its first write to each page waited for that page. */
  savingMs?: Record<string, number>
  /** Ports that frames were kept from for the cut. */
  ports?: PortDisruption[]
  memoryBytes?: number
  diskBytes?: number
  channelBytes?: number
}

/** What a cut did to one port: held for a VM not yet cut, put back because QEMU had them and the guest had not. */
export interface PortDisruption { port: string; framesHeld: number; longestHoldMs: number; framesPutBack: number }

export type CutResult =
  | { committed: true; entry: SnapshotEntry; run: string; epoch: number }
  | { committed: false; reason: string; run: string; epoch: number }

export interface RestoreRequest extends Fence {
  snapshot: string
  slice: { urn: string; uuid: string }
  run: string
  epoch: number
  members: Member[]
}
export interface RestoreResult {
  run: string
  epoch: number
  /** From the begin of the operation until every VM's virtual CPUs run. */
  runningMs: number
  /** Until a switch has seen a frame from every VM; undefined where one was silent for two seconds. */
  firstFrameMs?: number
}

/** The snapshot core. Each call is one operation, safe to call again with the same request after a crash. */
export interface Snapshots {
  /** Takes a consistent cut of the running slice. Aborts leave every VM running and are no error: `reason` says why. */
  take(request: SnapshotRequest, preempted?: AbortSignal): Promise<CutResult>
  /** Brings the slice to the snapshot in a new run; the VMs of the present run end only once the new ones are ready. */
  restore(request: RestoreRequest): Promise<RestoreResult>
  /** `outcome` goes first, then the parts. Removing what is not there is no error. */
  remove(slice: string, id: string): Promise<void>
  /** Every committed snapshot of a slice, oldest first, read from the inventories on disk. */
  list(slice: string): Promise<SnapshotEntry[]>
  /** Free where snapshots are kept. */
  freeBytes(): Promise<number>
  /** Ends what a dead worker left open: obeys an outcome that is there, links `abort` where there is none. */
  recover(): Promise<void>
  /** The folders of a slice's snapshots by their names: whole ones, and what became none. */
  names(slice: string): Promise<string[]>
  /** The same for one slice. Before: no operation is at work on it. */
  endOpen(slice: string): Promise<void>
}
