// What hosts report of VMs, written into the slices: ready, dead. And once at the start, what is on record against what is.
import { explain } from '../base/errors.js'
import { rfc3339 } from '../base/time.js'
import { noteEvent, type Happening } from '../slices/event.js'
import type { VmReport } from '../slices/needs.js'
import { provisioned, type SliceRecord } from '../slices/slice.js'
import type { Sliver } from '../slices/sliver.js'
import type { JobParts } from './surroundings.js'

/** Operations in which VMs end because they are told to. */
const ending = ['stop', 'restart', 'suspend', 'rollback', 'resume', 'delete', 'shutdown', 'halt']
const running = ['geni_configuring', 'geni_ready', 'geni_updating_users', 'violin_snapshotting']
const advice = 'violin_rollback brings the slice back to its latest snapshot, geni_restart boots this node anew'

export async function noteReport(at: JobParts, report: VmReport): Promise<void> {
  const slice = (await at.store.slices()).find((s) => s.uuid === report.slice && s.slivers.some((v) => v.id === report.vm))
  if (!slice) return
  const change = new Change()
  await at.store.update(slice.urn, change.of((record) => {
    const sliver = record.slivers.find((s) => s.id === report.vm)
    return sliver && apply(record, sliver, report) ? record : undefined
  }))
  await change.tell(at, slice)
}

/** What a change of a record has made of its VMs, for the event log: the change may be tried several times, the last one counts. */
class Change {
  private happenings: Happening[] = []

  of(change: (record: SliceRecord) => SliceRecord | undefined): (record: SliceRecord) => SliceRecord | undefined {
    return (record) => {
      const before = new Map(record.slivers.map((s) => [s.id, s.operational]))
      const after = change(record)
      this.happenings = (after?.slivers ?? []).filter((s) => before.get(s.id) !== s.operational).flatMap((s): Happening[] => {
        if (s.operational === 'geni_ready') return [{ kind: 'vm-ready', text: `${s.clientId} is up: its login answers`, node: s.clientId }]
        if (s.operational === 'geni_failed') return [{ kind: 'vm-died', text: `${s.clientId} has died: ${s.resourceStatus}`, node: s.clientId }]
        return []
      })
      return after
    }
  }

  async tell(at: JobParts, slice: SliceRecord): Promise<void> {
    for (const happening of this.happenings) {
      if (happening.kind === 'vm-died') at.meter?.vmDied()
      await noteEvent(at, slice, happening)
    }
  }
}

/** For the event logs of all slices that have VMs on this host. */
export async function noteHostChange(at: JobParts, host: string, kind: 'host-lost' | 'host-back'): Promise<void> {
  const text = kind === 'host-lost'
    ? `the agent of host ${host} does not answer: VMs run on, and nothing can be changed there meanwhile`
    : `the agent of host ${host} answers again`
  for (const slice of await at.store.slices()) {
    if (provisioned(slice).some((s) => s.host === host)) await noteEvent(at, slice, { kind, text })
  }
}

/** True when the sliver has changed. */
function apply(record: SliceRecord, sliver: Sliver, report: VmReport): boolean {
  if (report.condition === 'ready' && sliver.operational === 'geni_configuring') {
    Object.assign(sliver, { operational: 'geni_ready', error: '', resourceStatus: 'its login answers' })
    return true
  }
  if (report.condition === 'booting' && report.reason !== '' && sliver.resourceStatus !== report.reason) {
    sliver.resourceStatus = report.reason
    return true
  }
  const expected = record.operation !== null && ending.includes(record.operation.kind)
  if (report.condition === 'dead' && !expected && running.includes(sliver.operational)) {
    fail(sliver, report.reason)
    return true
  }
  return false
}

function fail(sliver: Sliver, reason: string): void {
  Object.assign(sliver, { operational: 'geni_failed', error: `${reason}; ${advice}`, resourceStatus: reason })
}

/** Every record against the hosts' reports; a host that does not answer is left for later. */
export async function reconcile(at: JobParts): Promise<void> {
  await compare(at, await at.store.slices())
}

/** Where an answer never came, and no connection was lost over it, nobody would ask again. */
const unanswered = new WeakSet<JobParts['hosts']>()

/** Call it now and then: asks again where a host has not answered. */
export async function reconcileUnanswered(at: JobParts): Promise<void> {
  if (unanswered.delete(at.hosts)) await reconcile(at)
}

/** One slice, after an operation: what was reported meanwhile was not believed, since VMs ended because they were told to. */
export async function recheck(at: JobParts, sliceUrn: string): Promise<void> {
  const slice = await at.store.slice(sliceUrn)
  if (slice) await compare(at, [slice])
}

/** A slice with an operation under way is passed over: its end rechecks it. So is one that an operation took meanwhile. */
async function compare(at: JobParts, slices: SliceRecord[]): Promise<void> {
  const idle = slices.filter((s) => s.operation === null)
  const answered = await reportsOf(at, [...new Set(idle.flatMap((s) => s.slivers.map((v) => v.host)))])
  for (const slice of idle) {
    const now = await at.store.slice(slice.urn)
    if (!now) continue
    const change = new Change()
    await at.store.update(slice.urn, change.of((record) => {
      if (record.operation !== null || record.token !== slice.token) return undefined
      const changed = record.slivers.map((sliver) => {
        const reports = answered.get(sliver.host)
        return reports !== undefined && judge(record, sliver, reports.get(sliver.id))
      })
      return changed.includes(true) ? record : undefined
    }))
    await change.tell(at, slice)
  }
}

function judge(record: SliceRecord, sliver: Sliver, report: VmReport | undefined): boolean {
  if (report) return apply(record, sliver, stoppedIsDead(report))
  if (!running.includes(sliver.operational)) return false
  fail(sliver, 'its host knows nothing of it')
  return true
}

async function reportsOf(at: JobParts, hosts: string[]): Promise<Map<string, Map<string, VmReport>>> {
  const answered = new Map<string, Map<string, VmReport>>()
  for (const host of hosts) {
    try {
      answered.set(host, new Map((await at.hosts.reports(host)).map((report) => [report.vm, report])))
    } catch (error) {
      at.log.warn({ host, why: explain(error) }, 'the host does not say how its VMs are: asked again soon')
      unanswered.add(at.hosts)
    }
  }
  return answered
}

/** On record it runs: then a VM that was stopped with its aggregate has ended, whoever meant it. */
function stoppedIsDead(report: VmReport): VmReport {
  if (report.condition !== 'stopped') return report
  return { ...report, condition: 'dead', reason: report.reason === '' ? 'it was stopped' : report.reason }
}

export async function noteHosts(at: Pick<JobParts, 'hosts' | 'store' | 'clock' | 'log'>): Promise<void> {
  for (const host of at.hosts.hosts()) {
    const stamp = rfc3339(at.clock.now())
    try {
      await at.store.saveHost({ ...(await at.hosts.capacity(host)), at: stamp, alive: true })
    } catch (error) {
      at.log.warn({ host, err: error }, 'the host does not answer')
      const before = (await at.store.hosts()).find((h) => h.host === host)
      if (before) await at.store.saveHost({ ...before, at: stamp, alive: false })
    }
  }
}
