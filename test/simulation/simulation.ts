// One simulation: a world is made of a seed, a slice begins to work in it, people do what people do, and faults come (safety phase);
// then the faults end and everything must come to rest (liveness phase), and a snapshot, a rollback and a snapshot must work again.
import type { CheckpointPolicy } from '../../rspec/topology.js'
import type { Operation } from '../../slices/operation.js'
import { Checkers } from './checkers.js'
import { Onlookers } from './onlookers.js'
import { arm, comeSoon, disarm } from './faults.js'
import { keepBusy, type Machine } from './world/machine.js'
import { newSlice, Site } from './world/site.js'
import { User } from './user.js'
import { enter, World } from './world/world.js'

export interface Wanted {
  seed: number
  /** What the user begins in the safety phase. */
  cuts: number
  faults: string[]
  tell?: ((line: string) => void) | undefined
}

export interface Finding { seed: number; hash: string; violations: string[]; probes: Map<string, number>; last: string[]; events: number; virtualMs: number }

/** Every deadline of the product is over by then: the longest waits are 120 s. */
const restMs = 400_000
/** What a user begins is over by then, or waits for a deadline. */
const busyMs = 500

/** What people do while faults come. */
type Safety = (site: Site, user: User) => Promise<void>

export async function simulate({ seed, cuts, faults, tell }: Wanted): Promise<Finding> {
  return simulateLife({ seed, tell, safetyMs: cuts * 70_000 }, (site, user) => atRandom(site, user, cuts, faults))
}

async function atRandom(site: Site, user: User, cuts: number, names: string[]): Promise<void> {
  const { w } = site
  for (let n = 1; n <= cuts && w.violations.length === 0; n++) {
    comeSoon(site, names)
    keepBusy(busyMs)
    if (w.dice.chance(0.15)) user.does(() => user.sleep(w.dice.between(0, 60)).then(() => user.act(`t-${n}`))) // two at once
    await user.act(`s-${n}`)
  }
}

export async function simulateLife(
  { seed, tell, safetyMs, vms }: { seed: number; tell?: Wanted['tell']; safetyMs: number; vms?: number }, safety: Safety,
): Promise<Finding> {
  const w = enter(new World({ seed, tell }))
  const rejected = (reason: unknown) => {
    const { current } = w
    if (current && typeof (reason as { code?: unknown }).code === 'string') { // of its disk: it ends a process of Node, and another one begins
      w.probe('a process ends by an error that nobody waits for')
      w.kill(current, String(reason))
      return
    }
    w.violate(`no bug: ${w.current?.name ?? 'nobody'} left a promise rejected: ${reason instanceof Error ? reason.stack ?? reason.message : String(reason)}`)
  }
  process.on('unhandledRejection', rejected)
  try {
    await live(w, safety, safetyMs, vms)
  } catch (error) {
    w.violate(`the simulation itself: ${error instanceof Error ? error.stack ?? error.message : String(error)}`)
  } finally {
    process.off('unhandledRejection', rejected)
  }
  const state = w.violations.join('\n')
  return { seed, hash: w.digest(`${state} ${w.now} ${w.events}`), violations: w.violations, probes: w.probes, last: w.last.slice(-60), events: w.events, virtualMs: w.now }
}

async function live(w: World, act: Safety, safetyMs: number, vms?: number): Promise<void> {
  keepBusy(0)
  const site = new Site(w, 1)
  const checkers = new Checkers(site)
  const onlookers = new Onlookers(site)
  arm(site)
  site.start()
  const slice = newSlice(w, site.hosts, vms ?? 2 + w.dice.int(2), { policy: vms === undefined && w.dice.chance(0.3) ? aPolicy(w) : null })
  const user = new User(site, slice.urn)
  const wrong = () => w.violations.length > 0
  const settles = async (work: { done: boolean }, ms: number) => (await w.run(ms, () => work.done || wrong())) && !wrong()

  const begun = user.does(async () => {
    await user.create(slice)
    await user.completes('provision')
    await user.completes('start')
    for (let tries = 0; tries < 100 && (await user.record()).slivers.some((s) => s.operational !== 'geni_ready'); tries++) await user.sleep(100)
  })
  if (!(await settles(begun, 60_000))) {
    if (!wrong()) w.violate('the slice begins: it did not')
    return
  }
  for (const machine of site.machines) machine.memory.started = true
  keepBusy(busyMs)
  if (!(await settles(user.does(() => user.completes('snapshot', { snapshot: 's-first' })), 60_000))) return

  const safety = user.does(() => act(site, user))
  await w.run(safetyMs, () => safety.done || wrong())
  if (safety.error) throw new Error('what the user did failed', { cause: safety.error })
  disarm(site)
  if (wrong()) return
  w.line('faults end')
  await comeToRest(site, user, { checkers, onlookers }, wrong)
  if (!wrong()) await lifeGoesOn(site, user, checkers, wrong)
}

