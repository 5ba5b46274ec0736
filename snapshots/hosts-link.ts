// What the snapshot core asks of the hosts' agents. jobs/ implements it over the agents' sockets.
import type { AgentAsks } from './messages.js'

export interface CutHosts {
  ask<K extends keyof AgentAsks>(host: string, method: K, detail: AgentAsks[K][0], timeoutMs: number): Promise<AgentAsks[K][1]>
}

/** Where the coordinator's state is kept before it acts. Redis, in jobs/. */
export interface CutJournal {
  save(op: string, state: unknown): Promise<void>
  remove(op: string): Promise<void>
}
