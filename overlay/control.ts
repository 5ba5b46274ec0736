// What an agent asks of the switch on its host, as types. Every ask about a cut names slice, run, k and op.
import type { Base, DeviceWitness, InboundShape, PortLatch } from './slice-net.js'
import type { Rule } from './port.js'
import type { Tally } from './tally.js'

export interface NetRef { slice: string; run: string }
export interface PortRequest extends NetRef {
  vm: string
  port: number
  lan: string
  mac: string
  socket: string
  seq: number
  base?: Base
  /** The run was here before this switch began. */
  reconnected?: boolean
  /** Nothing is delivered before `replay` and `thaw`: recorded frames come first. */
  gated?: boolean
  /** The links over which frames of other ports come to this one. */
  shapes?: readonly InboundShape[]
}
export interface CutRef extends NetRef { k: number; op: string }

export interface SwitchAsks {
  /** After: the run exists here, its ports will be in `epoch`, or the highest epoch ever prepared if that is later. */
  openRun: [NetRef & { epoch: number }, { epoch: number }]
  /** After: queues, holds, addresses and ports of that run are gone. */
  closeRun: [NetRef, null]
  addPort: [PortRequest, null]
  removeVm: [NetRef & { vm: string }, null]
  /** After: the target epoch is durable, the log is open. */
  prepare: [CutRef & { rule: Rule }, { bootId: string }]
  /** After: nothing more goes to the VM; `drained` says whether it has read all that was sent, within the time given. */
  gate: [CutRef & { vm: string; withinMs: number }, { drained: boolean; waitedMs: number }]
  /** Outside a cut: nothing more goes to the VM until `rebase`, or until the hold bound has passed. */
  quiet: [NetRef & { vm: string; withinMs: number }, { drained: boolean }]
  /** The VM is stopped and drained: from here its frames and its devices' used indexes are counted together. Ends `quiet`. */
  rebase: [NetRef & { vm: string; witnesses: DeviceWitness[] }, null]
  /**
   * After: flipped (see SliceNet.cut). Refused when the cut is void; where the switch has given it up by itself since the VM drained, what its
   * device had not handed on is put back all the same (hole 53).
   */
  cut: [CutRef & { vm: string; witnesses: DeviceWitness[]; putBack: boolean }, { latches: PortLatch[]; bootId: string }]
  /** The agent sees to the VMs that drained and have not been flipped: nobody goes forward because it takes so long (hole 34). Say it again within a second. */
  stay: [CutRef, null]
  thaw: [CutRef & { vm: string }, null]
  /** Void: everybody goes on to k. Safe at any time, any number of times. */
  forward: [CutRef, null]
  /** After: the channel log is written to `file`, synced, and never grows again. */
  closeLog: [CutRef & { file: string }, ClosedLog]
  /**
   * Frames of a log enter a new run, as its first epoch, before everything else, once: a port that has had its frames, or whose VM ran before
   * this switch began, gets none. After: every other port is gated; `thaw` it when its VM runs.
   */
  replay: [NetRef & { file: string }, { frames: number }]
  stats: [NetRef, NetStats]
}

export interface RecordedSum { to: number; from: number; tally: Tally }
export interface ClosedLog {
  bootId: string
  frames: number
  bytes: number
  recorded: RecordedSum[]
  drops: { to: number; from: number; kind: string; epoch: number; tally: Tally; seqs: number[] }[]
  framesHeld: number
  longestHoldMs: number
  /** What the cut did to each port; absent in snapshots from before it was kept. */
  ports?: { port: number; framesHeld: number; longestHoldMs: number; heldDropped: number }[]
}
export interface NetStats {
  bootId: string
  epoch: number
  ports: {
    port: number; vm: string; epoch: number; gated: boolean; framesRead: number; framesWritten: number; waiting: number; flying: number
    /** It has had the recorded frames of its run, or is to have none; absent: an older switch. */
    replayed?: boolean
    /** It is counted together with its device; absent: an older switch. */
    counted?: boolean
  }[]
}

/** Notifications of a switch to its agent. */
export interface SwitchTells {
  /** A frame of an epoch that a VM has not reached is held. */
  held: CutRef & { epoch: number }
  /** The bound on holding was reached: the switch has gone forward by itself and the cut is void. */
  forwarded: CutRef & { why: string }
}
