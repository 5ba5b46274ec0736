// What the coordinator of a cut (in the worker) and the participants (one in each host's agent) say to each other: the
// protocol as types. Every ask carries slice, run, k, op and token; hosts persist the highest they have seen and refuse
// less; the same ask again gets the answer that was recorded.
import type { ClosedLog } from '../overlay/control.js'
import type { PortLatch } from '../overlay/slice-net.js'
import type { VmSpec } from '../slices/vm-spec.js'
import type { SnapshotMode } from './needs.js'

export interface CutHeader { slice: string; run: string; k: number; op: string; token: number }

export interface CutOrder extends CutHeader {
  snapshot: string
  kind: 'live' | 'suspend'
  mode: SnapshotMode
  /** The VMs of this host that take part. */
  vms: string[]
  /** Cut VMs that have not taken all that was sent to them (after three void cuts in a row: a dead guest must not block snapshots). */
  force: boolean
}

export type CutAskName = 'prepare' | 'cut' | 'seal' | 'tell'
export type Outcome = 'commit' | 'abort'

/** Before: nothing. After `prepared`: room, overlays and sinks are there, the target epoch is durable. On refusal: nothing is left. */
export interface PrepareAsk extends CutOrder { ask: 'prepare' }
/** Before: every host is prepared. After: every VM here has been cut; memory is still being written (live) or written (else). */
export interface CutAsk extends CutHeader { ask: 'cut' }
/** After: parts are whole, synced, at their final names, digested. From now on only the outcome removes them. */
export interface SealAsk extends CutHeader { ask: 'seal' }
/** The outcome is written. commit: kept; a suspension's VMs are ended. abort: no part is left and every VM runs. */
export interface TellAsk extends CutHeader { ask: 'tell'; outcome: Outcome }
export type HostCutAsk = PrepareAsk | CutAsk | SealAsk | TellAsk

export interface CutPhases { gate: number; stop: number; flip: number; save: number; thaw: number }
export interface CutVm {
  vm: string
  stoppedAt: number
  /** Undefined for a suspension: it never ran on. */
  resumedAt: number | undefined
  drained: boolean
  /** Where the time went, ms: gate and drain, `stop` with the witnesses, the flip, disks and RAM until it ran again, thaw. */
  phases: CutPhases
  latches: PortLatch[]
}
export interface Part { name: string; bytes: number; digest: string }
export interface SealedVm {
  vm: string
  spec: VmSpec
  memory: Part
  /** Oldest first; `name` is the file's name in the host's layer folder. */
  layers: Part[]
  hypervisor: { version: string; machine: string; specDigest: string }
  /** When all its memory was written (wall clock, as `resumedAt`). Absent where that is not known. */
  savedAt?: number
}

export interface PreparedReport { progress: 'prepared'; switchBootId: string }
export interface CutReport { progress: 'cut'; switchBootId: string; vms: CutVm[] }
export interface SealedReport { progress: 'sealed'; vms: SealedVm[]; channels: Part; log: ClosedLog }
export interface ToldReport { progress: 'told' }
export type HostReport = PreparedReport | CutReport | SealedReport | ToldReport

/** The highest that a host has ever seen of a slice. Redis may have forgotten; hosts have not. */
export interface Maxima {
  run: string
  k: number
  token: number
  /** The run whose VMs live there now; the highest may be one that was given up. Absent from hosts of an earlier version. */
  current?: string
}

export interface RestoreOrder {
  slice: string
  op: string
  token: number
  /** The new run, later than every run any host has seen, and its first epoch. */
  run: string
  epoch: number
  snapshot: string
  vms: SealedVm[]
  channels: Part
  /** Where each port's counting goes on: its last sequence number and its devices' used indexes at the cut. */
  ports: { port: number; seq: number; usedRx: number; usedTx: number; vring: string; witnessed: boolean }[]
}
export interface RestoreHeader { slice: string; op: string; token: number; run: string }
export interface WentReport { runningAt: number; firstFrameMs?: number }

/** The methods of an agent, as the worker calls them over JSON-RPC. */
export interface AgentAsks {
  maxima: [{ slice: string }, Maxima]
  cut: [HostCutAsk, HostReport]
  /** Before: nothing. After: the VMs are loaded and paused beside the present ones, recorded frames queued: READY. */
  restorePrepare: [RestoreOrder, { replayed: number }]
  /** The outcome is GO. After: the VMs of older runs have ended, the new ones run. */
  restoreGo: [RestoreHeader, WentReport]
  /** The outcome is abort. After: nothing of the new run is left; the present VMs were never touched. */
  restoreAbort: [RestoreHeader, null]
  /** After: no file of this snapshot, and no layer that nothing refers to. */
  removeSnapshot: [{ slice: string; snapshot: string }, null]
}
