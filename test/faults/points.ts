// Every named point of the product (base/fault-points.ts) in one list: for the matrix, and for the simulation. A test holds it against
// the source, so that none is missing (test/unit/base/fault-points.test.ts).
import { limits } from '../../base/limits.js'

/** What is under way when the point comes; `idle`: nothing. */
export type During =
  | 'idle' | 'snapshot' | 'void' | 'suspend' | 'rollback' | 'kept-rollback' | 'given-up' | 'merge' | 'delete'
/** Whose code the point is in; at some it is whoever comes first. */
type Place = 'agent' | 'worker' | 'switch' | 'am' | 'none'

export interface Point {
  name: string
  text: string
  during: During
  by: Place
  /** The agent has told a VM of the slice to stand, or to end, and nobody but the agent or the switch lets it, or the next one, run. */
  window?: true
  /** A worker that stands must stand for longer than this to come too late. */
  outlastMs?: number
}

type Row = [name: string, text: string, more?: Pick<Point, 'window' | 'outlastMs'>]
const at = (by: Place, during: During, rows: Row[]): Point[] => rows.map(([name, text, more]) => ({ name, text, during, by, ...more }))
const window = { window: true } as const

/** In the order in which they come, as far as there is one. */
export const points: Point[] = [
  { name: 'idle', text: 'idle', during: 'idle', by: 'none' },
  ...at('am', 'snapshot', [
    ['operation.before-begun', 'before the operation is written down'],
    ['operation.begun', 'operation written down, not yet a job'],
    ['operation.queued', 'its job is queued'],
  ]),
  ...at('worker', 'snapshot', [['worker.created', 'the folder of the snapshot made']]),
  ...at('agent', 'snapshot', [
    ['agent.before-marks', 'before the epoch is written down'],
    ['file.aside', 'it is written aside, not yet in its place'],
    ['agent.marks', 'epoch written down'],
    ['agent.before-preparing', 'before `preparing` is journalled'],
    ['agent.preparing', 'preparing'],
    ['agent.prepare.made', 'disk layers and memory files made'],
  ]),
  ...at('switch', 'snapshot', [
    ['switch.before-prepared', 'switch: before the epoch is written down'],
    ['switch.prepared', 'switch: epoch written down, log not open'],
  ]),
  ...at('agent', 'snapshot', [
    ['agent.before-prepared', 'before `prepared` is journalled'],
    ['agent.prepared', 'prepared'],
  ]),
  ...at('worker', 'snapshot', [
    ['worker.before-cutting', 'worker: before `cutting` is written down'],
    ['worker.cutting', 'worker: cutting'],
  ]),
  ...at('agent', 'snapshot', [
    ['agent.before-cutting', 'before `cutting` is journalled'],
    ['agent.cutting', 'cutting'],
    ['agent.cut.before-gate', 'before the gate', window],
  ]),
  ...at('switch', 'snapshot', [['switch.gated', 'switch: gate closed', window]]),
  ...at('agent', 'snapshot', [
    ['agent.cut.gated', 'between gate and stop', window],
    ['agent.cut.stopped', 'between stop and flip', window],
  ]),
  ...at('switch', 'snapshot', [
    ['switch.before-flip', 'switch: before put-back and flip', window],
    ['switch.flipped', 'switch: put back and flipped, not answered', window],
  ]),
  ...at('agent', 'snapshot', [
    ['agent.cut.flipped', 'between flip and RESUME', window],
    ['agent.cut.resumed', 'between RESUME and thaw', window],
  ]),
  ...at('switch', 'snapshot', [['switch.thawed', 'switch: thawed', window]]),
  ...at('agent', 'snapshot', [['agent.cut.thawed', 'thawed', window]]),
  ...at('switch', 'snapshot', [
    ['switch.before-log', 'switch: log closed, before it is written'],
    ['switch.log-closed', 'switch: log written'],
  ]),
  ...at('agent', 'snapshot', [
    ['agent.cut.log-closed', 'the log is closed'],
    ['agent.before-record', 'before the record of a VM is written'],
    ['agent.record', 'the record of a VM written'],
    ['agent.before-saved', 'before `saved` is journalled'],
    ['agent.saved', 'all cut'],
  ]),
  ...at('worker', 'snapshot', [
    ['worker.before-sealing', 'worker: before `sealing` is written down', { outlastMs: limits.sealMs }],
    ['worker.sealing', 'worker: sealing'],
  ]),
  ...at('agent', 'snapshot', [
    ['agent.before-sealing', 'before `sealing` is journalled'],
    ['agent.sealing', 'saving and sealing'],
    ['agent.seal.saving', 'before the save ends'],
    ['agent.seal.saved', 'memory saved'],
    ['agent.seal.memory', 'memory sealed'],
    ['agent.layer.synced', 'a disk layer synced, its digest not kept'],
    ['agent.layer.digest', 'the digest of a disk layer kept'],
    ['agent.seal.layers', 'disk layers sealed'],
    ['agent.seal.channels', 'channel state sealed'],
    ['agent.before-sealed', 'before `sealed` is journalled'],
    ['agent.sealed', 'sealed'],
  ]),
  ...at('worker', 'snapshot', [
    ['worker.before-deciding', 'worker: before `deciding` is written down'],
    ['worker.deciding', 'worker: deciding'],
    ['worker.before-inventory', 'before the inventory is written'],
    ['worker.unsigned', 'inventory written, its signature not'],
    ['worker.before-outcome', 'before the outcome link'],
    ['once.aside', 'outcome written aside, not linked'],
    ['once.linked', 'outcome linked, folder not synced'],
    ['worker.after-outcome', 'after the outcome link'],
    ['worker.before-telling', 'worker: before `telling` is written down'],
    ['worker.telling', 'worker: telling'],
  ]),
  ...at('agent', 'snapshot', [
    ['agent.before-ending', 'before `ending` is journalled'],
    ['agent.ending', 'ending'],
    ['agent.before-done', 'before `done` is journalled'],
    ['agent.done', 'done'],
  ]),
  ...at('worker', 'snapshot', [
    ['worker.before-over', 'worker: before `over` is written down'],
    ['worker.over', 'worker: over'],
    ['operation.before-ended', 'before the end of the operation is written down'],
    ['operation.ended', 'end of the operation written down'],
  ]),
  ...at('agent', 'suspend', [['agent.end.stopped', 'suspension: one VM ended', window]]),
  ...at('agent', 'void', [
    ['agent.before-voiding', 'void: before `voiding` is journalled', window],
    ['agent.voiding', 'void: voiding', window],
    ['agent.void.before-put-back', 'void: before what stop has thrown away is put back', window],
    ['agent.void.put-back', 'void: put back', window],
    ['agent.void.running', 'void: VMs run'],
  ]),
  ...at('switch', 'void', [
    ['switch.before-forward', 'switch: before it goes forward'],
    ['switch.forwarded', 'switch: gone forward'],
  ]),
  ...at('agent', 'void', [
    ['agent.void.forwarded', 'void: ports forward'],
    ['agent.void.abandoned', 'void: what was made is removed'],
    ['agent.before-void', 'void: before `void` is journalled'],
    ['agent.void', 'void'],
  ]),
  ...at('worker', 'kept-rollback', [['worker.rollback.kept', 'before a rollback: a snapshot was taken first']]),
  ...at('worker', 'rollback', [['worker.restore.begun', 'restore: begun']]),
  ...at('agent', 'rollback', [
    ['agent.restore.before-journal', 'restore: before its journal is written'],
    ['agent.restore.journal', 'restore: journalled'],
    ['agent.restore.layers', 'restore: disk layers made'],
    ['agent.restore.loaded', 'restore: new VMs loaded'],
  ]),
  ...at('switch', 'rollback', [['switch.run-opened', 'switch: the new run opened']]),
  ...at('agent', 'rollback', [['agent.restore.connected', 'restore: new ports']]),
  ...at('switch', 'rollback', [['switch.replayed', 'switch: recorded frames queued']]),
  ...at('agent', 'rollback', [['agent.restore.replayed', 'restore: recorded frames queued']]),
  ...at('worker', 'rollback', [
    ['worker.restore.ready', 'restore: before GO', { outlastMs: limits.restoreMs }],
    ['worker.restore.decided', 'restore: after GO'],
  ]),
  ...at('agent', 'rollback', [['agent.restore.going', 'restore: GO heard', window]]),
  ...at('switch', 'rollback', [['switch.run-closed', 'switch: the old run closed', window]]),
  ...at('agent', 'rollback', [
    ['agent.restore.old-ended', 'restore: old VMs ended', window],
    ['agent.restore.current', 'restore: the new run is noted', window],
    ['agent.restore.resumed', 'restore: new VMs run, gates closed', window],
    ['agent.restore.running', 'restore: new VMs run', window],
    ['agent.restore.replaced', 'restore: one new VM in its place', window],
    ['agent.restore.before-went', 'restore: before it is noted that it went', window],
    ['agent.restore.went', 'restore: noted that it went'],
  ]),
  ...at('worker', 'rollback', [['worker.restore.went', 'restore: the worker knows that it went']]),
  ...at('agent', 'given-up', [
    ['agent.restore.giving-up', 'a restore is given up'],
    ['agent.restore.killed', 'given up: its VMs ended'],
    ['agent.restore.unmade', 'given up: its layers removed'],
  ]),
  ...at('worker', 'delete', [
    ['worker.before-removed', 'before a snapshot is removed'],
    ['worker.renamed-away', 'a snapshot renamed away'],
    ['worker.removed', 'a snapshot removed'],
  ]),
  ...at('agent', 'delete', [['agent.layer.removed', 'a disk layer removed']]),
  ...at('agent', 'merge', [
    ['agent.collapse.part', 'disk layers merged into a part'],
    ['agent.collapse.merged', 'disk layers merged'],
    ['agent.collapse.before-note', 'before the merged layer is noted'],
    ['agent.collapse.noted', 'merged layer noted'],
    ['agent.collapse.replaced', 'one VM reads it'],
  ]),
]

/** Not in the matrix: images are made and fetched in tests of their own (test/e2e/images.test.ts, fetched-images.test.ts). */
export const imagePoints = [
  'agent.image.begun', 'agent.image.copied', 'agent.image.named', 'agent.image.unnamed', 'agent.image.fetched', 'agent.image.imported',
]
/** A slice on one host comes past these never: the step from `preparing` is the next phase. */
export const severalHostPoints = ['worker.before-preparing', 'worker.preparing']
