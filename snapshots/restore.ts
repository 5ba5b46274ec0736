// Brings a slice to a snapshot, in a new run. The VMs of the new run are made beside the present ones and wait; one
// write-once outcome says GO to all hosts or to none; only then does the old run end.
import type { KeyObject } from 'node:crypto'
import { explain, Failure, Refusal } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import type { Random } from '../base/random.js'
import { until, type Clock } from '../base/time.js'
import { nextRun } from '../overlay/run.js'
import type { CutHosts } from './hosts-link.js'
import { writeOutcome, type ImageStore } from './image-store.js'
import type { HostShare, Inventory } from './inventory.js'
import type { RestoreHeader, RestoreOrder, WentReport } from './messages.js'
import type { RestoreRequest, RestoreResult } from './needs.js'
import { maximaOf } from './take.js'

export interface RestoreParts {
  hosts: CutHosts
  store: ImageStore
  publicKey: KeyObject
  clock: Clock
  random: Random
  log: Log
}

const againMs = 200

export async function restoreSnapshot(request: RestoreRequest, at: RestoreParts): Promise<RestoreResult> {
  const begun = at.clock.now()
  const inventory = await at.store.readInventory(request.slice.uuid, request.snapshot, at.publicKey)
  refuseOtherMembers(inventory, request)
  const maxima = await maximaOf(request, at)
  const run = nextRun([maxima.run, request.run, inventory.run], at.random)
  const epoch = Math.max(maxima.k, request.epoch, inventory.k) + 1
  const outcomePath = await at.store.restoreOutcomePath(request.slice.uuid, request.op)
  const header = { slice: request.slice.uuid, op: request.op, token: request.token, run }
  faultPoint('worker.restore.begun')
  try {
    await Promise.all(inventory.hosts.map((share) =>
      at.hosts.ask(share.host, 'restorePrepare', orderOf(request, share, run, epoch), limits.restoreMs)))
  } catch (error) {
    await abandon(at, inventory, header, outcomePath, explain(error))
    throw new Failure('aborted', `the snapshot ${request.snapshot} could not be restored, the slice is as it was`, { cause: error })
  }
  faultPoint('worker.restore.ready')
  const outcome = await writeOutcome(outcomePath, { format: 1, outcome: 'commit', why: '' })
  if (outcome.outcome !== 'commit') throw new Failure('aborted', `the restore was given up: ${outcome.why}`)
  faultPoint('worker.restore.decided')
  const went: WentReport[] = await Promise.all(inventory.hosts.map((share) => goUntilHeard(share.host, header, at)))
  faultPoint('worker.restore.went')
  const frames = went.map((w) => w.firstFrameMs)
  const runningMs = Math.max(...went.map((w) => w.runningAt)) - begun
  return {
    run, epoch, runningMs: Math.round(runningMs),
    ...(frames.every((f) => f !== undefined) ? { firstFrameMs: Math.round(runningMs + Math.max(...frames.map((f) => f ?? 0))) } : {}),
  }
}

/** It is decided: a host whose agent dies over it goes by itself when it is back, and then says how it went. */
async function goUntilHeard(host: string, header: RestoreHeader, at: RestoreParts): Promise<WentReport> {
  let last: unknown
  const went = await until(at.clock, limits.restoreMs, againMs, async () => {
    try {
      return await at.hosts.ask(host, 'restoreGo', header, limits.restoreMs)
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'host-lost') throw error
      last = error
      return undefined
    }
  })
  if (!went) throw new Failure('host-lost', `the restore is decided, and ${host} does not say how it went`, { cause: last })
  return went
}

async function abandon(
  at: RestoreParts, inventory: Inventory, header: { slice: string; op: string; token: number; run: string }, outcomePath: string, why: string,
): Promise<void> {
  await writeOutcome(outcomePath, { format: 1, outcome: 'abort', why })
  await Promise.all(inventory.hosts.map((share) => at.hosts.ask(share.host, 'restoreAbort', header, limits.restoreMs)
    .catch((error: unknown) => at.log.warn({ host: share.host, why: explain(error) }, 'it will read the outcome itself'))))
}

function refuseOtherMembers(inventory: Inventory, request: RestoreRequest): void {
  const then = inventory.members.map((m) => m.vm).sort()
  const now = request.members.map((m) => m.vm).sort()
  if (then.join() === now.join()) return
  const names = (vms: string[], of: { vm: string; clientId: string }[]) => vms.map((vm) => of.find((m) => m.vm === vm)?.clientId ?? vm).join(', ')
  const [held, today] = [names(then, inventory.members), names(now, request.members)]
  throw new Refusal('unsupported', `the slice has changed since snapshot ${inventory.id}: it held ${held}, today it is ${today}`)
}

function orderOf(request: RestoreRequest, share: HostShare, run: string, epoch: number): RestoreOrder {
  return {
    slice: request.slice.uuid, op: request.op, token: request.token, run, epoch, snapshot: request.snapshot,
    vms: share.vms.map(({ cut: _, ...sealed }) => sealed),
    channels: share.channels,
    ports: share.vms.flatMap((vm) => vm.cut.latches.map((latch) => ({
      port: latch.port, seq: latch.sent, usedRx: latch.usedRx, usedTx: latch.usedTx, vring: latch.vring,
      // what was lost in an overflowing NIC is not in the image's ring either: no base, so no witness at the next cut
      witnessed: latch.usedRx >= 0 && vm.cut.drained,
    }))),
  }
}
