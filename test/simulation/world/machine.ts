// A VM process of the simulated hypervisor: it lives on its host, whoever looks after it, and does what QEMU does in a cut, at its worst
// (docs/cut-protocol.md): stop throws frames away, a save that fails half way freezes the guest, a monitor may be silent for a while.
import { firstBalance, coinFrame, coinOf, newMemory, receive, type GuestMemory } from './guest.js'
import { Life } from './ledger.js'
import { listening } from './modules/net.js'
import { Nic, type NicImage } from './nic.js'
import type { Inode } from './disk.js'
import type { VmInstance } from '../../../hosts/hypervisor/hypervisor.js'
import { world, type Host, type Proc } from './world.js'

export interface MemoryImage { format: 'simulated-1'; vm: string; guest: GuestMemory; nics: NicImage[]; at: number; life: number }
export interface Save { overlay: string; sink: Inode; path: string; background: boolean; stayStopped: boolean; flipped: boolean; end: 'running' | 'completed' | 'failed' | undefined }

/** How a machine may misbehave; faults set these. */
export interface Manners { saveFails: boolean; dieInCut: 'stop' | 'save' | undefined; monitorSilentMs: number; slowSaveMs: number; stuck: boolean }

const writeEvery = 3
const gapMs = { busy: [2, 14], idle: [300, 900] } as const

/** All that ever lived in this world, by number. */
export interface Slice { lives: Life[]; machines: Set<Machine>; byPid: Map<number, Machine>; peers: (me: Machine) => Machine[] }

export class Machine {
  readonly proc: Proc
  readonly life: Life
  readonly instance: VmInstance
  readonly nics: Nic[]
  readonly manners: Manners = { saveFails: false, dieInCut: undefined, monitorSilentMs: 0, slowSaveMs: 0, stuck: false }
  memory: GuestMemory
  /** Its disk as it is; the agent's record may be one cut behind. */
  layers: string[]
  running = false
  /** A failed save has left it so: it says that it runs, and nothing in it does. */
  frozen = false
  standingSince = 0
  loginOpen = false
  booted = false
  /** Its monitor is at the end of what it was asked by then. */
  monitorAt = 0
  /** The switch counts from a common point with its devices. */
  based = false
  save: Save | undefined
  onEnd: ((reason: string) => void)[] = []
  private readonly slice: Slice
  private sending = false
  private taking = false

  constructor(host: Host, instance: VmInstance, slice: Slice, from?: MemoryImage) {
    const w = world()
    this.slice = slice
    this.instance = instance
    this.layers = [...instance.layers]
    const { vm } = instance.spec
    this.proc = w.begin(`vm ${vm}`, host)
    const parent = from ? slice.lives[from.life] : undefined
    this.life = new Life(`${vm} in ${instance.run.slice(0, 8)}`, slice.lives.length, parent && from ? { life: parent, at: from.at } : undefined)
    slice.lives.push(this.life)
    slice.machines.add(this)
    slice.byPid.set(this.proc.pid, this)
    this.memory = from ? structuredClone(from.guest) : newMemory()
    this.nics = instance.spec.nics.map((_, i) => new Nic({
      owner: this.proc, life: this.life, me: vm, runs: () => this.executes, isStuck: () => this.manners.stuck, onRing: () => this.take(), onAttach: (again) => this.attached(again),
      lag: () => w.dice.between(0.02, 0.8),
    }, from?.nics[i]))
    for (const [name, seq] of Object.entries(this.memory.got)) this.life.seen.set(name, seq)
    for (const nic of this.nics) for (const coin of nic.ring.map(coinOf)) if (coin.to === vm) this.life.seen.set(coin.from, coin.seq)
    for (const [i, nic] of this.nics.entries()) listening.set(instance.nicSockets[i]!, nic)
    this.booted = from !== undefined
    this.standingSince = w.now
    this.proc.onDeath.push(() => this.gone())
  }

