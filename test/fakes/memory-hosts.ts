// Hosts in memory that keep the contract of slices/needs.ts: every call may come twice, a VM boots and becomes ready by
// itself (here: when the test says so), and whoever listens is told of every change.
import { Failure } from '../../base/errors.js'
import type { HostLinks } from '../../jobs/host-links.js'
import type { DiskImage } from '../../slices/disk-image.js'
import type { FetchState, VmCondition, VmReport } from '../../slices/needs.js'
import type { VmSpec } from '../../slices/vm-spec.js'
import type { Maxima } from '../../snapshots/messages.js'

export interface MemoryHosts extends HostLinks {
  /** What was asked, in order: `defineVm v-1`. */
  calls: string[]
  specs: Map<string, VmSpec>
  images: DiskImage[]
  /** Answers of fetchImage; afterwards every image is there. */
  fetching: FetchState[]
  /** A host that is away answers nothing. */
  away: Set<string>
  /** Calls of this method fail with this sentence. */
  failing: Map<string, string>
  /** Runs inside each call, before it does its work: where a test puts what happens meanwhile. */
  meanwhile: ((call: string) => Promise<void>) | undefined
  /** What the hosts remember of every slice. */
  maxima: Maxima
  set(vm: string, condition: VmCondition, reason?: string): void
  condition(vm: string): VmCondition | undefined
}

export function openMemoryHosts(names: string[] = ['h1']): MemoryHosts {
  const reports = new Map<string, VmReport & { host: string }>()
  const changed: ((report: VmReport, host: string) => void)[] = []
  const specs = new Map<string, VmSpec>()

  async function asked(host: string, method: string, what = ''): Promise<void> {
    hosts.calls.push(`${method} ${what}`.trim())
    await hosts.meanwhile?.(`${method} ${what}`.trim())
    if (hosts.away.has(host)) throw new Failure('host-lost', `the agent of ${host} is not connected`)
    const why = hosts.failing.get(method)
    if (why !== undefined) throw new Failure('failed', why)
  }

  const hosts: MemoryHosts = {
    calls: [], specs, images: [], fetching: [], away: new Set(), failing: new Map(), meanwhile: undefined, maxima: { run: '0000000000000000', k: 0, token: 0 },
    set(vm, condition, reason = '') {
      const report = { ...reports.get(vm)!, condition, reason }
      reports.set(vm, report)
      for (const listener of changed) listener(report, report.host)
    },
    condition: (vm) => reports.get(vm)?.condition,
    hosts: () => names,
    async capacity(host) {
      await asked(host, 'capacity')
      const given = [...reports.values()].filter((r) => r.host === host).reduce((sum, r) => sum + specs.get(r.vm)!.memoryMiB + 96, 0)
      return { host, accelerator: 'tcg', memoryMiB: 4096, memoryFreeMiB: 4096 - given, storeFreeBytes: 1e10, images: ['bank'], diskImages: hosts.images }
    },
    async defineVm(host, spec) {
      await asked(host, 'defineVm', spec.vm)
      if (reports.has(spec.vm)) return
      specs.set(spec.vm, spec)
      reports.set(spec.vm, { vm: spec.vm, slice: spec.slice, host, condition: 'defined', reason: '' })
    },
    async startVm(host, vm) {
      await asked(host, 'startVm', vm)
      if (!reports.has(vm)) throw new Failure('failed', `this host has no VM ${vm}`)
      hosts.set(vm, 'booting')
    },
    async setLogins(host, vm, logins) {
      await asked(host, 'setLogins', vm)
      specs.set(vm, { ...specs.get(vm)!, logins })
    },
    async stopVm(host, vm) {
      await asked(host, 'stopVm', vm)
      if (reports.has(vm)) hosts.set(vm, 'stopped')
    },
    async destroyVm(host, vm) {
      await asked(host, 'destroyVm', vm)
      reports.delete(vm)
    },
    async console(host, vm, bytes) {
      await asked(host, 'console', vm)
      return reports.has(vm) ? `${vm} says hello`.slice(-bytes) : ''
    },
    async createImage(host, { image, vm }) {
      await asked(host, 'createImage', `${image.name} of ${vm}`)
      const before = hosts.images.find((i) => i.id === image.id)
      if (before) return before
      const { image: guest, diskMiB } = specs.get(vm)!
      const made: DiskImage = { format: 1, ...image, state: 'making', why: '', guest, diskMiB, bytes: 1000, digest: '', created: '2026-01-01T00:00:00Z' }
      hosts.images.push(made)
      return made
    },
    async removeImage(host, id) {
      await asked(host, 'removeImage', id)
      hosts.images = hosts.images.filter((i) => i.id !== id)
    },
    async fetchImage(host, { source: { url } }) {
      await asked(host, 'fetchImage', url)
      return hosts.fetching.shift() ?? { state: 'there' }
    },
    async reports(host) {
      await asked(host, 'reports')
      return [...reports.values()].filter((r) => r.host === host).map(({ host: _, ...report }) => report)
    },
    async ask(host, method) {
      await asked(host, method)
      if (method === 'maxima') return hosts.maxima
      throw new Error(`${method} is for the snapshot core`)
    },
    onVmChanged: (listener) => { changed.push(listener) },
    onHostLost: () => undefined,
    onHostBack: () => undefined,
    close: () => undefined,
  }
  return hosts
}
