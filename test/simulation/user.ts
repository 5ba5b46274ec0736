// The people of a simulation: a user who begins operations as the aggregate manager does (am-plugin/methods/perform-operational-action.ts),
// one after another, whatever goes on meanwhile. It looks at the records only, as a user does.
import type { Operation, OperationKind } from '../../slices/operation.js'
import type { SliceRecord } from '../../slices/slice.js'
import { mayBegin, type OperationalState } from '../../slices/sliver.js'
import type { SnapshotEntry } from '../../snapshots/needs.js'
import { setTimeout } from './world/modules/globals.js'
import { product } from './product.js'
import type { Site } from './world/site.js'
import { world, type Proc } from './world/world.js'

export const userUrn = 'urn:publicid:IDN+ch.example+user+alice'

const actions: Partial<Record<OperationKind, { action: string; state: OperationalState }>> = {
  snapshot: { action: 'violin_snapshot', state: 'violin_snapshotting' }, suspend: { action: 'violin_suspend', state: 'violin_suspending' },
  resume: { action: 'violin_resume', state: 'violin_resuming' }, rollback: { action: 'violin_rollback', state: 'violin_rolling_back' },
  start: { action: 'geni_start', state: 'geni_configuring' },
}

export class User {
  readonly proc: Proc
  private readonly site: Site
  private readonly urn: string
  private readonly at

  constructor(site: Site, urn: string) {
    const w = world()
    this.site = site
    this.urn = urn
    this.proc = w.begin('am', site.hosts[0]!)
    const store = product().redisStore.openSliceStore(site.redis.client)
    this.at = {
      store, queue: site.redis.queue, random: { bytes: (count: number) => w.tokens.bytes(count) },
      clock: { now: () => w.wall(this.proc.host), monotonic: () => w.now, sleep: (ms: number) => this.sleep(ms) },
    }
  }

  /** Begins something in the life of the AM; the promise it gives can be looked at by `done`. */
  does<T>(work: () => Promise<T>): { done: boolean; value: T | undefined; error: unknown } {
    const end: { done: boolean; value: T | undefined; error: unknown } = { done: false, value: undefined, error: undefined }
    world().after(0.01, this.proc, () => void work().then((value) => { end.value = value }, (error: unknown) => { end.error = error }).finally(() => { end.done = true }))
    return end
  }

  sleep(ms: number): Promise<void> { return new Promise((resolve) => { setTimeout(resolve, ms) }) }
  async record(): Promise<SliceRecord> { return (await this.at.store.slice(this.urn))! }
  create(slice: SliceRecord): Promise<boolean> { return this.at.store.create(slice) }
  operation(id: string): Promise<Operation | undefined> { return this.at.store.operation(id) }
  async catalogue(): Promise<SnapshotEntry[]> { return (await this.at.store.snapshots((await this.record()).uuid)) as SnapshotEntry[] }
  async setPolicy(policy: SliceRecord['policy']): Promise<void> { await this.at.store.update(this.urn, (record) => ({ ...record, policy })) }

  /** Undefined: it was refused. */
  async begin(kind: OperationKind, params: Operation['params'] = {}, how: { who?: string; preempts?: boolean } = {}): Promise<Operation | undefined> {
    const known = actions[kind]
    const w = world()
    try {
      const { operation } = await product().lock.beginOperation(this.at, this.urn, {
        kind, who: how.who ?? userUrn, why: kind, callId: 'c', params, ...(how.preempts ? { preempts: true } : {}),
      }, (record, begun) => {
        const { Refusal } = product().errors
        for (const s of record.slivers) if (known && !mayBegin[known.action]!.includes(s.operational)) throw new Refusal('unsupported', `${s.clientId} is ${s.operational}`)
        begun.params = { ...begun.params, was: Object.fromEntries(record.slivers.map((s) => [s.id, s.operational])) }
        for (const s of record.slivers) if (known && how.who === undefined) s.operational = known.state // the policy changes no state (jobs/periodic.ts)
      })
      w.line(`user begins ${kind} ${operation.id}`)
      await this.at.queue.add(operation)
      return operation
    } catch (error) {
      if (!(error instanceof product().errors.Refusal)) throw error
      w.probe(`refused: ${kind}`)
      return undefined
    }
  }

  /** Waits until an operation has ended; undefined when it has not for so long. */
  async ended(operation: Operation, ms: number): Promise<Operation | undefined> {
    const end = world().now + ms
    while (world().now < end) {
      const now = await this.operation(operation.id)
      if (now && now.ended !== '') return now
      await this.sleep(60)
    }
    return undefined
  }

  async completes(kind: OperationKind, params: Operation['params'] = {}, ms = 200_000): Promise<Operation | undefined> {
    const operation = await this.begin(kind, params)
    return operation && this.ended(operation, ms)
  }

  /** One thing that a user might do now. */
  async act(name: string): Promise<void> {
    const w = world()
    const record = await this.record()
    const states = new Set(record.slivers.map((s) => s.operational))
    const catalogue = await this.catalogue()
    const patience = w.dice.chance(0.2) ? w.dice.between(20, 800) : 60_000
    let operation: Operation | undefined
    if (states.has('violin_suspended')) {
      operation = catalogue.some((e) => e.id === record.head) ? await this.begin('resume', { snapshot: record.head }) : await this.rollback(catalogue)
    } else if (states.has('geni_failed')) operation = await this.rollback(catalogue)
    else {
      const luck = w.dice.fraction()
      if (luck < 0.55) operation = await this.begin('snapshot', { snapshot: name }, w.dice.chance(0.3) ? { who: 'policy' } : {})
      else if (luck < 0.68) operation = await this.begin('suspend', { snapshot: name })
      else if (luck < 0.88) operation = await this.rollback(catalogue)
      else operation = catalogue.length > 1 ? await this.begin('delete-snapshot', { snapshot: w.dice.pick(catalogue.filter((e) => e.id !== record.head)).id }) : undefined
    }
    if (operation) await this.ended(operation, patience)
    else await this.sleep(w.dice.between(50, 2_000))
  }

  private rollback(catalogue: SnapshotEntry[]): Promise<Operation | undefined> {
    return catalogue.length > 0 ? this.begin('rollback', { snapshot: world().dice.pick(catalogue).id }) : Promise.resolve(undefined)
  }
}