  get alive(): boolean { return this.proc.alive }
  get name(): string { return this.instance.spec.vm }
  get executes(): boolean { return this.running && !this.frozen && this.alive }

  boot(): void {
    const w = world()
    this.resume()
    w.after(w.dice.between(20, 120), this.proc, () => {
      for (const nic of this.nics) nic.up = true
      this.booted = true
      this.kick()
    })
  }

  openLogin(): void {
    this.loginOpen = true
    listening.set(`${this.proc.host.name}:${this.instance.spec.loginPort}`, {
      attach: (socket) => { if (this.booted && this.executes) world().after(0.5, socket.owner, () => socket.receive(Buffer.from('SSH-2.0-simulated'))) },
      detach: () => undefined, take: () => undefined, unread: () => 0, isReadByPeer: () => true, queued: () => 0,
    })
  }

  resume(): void {
    if (this.running) return
    this.running = true
    if (!this.life.hasRun && this.diskWrites() !== this.memory.writes) {
      world().violate(`disk and memory are of one instant: ${this.life.name} has write ${this.memory.writes} in memory, ${this.diskWrites()} on disk`)
    }
    this.life.hasRun = true
    for (const nic of this.nics) nic.resumed()
    this.kick()
    this.take()
  }

  /** After: it stands; what its devices had taken for the guest is gone. */
  stop(): { usedRx: number; usedTx: number; vring: string; port: number }[] {
    if (this.running) {
      this.running = false
      this.standingSince = world().now
      for (const nic of this.nics) nic.purge(this.based && nic.isReadByPeer())
    }
    return this.witnesses()
  }

  witnesses() {
    return this.nics.map((nic, i) => ({ port: this.instance.spec.nics[i]!.port, usedRx: nic.usedRx, usedTx: nic.usedTx, vring: nic.vring }))
  }

  /** The disks change layer and the memory of this instant is written; a VM of a background save runs on after a moment. */
  flipAndSave(resumed: () => void): void {
    const save = this.save!
    const w = world()
    this.layers.push(save.overlay)
    save.flipped = true
    save.end = 'running'
    const image: MemoryImage = {
      format: 'simulated-1', vm: this.name, guest: structuredClone(this.memory), nics: this.nics.map((n) => n.image()), at: w.now, life: this.life.number,
    }
    const { saveFails, slowSaveMs } = this.manners
    const writing = w.dice.between(2, 30) + slowSaveMs
    w.after(writing, this.proc, () => this.written(save, image, saveFails))
    if (!save.background) return
    w.after(w.dice.between(1, 8), this.proc, () => {
      this.resume()
      resumed()
    })
  }

  /** It takes what is in its ring again. */
  unstick(): void {
    this.manners.stuck = false
    this.take()
  }

  /** The guest's driver begins anew: what was in its rings is gone. */
  resetNics(): void {
    if (!this.executes || !this.booted) return
    for (const nic of this.nics) {
      nic.purge(false)
      for (const frame of nic.ring.splice(0)) {
        const coin = coinOf(frame)
        if (coin.to === this.name) this.life.destroy(coin.from, coin.seq, world().now)
      }
      nic.reset()
    }
    this.based = false
  }

  rescue(): void {
    if (this.frozen) world().probe('a frozen guest was rescued')
    this.frozen = false
    for (const nic of this.nics) nic.resumed()
    this.kick()
    this.take()
  }

  kill(why: string): void {
    world().kill(this.proc, why)
    for (const listener of this.onEnd) world().after(0.2, this.proc.host.up ? undefined : this.proc, () => listener(why))
  }

  /** The disk's own count of writes: that of the topmost layer that has one. */
  diskWrites(): number {
    const { disk } = this.proc.host
    for (const path of [...this.layers].reverse()) {
      const text = disk.find(path)?.data.toString() ?? ''
      if (text !== '') return (JSON.parse(text) as { writes: number }).writes
    }
    return 0
  }

