// A restore that is under way at a host: what is on disk of it, and what is in memory.
import { digestOf } from '../base/digest.js'
import { Failure } from '../base/errors.js'
import type { Form } from '../base/records.js'
import type { Part, RestoreOrder, WentReport } from '../snapshots/messages.js'
import type { Vm, VmInstance } from './hypervisor/hypervisor.js'

/**
 * `givenUp`: it is to be removed, and that has not come to its end yet. `uncounted`: a switch came anew while VMs of it ran already.
 * `lost`: those that had died when an agent came back. `placed`: those that are in the places of the old ones; what becomes of them since is no matter of
 * this restore.
 */
export interface Ready {
  journal: Journal; vms: Vm[]; replayed: number; readyAt: number; givenUp?: true; uncounted?: true
  lost: { instance: VmInstance; why: string }[]; placed: Set<string>
}
export interface Journal { format: 1; order: RestoreOrder; instances: VmInstance[]; went?: WentReport }
export const restoreJournalForm: Form<Journal> = {
  format: 1, is: ({ order, instances }) => typeof order.op === 'string' && typeof order.slice === 'string' && Array.isArray(instances),
}
export const wentForm: Form<WentReport> = { format: 1, unmarked: 'allowed', is: ({ runningAt }) => typeof runningAt === 'number' }

/** Fails where what is there is not what was sealed. */
export async function verifyPart(path: string, part: Part): Promise<void> {
  const digest = await digestOf(path).catch((cause: unknown) => { throw new Failure('damaged', `part ${part.name} cannot be read`, { cause }) })
  if (digest !== part.digest) throw new Failure('damaged', `part ${part.name} is not what was sealed: the snapshot cannot be restored`)
}
