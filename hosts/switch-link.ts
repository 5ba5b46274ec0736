// The agent's connection to the switch of its host. The switch is a process of its own and may be restarted: then this
// connects again and whoever listens puts runs and ports back.
import { Failure } from '../base/errors.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import { connectRpc, type RpcClient } from '../base/rpc.js'
import { until, type Clock } from '../base/time.js'
import type { SwitchAsks, SwitchTells } from '../overlay/control.js'

const askMs = 5_000
const connectMs = 15_000

export class SwitchLink {
  private rpc: RpcClient | undefined
  private closed = false
  /** It was lost, and is not there again with all ports. */
  private away = false
  private readonly path: string
  private readonly clock: Clock
  private readonly log: Log
  private readonly onForwarded: (cut: SwitchTells['forwarded']) => void
  private readonly onBack: () => Promise<void>

  constructor(at: {
    path: string
    clock: Clock
    log: Log
    onForwarded(cut: SwitchTells['forwarded']): void
    /** The switch is there (again) and knows nothing of us. */
    onBack(): Promise<void>
  }) {
    this.path = at.path
    this.clock = at.clock
    this.log = at.log
    this.onForwarded = (cut) => at.onForwarded(cut)
    this.onBack = () => at.onBack()
  }

  async open(): Promise<void> {
    const rpc = await until(this.clock, connectMs, 20, () => connectRpc(this.path, 'the switch').catch(() => undefined))
    if (!rpc) throw new Failure('host-lost', `no switch answers at ${this.path}`)
    this.rpc = rpc
    rpc.onNotification('forwarded', (cut: SwitchTells['forwarded']) => this.onForwarded(cut))
    rpc.onClose(() => {
      if (this.closed) return
      this.log.warn('the switch is gone: connecting again')
      this.away = true
      void this.reopen()
    })
  }

  /** After: the switch has been told to end. */
  async end(): Promise<void> {
    const { rpc } = this
    this.closed = true
    await rpc?.request('end', {}, askMs)
  }

  /** A switch that has ended is there again within a second: what is begun meanwhile need not fail for it. Rejects when it does not come. */
  async whenBack(): Promise<void> {
    if (await until(this.clock, connectMs, 20, () => (this.away ? undefined : true))) return
    throw new Failure('host-lost', `no switch answers at ${this.path}`)
  }

  ask<K extends keyof SwitchAsks>(method: K, detail: SwitchAsks[K][0], timeoutMs = askMs): Promise<SwitchAsks[K][1]> {
    if (!this.rpc) return Promise.reject(new Failure('host-lost', 'the switch is not connected'))
    return this.rpc.request(method, detail, timeoutMs)
  }

  close(): void {
    this.closed = true
    this.rpc?.close()
  }

  private async reopen(): Promise<void> {
    while (!this.closed) {
      try {
        await this.open()
        await this.onBack()
        this.away = false
        return
      } catch (error) {
        this.log.error({ err: error }, 'the switch cannot be reached')
        await this.clock.sleep(limits.drainMs)
      }
    }
  }
}
