// One command's talk with an aggregate about one slice: its nodes by name, actions, and waiting for their ends.
import { resolve } from 'node:path'
import { Failure, Refusal } from '../../base/errors.js'
import { sameUrn } from '../../base/urn.js'
import { nodesOf, text, type ManifestNode, type SliceClient, type SliverStatus, type Struct } from '../demo/slice-client.js'
import { nameOfSlice, type Access } from './access.js'
import type { SliceTools } from './tools.js'
import { waitFor, type Waited } from './waiting.js'

const operationMs = 15 * 60_000
const bootMs = 300_000

export class Session {
  readonly access: Access
  readonly client: SliceClient
  readonly tools: SliceTools
  readonly name: string

  constructor(access: Access, client: SliceClient, tools: SliceTools) {
    this.access = access
    this.client = client
    this.tools = tools
    this.name = nameOfSlice(access)
  }

  /** For people, beside the answer. */
  say(line: string): void {
    this.tools.err.write(`violin: ${line}\n`)
  }

  /** A command on this slice, as the user would type it. */
  command(words: string): string {
    const { local, url } = this.access
    const where = local === undefined ? ` --am ${url} ...` : local.state === resolve(this.tools.stateFolder) ? '' : ` --state ${local.state}`
    return `violin slice ${words} --slice ${this.name}${where}`
  }

  async nodes(): Promise<ManifestNode[]> {
    return nodesOf(await this.client.describe())
  }

  /** The nodes of these names; all where none is named. Refuses a name that the slice does not have. */
  async nodesNamed(names: string[]): Promise<ManifestNode[]> {
    const all = await this.nodes()
    const unknown = names.find((name) => !all.some((n) => n.clientId === name))
    if (unknown !== undefined) {
      const known = all.map((n) => n.clientId).join(', ') || 'none'
      throw new Refusal('not-found', `the slice ${this.name} has no node ${unknown}: it has ${known}`)
    }
    return names.length === 0 ? all : all.filter((n) => names.includes(n.clientId))
  }

  /** Begins an action and waits for the end of its operation; a Failure with its reason when it did not come about. */
  async perform(doing: string, action: string, options: Struct = {}, slivers?: string[]): Promise<Struct[]> {
    const answered = await this.client.action(action, options, slivers)
    const id = text(answered[0] ?? {}, 'violin_operation')
    if (id !== '') await this.follow(doing, id) // none: there was nothing to do
    return answered
  }

  /** Until these slivers (all, when none are named) are up; a Failure when one of them has failed. */
  async waitUntilReady(doing: string, slivers: string[] = []): Promise<SliverStatus[]> {
    return this.wait(doing, bootMs, async () => {
      const all = await this.client.status()
      const meant = slivers.length === 0 ? all : all.filter((s) => slivers.some((urn) => sameUrn(urn, s.urn)))
      const failed = meant.find((s) => s.operational === 'geni_failed')
      if (failed) {
        const node = (await this.nodes()).find((n) => sameUrn(n.sliver, failed.urn))?.clientId ?? failed.urn
        throw new Failure('failed', `${node} has failed: ${failed.error || failed.resourceStatus}; its last words: ${this.command(`console ${node}`)}`)
      }
      const over = meant.length > 0 && meant.every((s) => s.operational === 'geni_ready')
      return { state: summary(meant), ...(over ? { done: meant } : {}) }
    })
  }

  /** Waits for the end of an operation. `hint` tells whoever stops waiting what to do next. */
  async follow(doing: string, id: string, hint = this.command('status')): Promise<void> {
    await this.wait(doing, operationMs, async () => {
      const { slivers, operation } = await this.client.statusWith(id)
      if (!operation) throw new Failure('failed', `${doing}: the aggregate knows nothing of the operation ${id}`)
      const { state, error } = operation
      if (state === 'pre-empted') throw new Failure('aborted', `${doing} did not come to its end: ${error || 'another operation came first'}`)
      if (state === 'failed') throw new Failure('failed', `${doing} has failed: ${error}`)
      return { state: summary(slivers), ...(state === 'done' ? { done: true } : {}) }
    }, hint)
  }

  private async wait<T>(doing: string, withinMs: number, look: () => Promise<Waited<T>>, hint = this.command('status')): Promise<T> {
    return waitFor(this.tools, { doing, withinMs, hint }, look)
  }
}

/** `2 of 3 geni_ready, 1 geni_configuring` */
export function summary(slivers: SliverStatus[]): string {
  const counts = new Map<string, number>()
  for (const { operational } of slivers) counts.set(operational, (counts.get(operational) ?? 0) + 1)
  return [...counts].map(([state, n]) => `${n} of ${slivers.length} ${state}`).join(', ') || 'no nodes'
}
