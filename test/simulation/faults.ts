// Faults as parts that can be put together: each begins, lasts, and is over, and knows nothing of what is checked. Which ones a world
// has is named by `--faults`; when they come is the seed's to say.
import { setFileFaults } from './world/modules/fs-promises.js'
import type { Site } from './world/site.js'
import { diskError } from './world/disk.js'
import type { Connection, Way } from './world/network.js'
import type { Machine } from './world/machine.js'
import type { Proc, World } from './world/world.js'
import { points as namedPoints, severalHostPoints } from '../faults/points.js'

/** Begins at a time of the seed's choosing; what it returns ends it. */
type Fault = (site: Site, w: World) => (() => void) | undefined

interface Links { lose: number; double: number; overtake: number; slow: number; clogged: boolean; cut: Way | 'both' | undefined }

const quiet = (): Links => ({ lose: 0, double: 0, overtake: 0, slow: 1, clogged: false, cut: undefined })
let links = quiet()
const sound = () => ({ slow: 1, failSync: 0, damaged: false })
let files = sound()
let held: (() => void)[] = []

/** Messages between worker and agents; those between an agent and its switch are never lost, and late now and then. */
function passage(w: World, connection: Connection, way: Way): { delays: number[]; overtakes: boolean } {
  const delay = w.dice.between(0.02, 0.4) * links.slow
  const far = connection.server.path.endsWith('/agent')
  if (!far) return { delays: [w.dice.chance(0.12) ? delay + w.dice.between(1, 20) : delay], overtakes: true }
  if (links.cut === way || links.cut === 'both' || w.dice.chance(links.lose)) return { delays: [], overtakes: false }
  const delays = w.dice.chance(links.double) ? [delay, delay + w.dice.between(0, 30)] : [delay]
  return { delays: links.clogged ? delays.map((d) => d + w.dice.between(200, 4_000)) : delays, overtakes: w.dice.chance(links.overtake) }
}

const forWhile = (begin: () => void): Fault => () => {
  begin()
  return () => { links = quiet() }
}

const dies = (name: (site: Site, w: World) => string): Fault => (site, w) => {
  const proc = site.living.get(name(site, w))
  if (!proc?.alive) return undefined
  if (w.dice.chance(0.5)) w.kill(proc, 'it was killed')
  else proc.dieAt = proc.steps + 1 + w.dice.int(120)
  return () => { proc.dieAt = Infinity }
}

/** SIGSTOP: it comes back and knows nothing of the time between. */
const stands = (name: (site: Site, w: World) => string): Fault => (site, w) => {
  const proc = site.living.get(name(site, w))
  return proc?.alive && !proc.frozen ? freeze(site, proc) : undefined
}

/** Ends with a call. An agent that stands looks after nobody. */
function freeze({ w, servingSince }: Site, proc: Proc): () => void {
  w.freeze(proc)
  const serves = proc.name.startsWith('agent')
  if (serves) servingSince.delete(proc.host.name)
  return () => {
    w.thaw(proc)
    if (proc.alive && serves) servingSince.set(proc.host.name, w.now)
  }
}

/** For so many ms, or to the end of all faults. */
export function standStill(site: Site, proc: Proc, ms: number): void {
  site.w.line(`${proc.name} stands still`)
  held.push(freeze(site, proc))
  endIn(site.w, held.at(-1)!, ms)
}

const forFiles = (begin: () => void): Fault => () => {
  begin()
  return () => { files = sound() }
}

const onMachine = (begin: (machine: Machine, w: World) => void, end: (machine: Machine) => void): Fault => (site, w) => {
  if (site.machines.size === 0) return undefined
  const machine = w.dice.pick([...site.machines])
  begin(machine, w)
  return () => end(machine)
}

const anyHost = (site: Site, w: World): string => w.dice.pick(site.hosts).name

