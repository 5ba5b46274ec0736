// What must hold in every world. Nothing in here knows of faults: what is read are files, records, processes and the memory of VMs,
// and what is asked is what was promised (docs/cut-protocol.md). Rules about frames as they arrive are in world/guest.ts.
import { createHash } from 'node:crypto'
import type { Inventory } from '../../snapshots/inventory.js'
import type { ParticipantState } from '../../snapshots/participant.js'
import type { SliceRecord } from '../../slices/slice.js'
import type { Inode } from './world/disk.js'
import { coinOf, firstBalance, type Coin } from './world/guest.js'
import type { Machine, MemoryImage } from './world/machine.js'
import { product } from './product.js'
import { storeFolder, type Site } from './world/site.js'

/** A VM stands for a cut, and for the rescue and the deadman where that fails; no longer, while an agent looks after it. */
const standMs = 20_000
/** From a stop to its image at most. */
const stopMs = 50

/** Where a process died between writing aside and renaming: known, small, and in no reader's way (docs/simulation.md). */
const aside = /^\/(state|store\/[^/]+\/restores)\/.*\.\d+\.\d+\.part$/

const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex')

export class Checkers {
  private readonly site: Site
  private readonly marks = new Map<string, { k: number; token: number; run: string }>()
  private readonly opOf = new Map<string, string>()
  private readonly phases = new Map<string, { slice: string; phase: string }>()
  readonly committed = new Set<string>()

  constructor(site: Site) {
    this.site = site
    site.disk.onName = (path, inode) => this.named(path, inode)
    site.disk.onGone = (path) => this.phases.delete(path.replace(/^\/state\/(h\d)\/cuts\/(.*)\.json$/, '$1 $2'))
    site.onCrash = () => this.forgetMarks()
    const look = () => site.w.after(1_000, undefined, () => {
      this.lookAtVms()
      look()
    })
    look()
  }

  /** After a crash hosts remember what was durable, which is what they have answered by. */
  private forgetMarks(): void {
    this.marks.clear()
    this.phases.clear()
  }

  private named(path: string, inode: Inode): void {
    const [, top, second, third, fourth] = path.split('/')
    if (top === 'store' && fourth === 'outcome') {
      try {
        this.decided(second!, third!, inode)
      } catch (error) {
        this.site.w.violate(`committed is complete: ${third} cannot be read: ${String(error)}`)
      }
    }
    if (top !== 'state' || !fourth?.endsWith('.json')) return
    if (third === 'slices') this.marked(path, JSON.parse(inode.data.toString()) as { k: number; token: number; run: string })
    if (third === 'cuts') this.journalled(second!, fourth.replace('.json', ''), JSON.parse(inode.data.toString()) as ParticipantState)
  }

  private marked(path: string, now: { k: number; token: number; run: string }): void {
    const before = this.marks.get(path)
    if (before && (now.k < before.k || now.token < before.token || now.run < before.run)) {
      this.site.w.violate(`epochs, runs and tokens only grow: ${path} went from ${JSON.stringify(before)} to ${JSON.stringify(now)}`)
    }
    this.marks.set(path, now)
  }

  private journalled(host: string, op: string, state: ParticipantState): void {
    const { order, phase } = state
    if (!order) return
    const key = `${host} ${order.slice} ${order.k}`
    const other = this.opOf.get(key)
    if (other !== undefined && other !== op) this.site.w.violate(`an epoch is used once: ${order.k} by ${other} and by ${op}`)
    this.opOf.set(key, op)
    this.phases.set(`${host} ${op}`, { slice: order.slice, phase })
    const open = [...this.phases].filter(([name, p]) => name.startsWith(`${host} `) && p.slice === order.slice && !['done', 'void', 'none'].includes(p.phase))
    if (open.length > 1) this.site.w.violate(`one undecided operation on a slice: ${open.map(([name, p]) => `${name} ${p.phase}`).join(', ')}`)
  }

  private decided(slice: string, id: string, inode: Inode): void {
    const { outcome } = JSON.parse(inode.data.toString()) as { outcome: string }
    this.site.w.line(`outcome of ${id}: ${outcome}`)
    if (outcome !== 'commit') return
    this.committed.add(id)
    this.judge(slice, id, true)
  }

