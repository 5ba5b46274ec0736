// Rules that need somebody who looks on from outside: what passes between workers and hosts, what becomes of a slice's lock, and what
// the guests see when all is at rest. Knows nothing of faults, as checkers.ts; tells by the promise that is broken.
import type { Operation } from '../../slices/operation.js'
import type { SliceRecord } from '../../slices/slice.js'
import type { Inventory } from '../../snapshots/inventory.js'
import type { Machine, MemoryImage } from './world/machine.js'
import { storeFolder, type Site } from './world/site.js'

/** What hosts refuse from a worker that was replaced. */
const fenced = ['cut', 'restorePrepare', 'createImage']

interface Sent { from: Machine; to: Machine; upTo: number }

export class Onlookers {
  private readonly site: Site
  /** The highest token that each host has written down, by host and slice. */
  private readonly tokens = new Map<string, number>()
  private readonly seenBefore = new WeakMap<object, number>()
  /** Lives that have ended with a suspension. */
  private readonly asleep = new Set<number>()
  private sent: Sent[] = []

  constructor(site: Site) {
    this.site = site
    this.watchTokens()
    this.watchNames()
    site.redis.onSlice = (before, now) => this.locked(JSON.parse(before) as SliceRecord, JSON.parse(now) as SliceRecord)
    const look = () => site.w.after(1_000, undefined, () => {
      for (const machine of site.machines) {
        if (!machine.running || !this.asleep.delete(machine.life.number)) continue
        site.w.violate(`a suspension is an end: ${machine.life.name} runs after it, and what it does is in no snapshot`)
      }
      look()
    })
    look()
  }

  /** A token that is lower than one that a host has written down is refused there, whatever else would be in its way. */
  private watchTokens(): void {
    const { network } = this.site.w
    const { onAsk, onAnswer } = network
    network.onAsk = (server, method, params) => {
      onAsk(server, method, params)
      if (!fenced.includes(method)) return
      const { slice } = params as { slice: string }
      this.seenBefore.set(params as object, this.tokens.get(`${server.proc.host.name} ${slice}`) ?? 0)
    }
    network.onAnswer = (server, method, params, result) => {
      onAnswer(server, method, params, result)
      if (!fenced.includes(method)) return
      const before = this.seenBefore.get(params as object) ?? 0
      const { token } = params as { token: number }
      if (token < before) this.site.w.violate(`a stale worker is refused: ${server.proc.host.name} has seen token ${before}, and does ${method} with ${token}`)
    }
  }

  private watchNames(): void {
    const { disk } = this.site
    const { onName } = disk
    const { onCrash } = this.site
    disk.onName = (path, inode) => {
      onName(path, inode)
      const [, host, slice] = /^\/state\/(h\d)\/slices\/(.*)\.json$/.exec(path) ?? []
      if (host) this.tokens.set(`${host} ${slice}`, (JSON.parse(inode.data.toString()) as { token: number }).token)
      const [, uuid, id] = /^\/store\/([^/]+)\/([^/]+)\/outcome$/.exec(path) ?? []
      if (id && inode.data.includes('"commit"')) this.suspended(`${storeFolder}/${uuid}/${id}`)
    }
    this.site.onCrash = () => {
      onCrash()
      this.tokens.clear()
    }
  }

  private suspended(folder: string): void {
    const { disk } = this.site
    const text = disk.find(`${folder}/inventory.json`)?.data.toString()
    const inventory = text === undefined ? undefined : JSON.parse(text) as Inventory
    if (inventory?.kind !== 'suspend') return
    for (const share of inventory.hosts) {
      for (const vm of share.vms) {
        const memory = disk.find(`${folder}/${vm.memory.name}`)
        if (memory) this.asleep.add((JSON.parse(memory.data.toString()) as MemoryImage).life)
      }
    }
  }

  /** The lock of a slice is let go by the end of its holder, or taken from it by a later operation. */
  private locked(before: SliceRecord, now: SliceRecord): void {
    const { w, redis } = this.site
    if (now.token < before.token) w.violate(`epochs, runs and tokens only grow: the slice's token went from ${before.token} to ${now.token}`)
    const holder = before.operation?.id
    if (holder === undefined || now.operation?.id === holder) return
    const text = redis.peek(`op:${holder}`)
    const ended = text === undefined || (JSON.parse(text) as Operation).ended !== ''
    if (now.operation === null && !ended) w.violate(`the lock is its holder's: the slice is free, and ${holder} that held it has not ended`)
    if (now.operation !== null && now.token <= before.token) {
      w.violate(`the lock is its holder's: ${now.operation.id} has it after ${holder}, with no higher token`)
    }
  }

  /** Call it when all is at rest, and `atRest` a good while later. */
  noteSent(): void {
    const all = [...this.site.machines].filter((m) => m.executes)
    this.sent = all.flatMap((from) => all.filter((to) => to !== from && to.instance.run === from.instance.run)
      .map((to) => ({ from, to, upTo: from.memory.sent[to.name] ?? 0 })))
  }

  /** What was sent has come, and the record says what is. */
  atRest(record: SliceRecord): void {
    const { w, machines } = this.site
    for (const { from, to, upTo } of this.sent) {
      if (!machines.has(to) || !to.executes) continue
      const stuck = seqs((to.memory.got[from.name] ?? 0) + 1, upTo).find((seq) => !to.life.excuses(from.name, seq))
      if (stuck !== undefined) w.violate(`frames flow: frame ${stuck} from ${from.name} to ${to.life.name} waits, and there is nothing that it could wait for`)
    }
    const runs = new Set([...machines].filter((m) => m.running).map((m) => m.name))
    for (const { id, operational } of record.slivers) {
      const wrong = operational === 'geni_ready' ? !runs.has(id) : ['violin_suspended', 'geni_notready'].includes(operational) && runs.has(id)
      if (wrong) w.violate(`the record says what is: ${id} is ${operational} on record, and ${runs.has(id) ? 'runs' : 'does not run'}`)
    }
  }
}

const seqs = (first: number, last: number): number[] => Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i)