export const faults: Record<string, Fault> = {
  loss: (site, w) => forWhile(() => { links.lose = 0.2 })(site, w),
  duplication: (site, w) => forWhile(() => { links.double = 0.4 })(site, w),
  reordering: (site, w) => forWhile(() => { links.overtake = 0.7 })(site, w),
  delay: (site, w) => forWhile(() => { links.slow = 60 })(site, w),
  clog: (site, w) => forWhile(() => { links.clogged = true })(site, w),
  'one-way': (site, w) => forWhile(() => { links.cut = w.dice.pick(['ask', 'answer'] as const) })(site, w),
  'no-answers': (site, w) => forWhile(() => { links.cut = 'answer' })(site, w),
  partition: (site, w) => {
    links.cut = 'both'
    const host = anyHost(site, w)
    site.w.network.reachable = (path) => !path.endsWith(`/${host}/agent`)
    for (const connection of [...w.network.connections]) if (connection.server.path.endsWith(`/${host}/agent`)) connection.end()
    return () => {
      links = quiet()
      w.network.reachable = () => true
    }
  },
  agent: dies((site, w) => `agent ${anyHost(site, w)}`),
  switch: dies((site, w) => `switch ${anyHost(site, w)}`),
  worker: dies(() => 'worker'),
  'host-crash': (site, w) => {
    site.crash(site.hosts.find((h) => h.name === anyHost(site, w))!, w.dice.between(100, 3_000))
    return () => undefined
  },
  'agent-stands': stands((site, w) => `agent ${anyHost(site, w)}`),
  'switch-stands': stands((site, w) => `switch ${anyHost(site, w)}`),
  'worker-stands': stands(() => 'worker'),
  'second-worker': (site, w) => {
    const first = site.living.get('worker')
    if (!first?.alive || first.frozen) return undefined
    w.freeze(first)
    w.line('worker stands still, and another one takes its place')
    site.living.delete('worker')
    site.startWorker()
    return () => {
      w.thaw(first)
      w.after(w.dice.between(50, 4_000), undefined, () => w.kill(first, 'it was not needed any more'))
    }
  },
  'redis-gone': (site) => {
    site.redis.up = false
    return () => site.redis.back()
  },
  'job-lost': (site) => {
    site.redis.handOvers = () => 0
    return () => { site.redis.handOvers = () => 1 }
  },
  'job-doubled': (site) => {
    site.redis.handOvers = () => 2
    return () => { site.redis.handOvers = () => 1 }
  },
  'slow-disk': forFiles(() => { files.slow = 80 }),
  'failing-sync': forFiles(() => { files.failSync = 0.25 }),
  'damaged-part': forFiles(() => { files.damaged = true }),
  'full-disk': (site) => {
    const { disk } = site
    disk.capacity = disk.used
    return () => { disk.capacity = 1e12 }
  },
  'clock-jump': (site, w) => {
    const host = w.dice.pick(site.hosts)
    host.skewMs += w.dice.between(-1, 1) * (w.dice.chance(0.5) ? 3_600_000 : 2_000)
    return () => undefined
  },
  'never-drains': onMachine((m) => { m.manners.stuck = true }, (m) => m.unstick()),
  'vm-dies': onMachine((m) => m.kill('its process was killed'), () => undefined),
  'dies-in-cut': onMachine((m, w) => { m.manners.dieInCut = w.dice.pick(['stop', 'save'] as const) }, (m) => { m.manners.dieInCut = undefined }),
  'save-fails': onMachine((m) => { m.manners.saveFails = true }, (m) => { m.manners.saveFails = false }),
  'slow-save': onMachine((m) => { m.manners.slowSaveMs = 7_000 }, (m) => { m.manners.slowSaveMs = 0 }),
  'silent-monitor': onMachine((m) => { m.manners.monitorSilentMs = 5_000 }, (m) => { m.manners.monitorSilentMs = 0 }),
  'nic-reset': onMachine((m) => m.resetNics(), () => undefined),
}

/** Where in the product a process dies, by name. Those that only images, or the AM, come to, are never met here. */
const points = [...namedPoints.filter(({ name, by }) => name !== 'idle' && by !== 'am').map(({ name }) => name), ...severalHostPoints]
/** Many come only now and then; the process dies at the first of so many that it comes to. */
const pointsAtOnce = 6
faults['points'] = (_site, w) => {
  const process = w.dice.pick(['agent.', 'agent.', 'worker.', 'switch.'])
  const of = points.filter((name) => name.startsWith(process))
  w.deathAt = { points: Array.from({ length: pointsAtOnce }, () => w.dice.pick(of)), proc: '' }
  return undefined
}
export const faultNames = Object.keys(faults)

/** Puts the parts into a world; nothing is wrong yet. */
export function arm(site: Site): void {
  const { w } = site
  links = quiet()
  files = sound()
  held = []
  armed = true
  w.network.passage = (connection, way) => passage(w, connection, way)
  setFileFaults({
    delay: (kind) => (kind === 'sync' ? w.dice.between(0.2, 1.5) : w.dice.between(0.005, 0.06)) * files.slow,
    error: (kind, path) => {
      if (kind === 'sync' && files.failSync > 0 && w.dice.chance(files.failSync)) return diskError('EIO', path)
      return undefined
    },
    damaged: (path) => files.damaged && /^\/store\/.*(\.memory|\.frames)$/.test(path),
  })
}

let armed = false

/** Some of the faults come soon: most within what an operation takes, some later; each lasts for a while. */
export function comeSoon(site: Site, names: string[]): void {
  const { w } = site
  if (names.length === 0) return
  for (let n = w.dice.int(3); n > 0; n--) {
    const name = w.dice.pick(names)
    w.after(w.dice.chance(0.8) ? w.dice.between(0, 90) : w.dice.between(90, 5_000), undefined, () => {
      if (armed) begin(site, name, w.dice.chance(0.7) ? w.dice.between(5, 300) : w.dice.between(300, 9_000))
    })
  }
}

/** One fault begins now and lasts so long; without `ms` until all end. */
export function begin(site: Site, name: string, ms?: number): void {
  const { w } = site
  if (!faults[name]) throw new Error(`there is no fault ${name}`)
  w.line(`fault ${name}`)
  const end = faults[name](site, w)
  if (!end) return
  w.probe(`fault ${name}`)
  held.push(end)
  if (ms !== undefined) endIn(w, end, ms)
}

function endIn(w: World, end: () => void, ms: number): void {
  w.after(ms, undefined, () => {
    if (!held.includes(end)) return
    held = held.filter((e) => e !== end)
    end()
  })
}

/** All faults end now, and none begins any more. */
export function disarm(site: Site): void {
  armed = false
  for (const end of held.splice(0)) end()
  site.w.deathAt = undefined
  links = quiet()
  files = sound()
}