const aPolicy = (w: World): CheckpointPolicy => ({
  keep: 1 + w.dice.int(3), ...(w.dice.chance(0.5) ? { intervalMs: 5_000 } : {}), ...(w.dice.chance(0.7) ? { onFailure: w.dice.pick(['rollback', 'suspend'] as const) } : {}),
})

async function comeToRest(site: Site, user: User, { checkers, onlookers }: { checkers: Checkers; onlookers: Onlookers }, wrong: () => boolean): Promise<void> {
  const { w } = site
  keepBusy(0)
  const rests = user.does(async () => {
    await user.setPolicy(null)
    const end = w.now + restMs
    while (w.now < end) {
      const record = await user.record()
      const open = [...site.agents.values()].some(({ participants }) => participants.isOpen(record.uuid))
      const restoring = [...site.agents.values()].some(({ restores }) => restores.isRestoring(record.uuid))
      if (!record.operation && !open && !restoring && site.servingSince.size === site.hosts.length) return true
      await user.sleep(1_000)
    }
    return false
  })
  await w.run(restMs + 10_000, () => rests.done || wrong())
  if (wrong()) return
  if (rests.value !== true) {
    w.violate('everything ends: an operation, a cut or a restore is still open long after the last fault')
    return
  }
  if (['fault failing-sync', 'fault full-disk'].some((name) => w.probes.has(name))) site.kill('worker') // what could not be removed goes with the next one
  onlookers.noteSent()
  await w.run(36_000, () => false) // layers are collected, processes end
  const last = user.does(async () => ({ record: await user.record(), catalogue: await user.catalogue() }))
  await w.run(5_000, () => last.done)
  if (!last.value || wrong()) return
  checkers.atRest(last.value.record, last.value.catalogue, known(site))
  onlookers.atRest(last.value.record)
}

const known = (site: Site): Machine[] => [...site.machines].filter((m) =>
  [...site.agents.values()].some(({ registry }) => registry.runningOf(m.instance.spec.slice).some((vm) => vm.instance.pid === m.proc.pid)))

const received = (machine: Machine): number => Object.values(machine.memory.got).reduce((sum, n) => sum + n, 0)

/** Restore, run and cut again works. */
async function lifeGoesOn(site: Site, user: User, checkers: Checkers, wrong: () => boolean): Promise<void> {
  const { w } = site
  keepBusy(1_500)
  const must = async (kind: 'snapshot' | 'rollback' | 'resume', snapshot: string): Promise<void> => {
    let ended: Operation | undefined
    for (let tries = 0; tries < 3 && ended?.state !== 'done'; tries++) ended = await user.completes(kind, { snapshot: tries === 0 ? snapshot : kind === 'snapshot' ? `${snapshot}-${tries}` : snapshot })
    if (ended?.state !== 'done') w.violate(`life goes on: ${kind} ${snapshot} ended as ${ended?.state ?? 'never'}: ${ended?.error ?? ''}`)
  }
  const goes = user.does(async () => {
    const record = await user.record()
    const newest = (await user.catalogue()).at(-1)?.id
    if (newest === undefined) {
      w.violate('life goes on: there is no snapshot at all')
      return
    }
    if (record.slivers.some((s) => s.operational !== 'geni_ready')) await must('rollback', newest)
    await must('snapshot', 'z-1')
    await user.sleep(300)
    await must('rollback', 'z-1')
    await user.sleep(300)
    await must('snapshot', 'z-2')
    const had = new Map([...site.machines].map((m) => [m, received(m)]))
    await user.sleep(600)
    for (const [machine, before] of had) if (received(machine) === before) w.violate(`frames flow: ${machine.life.name} gets none any more`)
  })
  await w.run(900_000, () => goes.done || wrong())
  if (wrong()) return
  if (!goes.done) w.violate('life goes on: it does not')
  if (goes.error) w.violate(`life goes on: ${String((goes.error as Error).stack)}`)
  if (wrong()) return
  for (const machine of site.machines) if (!machine.executes) w.violate(`life goes on: ${machine.life.name} does not run`)
  checkers.noneIsMissing()
}
