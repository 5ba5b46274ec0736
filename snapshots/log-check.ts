// The channel log of a snapshot against its inventory: the frames that are really in the file, one by one. Pure.
import type { LoggedFrame } from '../overlay/channel-log.js'
import { addTo, emptyTally, equal, type Tally } from '../overlay/tally.js'
import type { HostShare, Inventory } from './inventory.js'

interface Channel { to: number; from: number; tally: Tally; last: number }

const shown = 5

/** Told of each frame of the log in its order; `problems` when all have come. */
export class LogCheck {
  private readonly channels = new Map<string, Channel>()
  private readonly wrong: string[] = []
  private readonly inventory: Inventory
  private readonly share: HostShare
  private readonly nameOf: (port: number) => string
  private frames = 0
  private more = 0

  constructor(inventory: Inventory, share: HostShare, nameOf: (port: number) => string) {
    this.inventory = inventory
    this.share = share
    this.nameOf = nameOf
  }

  add({ to, frame }: LoggedFrame): void {
    this.frames++
    const name = `${to} ${frame.source}`
    let channel = this.channels.get(name)
    if (!channel) this.channels.set(name, (channel = { to, from: frame.source, tally: emptyTally(), last: 0 }))
    addTo(channel.tally, frame.source, frame.seq)
    const say = (what: string) => this.say(`${this.nameOf(frame.source)} -> ${this.nameOf(to)}: frame ${frame.seq} in the channel log ${what}`)
    if (frame.run !== this.inventory.run) say(`is of run ${frame.run}`)
    if (frame.epoch >= this.inventory.k) say('was sent after the cut')
    if (frame.seq > this.sentBy(frame.source)) say(`was never sent before the cut: ${this.sentBy(frame.source)} was the last`)
    if (frame.seq <= channel.last) say(`comes after frame ${channel.last}`)
    channel.last = frame.seq
  }

  problems(): string[] {
    const { recorded, frames } = this.share.log
    if (this.frames !== frames) this.say(`the channel log has ${this.frames} frames, the inventory says ${frames}`)
    const names = new Set([...this.channels.keys(), ...recorded.map((r) => `${r.to} ${r.from}`)])
    for (const name of names) {
      const [to, from] = name.split(' ').map(Number) as [number, number]
      const there = this.channels.get(name)?.tally ?? emptyTally()
      const told = recorded.find((r) => r.to === to && r.from === from)?.tally ?? emptyTally()
      if (equal(there, told)) continue
      this.say(`${this.nameOf(from)} -> ${this.nameOf(to)}: the channel log has ${there.n} frames, the inventory counts ${told.n} or others`)
    }
    return this.more > 0 ? [...this.wrong, `and ${this.more} more of the kind`] : this.wrong
  }

  private sentBy(port: number): number {
    return this.inventory.hosts.flatMap((h) => h.vms.flatMap((v) => v.cut.latches)).find((latch) => latch.port === port)?.sent ?? 0
  }

  private say(what: string): void {
    if (this.wrong.length < shown) this.wrong.push(what)
    else this.more++
  }
}
