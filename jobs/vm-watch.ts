// What hosts report of VMs, written into the slices: ready, dead. And once at the start, what is on record against what is.
import { rfc3339 } from '../base/time.js'
import type { VmReport } from '../slices/needs.js'
import type { SliceRecord } from '../slices/slice.js'
import type { Sliver } from '../slices/sliver.js'
import type { JobParts } from './surroundings.js'

/** Operations in which VMs end because they are told to. */
const ending = ['stop', 'restart', 'suspend', 'rollback', 'resume', 'delete', 'shutdown']
const running = ['geni_configuring', 'geni_ready', 'violin_snapshotting']
const advice = 'violin_rollback brings the slice back to its latest snapshot, geni_restart boots this node anew'

export async function noteReport(at: JobParts, report: VmReport): Promise<void> {
  const slice = (await at.store.slices()).find((s) => s.uuid === report.slice && s.slivers.some((v) => v.id === report.vm))
  if (!slice) return
  await at.store.update(slice.urn, (record) => {
    const sliver = record.slivers.find((s) => s.id === report.vm)
    return sliver && apply(record, sliver, report) ? record : undefined
  })
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
  const reports = new Map<string, VmReport>()
  for (const host of at.hosts.hosts()) for (const report of await at.hosts.reports(host)) reports.set(report.vm, report)
  for (const slice of await at.store.slices()) {
    await at.store.update(slice.urn, (record) => {
      let changed = false
      for (const sliver of record.slivers) {
        const report = reports.get(sliver.id)
        if (report) changed = apply(record, sliver, stoppedIsDead(report)) || changed
        else if (running.includes(sliver.operational) && record.operation === null) {
          fail(sliver, 'its host knows nothing of it')
          changed = true
        }
      }
      return changed ? record : undefined
    })
  }
}

/** On record it runs: then a VM that was stopped with its aggregate has ended, whoever meant it. */
function stoppedIsDead(report: VmReport): VmReport {
  if (report.condition !== 'stopped') return report
  return { ...report, condition: 'dead', reason: report.reason === '' ? 'it was stopped' : report.reason }
}

export async function noteHosts(at: JobParts): Promise<void> {
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