  /** Committed means complete, readable and, at the time of the decision, durable. */
  judge(slice: string, id: string, fresh: boolean): void {
    const { w, disk } = this.site
    const folder = `${storeFolder}/${slice}/${id}`
    const bad = (what: string) => w.violate(`committed is complete: ${id}: ${what}`)
    const there = (path: string): Inode | undefined => {
      const inode = disk.find(path)
      if (!inode) {
        bad(`${path} is not there`)
        return undefined
      }
      const { folder: up, name } = disk.folderOf(path)
      if (fresh && (inode.durable === undefined || !inode.durable.equals(inode.data) || up.durableEntries.get(name) !== inode)) bad(`${path} is not on disk yet`)
      return inode
    }
    const part = (path: string, of: { bytes: number; digest: string }): Inode | undefined => {
      const inode = there(path)
      if (inode && (inode.data.length !== of.bytes || sha(inode.data) !== of.digest)) bad(`${path} is not what was sealed`)
      return inode
    }
    const text = there(`${folder}/inventory.json`)
    there(`${folder}/inventory.sig`)
    if (!text) return
    const inventory = JSON.parse(text.data.toString()) as Inventory
    const images: MemoryImage[] = []
    const log: { to: number; coin: Coin }[] = []
    const uncovered = new Set<string>()
    for (const share of inventory.hosts) {
      const frames = part(`${folder}/${share.channels.name}`, share.channels)
      if (frames) log.push(...product().channelLog.decodeLog(slice, frames.data).map(({ to, frame }) => ({ to, coin: coinOf(frame.bytes) })))
      for (const vm of share.vms) {
        const memory = part(`${folder}/${vm.memory.name}`, vm.memory)
        if (memory) images.push(JSON.parse(memory.data.toString()) as MemoryImage)
        if (!vm.cut.drained) uncovered.add(vm.vm)
        const image = images.at(-1)
        if (fresh && image && vm.cut.drained && vm.cut.latches.every((l) => l.witness === 'exact') && this.uncoveredAtStop(image)) {
          bad(`frames of ${vm.vm} were thrown away by stop, and it says that all is covered`)
        }
        const disks = fresh ? vm.layers.map((l) => part(`/state/${share.host}/layers/${l.name}`, l)) : []
        const top = disks.filter((d) => d && d.data.length > 0).at(-1)
        const writes = top ? (JSON.parse(top.data.toString()) as { writes: number }).writes : 0
        if (fresh && memory && writes !== images.at(-1)!.guest.writes) bad(`the disk of ${vm.vm} has write ${writes}, its memory ${images.at(-1)!.guest.writes}`)
      }
    }
    if (inventory.mode === 'live' || inventory.mode === 'stop') this.consistent(inventory, images, log, uncovered)
  }

  /** No orphan, and conservation: what was sent before the cut is in a VM or in a channel, once, in order. */
  private consistent(inventory: Inventory, images: MemoryImage[], log: { to: number; coin: Coin }[], uncovered: Set<string>): void {
    const { w, lives } = this.site
    const hostOf = new Map(inventory.members.map((m) => [m.vm, m.host]))
    let whole = true
    let inChannels = 0
    for (const q of images) {
      const port = inventory.members.find((m) => m.vm === q.vm)!.ports[0]!
      const ring = q.nics.flatMap((nic) => nic.ring.map((text) => coinOf(Buffer.from(text, 'base64'))))
      for (const p of images) {
        if (p === q || hostOf.get(p.vm) !== hostOf.get(q.vm)) continue
        const sent = p.guest.sent[q.vm] ?? 0
        const mine = (coin: Coin) => coin.from === p.vm && coin.to === q.vm
        const coming = [...ring.filter(mine), ...log.filter((l) => l.to === port).map((l) => l.coin).filter(mine)]
        let last = q.guest.got[p.vm] ?? 0
        if (Math.max(last, ...coming.map((c) => c.seq)) > sent) {
          w.violate(`no orphan: in ${inventory.id} ${q.vm} has, or will get, ${Math.max(last, ...coming.map((c) => c.seq))} of ${p.vm}, which has sent ${sent}`)
        }
        for (const coin of coming) {
          if (coin.seq <= last) w.violate(`order, nothing twice: in ${inventory.id} ${coin.seq} of ${p.vm} comes to ${q.vm} after ${last}`)
          whole = this.allExcused(inventory, q, p.vm, last + 1, coin.seq, uncovered) && whole
          last = coin.seq
          inChannels += coin.amount
        }
        whole = this.allExcused(inventory, q, p.vm, last + 1, sent + 1, uncovered) && whole
      }
    }
    const total = images.reduce((sum, i) => sum + i.guest.balance, 0) + inChannels
    const spoilt = images.some((i) => lives[i.life]!.hasExcuses())
    if (whole && !spoilt && total !== firstBalance * images.length) {
      w.violate(`conservation: in ${inventory.id} VMs and channels have ${total}, they began with ${firstBalance * images.length}`)
    }
  }

  private uncoveredAtStop({ life, at }: MemoryImage): boolean {
    const ago = at - this.site.lives[life]!.uncoveredAt
    return ago >= 0 && ago < stopMs
  }

