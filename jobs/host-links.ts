// The worker's permanent connections to the host agents, opened before any cut begins. A lost agent is connected to again
// and its reports are asked for anew, so that what happened meanwhile is not missed.
import { explain, Failure } from '../base/errors.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import { connectRpc, type RpcClient } from '../base/rpc.js'
import { until, type Clock } from '../base/time.js'
import type { FetchState, HostCapacity, VmHosts, VmReport } from '../slices/needs.js'
import type { VmSpec } from '../slices/vm-spec.js'
import type { CutHosts } from '../snapshots/hosts-link.js'
import type { AgentAsks } from '../snapshots/messages.js'

export interface HostLinks extends VmHosts, CutHosts {
  /** Every change, and after a reconnection the present state of each VM. */
  onVmChanged(listener: (report: VmReport, host: string) => void): void
  onHostLost(listener: (host: string) => void): void
  onHostBack(listener: (host: string) => void): void
  close(): void
}

const firstConnectMs = 30_000
const reconnectMs = 100
const askMs = 15_000
/** It waits for a cut that is just ending, and freezes a disk. */
const imageMs = 30_000
/** Less than the AM waits: then it hears which host was silent. */
const consoleMs = 8_000
const awayMs = 8_000

interface HostAddress { name: string; socket: string }

/** The connections themselves: each is opened again when it is lost, until all are closed. */
class Connections {
  readonly changed = new Set<(report: VmReport, host: string) => void>()
  readonly lost = new Set<(host: string) => void>()
  readonly back = new Set<(host: string) => void>()
  private readonly links = new Map<string, RpcClient>()
  private readonly log: Log
  private readonly clock: Clock
  private closed = false

  constructor({ log, clock }: { log: Log; clock: Clock }) {
    this.log = log
    this.clock = clock
  }

  /** Fails when the host does not answer within half a minute. */
  async connect(host: HostAddress): Promise<void> {
    let last: unknown
    const connected = await until(this.clock, firstConnectMs, reconnectMs, () => this.open(host).then(() => true, (error: unknown) => {
      last = error
      return undefined
    }))
    if (!connected) throw new Failure('host-lost', `the agent of ${host.name} does not answer`, { cause: last })
  }

  /** An agent that is away for a moment (it is being started again) is waited for; one that was lost in mid-call is an error. */
  async ask<T>(host: string, method: string, params: unknown, timeoutMs: number): Promise<T> {
    const there = () => (this.closed ? null : this.links.get(host)) // closed: nobody will come
    const rpc = await until(this.clock, Math.min(timeoutMs, awayMs), reconnectMs, there)
    if (!rpc) throw new Failure('host-lost', `the agent of ${host} is not connected`)
    return rpc.request<T>(method, params, timeoutMs)
  }

  close(): void {
    this.closed = true
    for (const rpc of this.links.values()) rpc.close()
  }

  private async open(host: HostAddress): Promise<void> {
    const rpc = await connectRpc(host.socket, `the agent of ${host.name}`)
    this.links.set(host.name, rpc)
    rpc.onNotification('vmChanged', (report: VmReport) => { for (const listener of this.changed) listener(report, host.name) })
    rpc.onClose(() => {
      this.links.delete(host.name)
      if (this.closed) return
      this.log.warn({ host: host.name }, 'the agent is gone: connecting again')
      for (const listener of this.lost) listener(host.name)
      void this.reopen(host)
    })
  }

  private async reopen(host: HostAddress): Promise<void> {
    for (let told = false; !this.closed;) {
      try {
        await this.open(host)
        for (const listener of this.back) listener(host.name)
        const reports = await this.ask<VmReport[]>(host.name, 'reports', {}, askMs)
        for (const report of reports) for (const listener of this.changed) listener(report, host.name)
        return
      } catch (error) {
        if (!told) this.log.warn({ host: host.name, why: explain(error) }, 'the agent does not answer yet')
        told = true
        await this.clock.sleep(reconnectMs)
      }
    }
  }
}

/** Connects to all hosts. Fails when one does not answer within half a minute. */
export async function connectHosts(at: { hosts: HostAddress[]; log: Log; clock: Clock }): Promise<HostLinks> {
  const connections = new Connections(at)
  for (const host of at.hosts) await connections.connect(host)
  const ask: Connections['ask'] = (...what) => connections.ask(...what)
  return {
    hosts: () => at.hosts.map((h) => h.name),
    capacity: (host) => ask<HostCapacity>(host, 'capacity', {}, askMs),
    defineVm: (host, spec: VmSpec) => ask(host, 'defineVm', spec, askMs),
    startVm: (host, vm, run) => ask(host, 'startVm', { vm, ...run }, limits.restoreMs),
    setLogins: (host, vm, logins) => ask(host, 'setLogins', { vm, logins }, askMs),
    stopVm: (host, vm, by) => ask(host, 'stopVm', { vm, by }, askMs),
    destroyVm: (host, vm, by) => ask(host, 'destroyVm', { vm, by }, askMs),
    console: async (host, vm, bytes) => (await ask<{ text: string }>(host, 'console', { vm, bytes }, consoleMs)).text,
    createImage: (host, detail) => ask(host, 'createImage', detail, imageMs),
    removeImage: (host, id) => ask(host, 'removeImage', { image: id }, consoleMs),
    fetchImage: (host, detail) => ask<FetchState>(host, 'fetchImage', detail, askMs),
    reports: (host) => ask<VmReport[]>(host, 'reports', {}, askMs),
    ask: <K extends keyof AgentAsks>(host: string, method: K, detail: AgentAsks[K][0], timeoutMs: number) =>
      ask<AgentAsks[K][1]>(host, method, detail, timeoutMs),
    onVmChanged: (listener) => { connections.changed.add(listener) },
    onHostLost: (listener) => { connections.lost.add(listener) },
    onHostBack: (listener) => { connections.back.add(listener) },
    close: () => connections.close(),
  }
}