  private written(save: Save, image: MemoryImage, fails: boolean): void {
    const { disk } = this.proc.host
    try {
      if (fails) throw new Error('the save was told to fail')
      disk.write(save.sink, Buffer.from(JSON.stringify(image)))
      save.end = 'completed'
    } catch {
      save.end = 'failed'
      world().probe('a save failed')
      if (save.background) this.frozen = true
    }
  }

  private attached(again: boolean): void {
    const w = world()
    if (!this.life.hasRun || !again) return
    // what was sent while this end had no cable is nobody's fault
    const peers = this.slice.peers(this)
    this.life.destroyUnderWay((from) => peers.find((p) => p.name === from)?.memory.sent[this.name] ?? 0, peers.map((p) => p.name), w.now)
  }

  private kick(): void {
    if (this.sending) return
    this.sending = true
    const again = () => {
      const [low, high] = world().now < busyUntil ? gapMs.busy : gapMs.idle
      world().after(world().dice.between(low, high), this.proc, () => {
        if (this.executes && this.booted && this.memory.started) this.transact()
        again()
      })
    }
    again()
  }

  private transact(): void {
    const w = world()
    const peers = this.slice.peers(this).map((m) => m.name).sort()
    if (peers.length === 0) return
    for (let n = w.dice.chance(0.2) ? 12 : 1; n > 0; n--) {
      const to = w.dice.pick(peers)
      const amount = 1 + w.dice.int(9)
      const seq = (this.memory.sent[to] ?? 0) + 1
      this.memory.sent[to] = seq
      this.memory.balance -= amount
      const coin = { from: this.name, to, seq, amount, life: this.life.number }
      if (!this.nics[0]!.send(coinFrame(macOf(to), this.instance.spec.nics[0]!.mac, coin))) {
        const peer = this.slice.peers(this).find((p) => p.name === to)
        peer?.life.destroy(this.name, seq, w.now)
      }
    }
  }

  private take(): void {
    if (this.taking || this.manners.stuck) return
    this.taking = true
    const w = world()
    w.after(w.dice.between(0.1, 4), this.proc, () => {
      this.taking = false
      if (!this.executes || this.manners.stuck) return
      for (const nic of this.nics) {
        for (const frame of nic.taken(1 + w.dice.int(3))) {
          receive(this.memory, this.name, coinOf(frame), this.life)
          if (this.memory.balance !== firstBalance && w.dice.int(writeEvery) === 0) this.writeDisk()
        }
        if (nic.ring.length > 0) this.take()
      }
    })
  }

  private writeDisk(): void {
    const { disk } = this.proc.host
    const top = disk.find(this.layers.at(-1)!)
    if (!top) {
      world().violate(`its disk is there: ${this.life.name} writes to ${this.layers.at(-1)}, which has no name any more`)
      return
    }
    this.memory.writes++
    try {
      disk.write(top, Buffer.from(JSON.stringify({ writes: this.memory.writes })))
    } catch {
      this.memory.writes-- // a full disk: the guest hears of it
    }
  }

  private gone(): void {
    this.running = false
    this.slice.machines.delete(this)
    for (const [i, path] of this.instance.nicSockets.entries()) {
      if (listening.get(path) === this.nics[i]) listening.delete(path)
      this.nics[i]!.hangUp()
    }
    if (this.loginOpen) listening.delete(`${this.proc.host.name}:${this.instance.spec.loginPort}`)
  }
}

let busyUntil = 0
/** Guests have much to say for so long, and little after that: nothing is to be seen while all wait for a deadline. */
export function keepBusy(ms: number): void { busyUntil = ms === 0 ? 0 : world().now + ms }

/** v-a, v-b …: the address is made of the last letter. */
export const macOf = (vm: string): string => `52:54:00:00:00:${vm.charCodeAt(vm.length - 1).toString(16).padStart(2, '0')}`