  /** True: nothing at all is missing from `first` to before `end`. */
  private allExcused(inventory: Inventory, q: MemoryImage, from: string, first: number, end: number, uncovered: Set<string>): boolean {
    const life = this.site.lives[q.life]!
    for (let seq = first; seq < end; seq++) {
      if (!uncovered.has(q.vm) && !life.excuses(from, seq, q.at)) {
        this.site.w.violate(`nothing lost: in ${inventory.id} frame ${seq} from ${from} to ${q.vm} is in no VM and in no channel`)
      }
    }
    return first >= end
  }

  private lookAtVms(): void {
    const { w, agents } = this.site
    for (const machine of this.site.machines) {
      if (machine.running || !machine.life.hasRun) continue
      const host = machine.proc.host.name
      if (agents.get(host)?.participants.holds(machine.name)) machine.standingSince = w.now // it may: what counts is how long after that
      const since = Math.max(machine.standingSince, this.site.servingSince.get(host) ?? Infinity)
      if (w.now - since < standMs) continue
      w.violate(`never left paused: ${machine.life.name} stands for ${Math.round(w.now - since)} ms`)
      machine.standingSince = Infinity
    }
  }

  /** All faults have ended long ago: nothing is open, nothing is left over, everything runs that should. */
  atRest(record: SliceRecord, catalogue: { id: string }[], running: Machine[]): void {
    const { w, disk } = this.site
    const rest = (what: string) => w.violate(`a clean slate: ${what}`)
    if (record.operation) rest(`the slice is still locked by ${record.operation.id}`)
    const suspended = record.slivers.every((s) => s.operational === 'violin_suspended')
    const folders = [...disk.find(`${storeFolder}/${record.uuid}`)?.entries.keys() ?? []].filter((name) => name !== 'restores').sort()
    const listed = catalogue.map((e) => e.id).sort()
    if (folders.join() !== listed.join()) rest(`the store has ${folders.join()}, the catalogue ${listed.join()}`)
    for (const id of listed) this.judge(record.uuid, id, false)
    for (const { path } of disk.list()) if (path.endsWith('.part') && !aside.test(path)) rest(`${path} is left`)
    for (const machine of this.site.machines) if (!running.includes(machine)) rest(`${machine.life.name} is a process that nobody knows`)
    for (const machine of running) if (!machine.running && !suspended) rest(`${machine.life.name} stands`)
    for (const { path, inode } of disk.list()) {
      const [, , , kind, name] = path.split('/')
      if (kind === 'cuts' && name?.endsWith('.json') && !['void', 'done'].includes((JSON.parse(inode.data.toString()) as ParticipantState).phase)) rest(`${path} is not over`)
      if (kind === 'restores' && path.startsWith('/state/') && name?.endsWith('.json')) rest(`${path} is not over`)
    }
    this.lookAtLayers(record, listed)
  }

  /** All that was committed and not removed can still be read. */
  noneIsMissing(): void {
    for (const { path, inode } of this.site.disk.list()) {
      const [, top, slice, id, name] = path.split('/')
      if (top === 'store' && name === 'outcome' && inode.data.includes('"commit"')) this.judge(slice!, id!, false)
    }
  }

  /** Every layer is one of a VM's or of a snapshot's. */
  private lookAtLayers(record: SliceRecord, listed: string[]): void {
    const { w, disk } = this.site
    const needed = new Set<string>()
    for (const machine of this.site.machines) for (const path of machine.layers) needed.add(path)
    for (const { path, inode } of disk.list()) {
      if (/^\/state\/h\d\/vms\/.*\.json$/.test(path)) for (const layer of (JSON.parse(inode.data.toString()) as { layers: string[] }).layers) needed.add(layer)
    }
    const notes = disk.list().filter(({ path }) => path.endsWith('.replaces')).map(({ path, inode }) => ({ path, note: JSON.parse(inode.data.toString()) as { into: { name: string }; replaces: { name: string }[] } }))
    for (const id of listed) {
      const inventory = JSON.parse(disk.get(`${storeFolder}/${record.uuid}/${id}/inventory.json`).data.toString()) as Inventory
      for (const share of inventory.hosts) for (const vm of share.vms) for (const l of vm.layers) needed.add(`/state/${share.host}/layers/${l.name}`)
    }
    for (const { path, note } of notes) {
      const folder = path.slice(0, path.lastIndexOf('/'))
      if (note.replaces.some((r) => needed.has(`${folder}/${r.name}`))) needed.add(`${folder}/${note.into.name}`)
    }
    for (const { path } of disk.list()) {
      if (path.includes('/layers/') && path.endsWith('.qcow2') && !needed.has(path)) w.violate(`nothing leaked: ${path} is a layer of nobody`)
    }
  }
}
