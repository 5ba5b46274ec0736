// Which frames the world itself has destroyed: those that were in a switch when it died, or sent while no cable was there. Only
// these may be missing. Each VM has one life in each run; the life of a restored one goes on from an image of an earlier life, and
// what was destroyed for that one before the image was taken is missing here too.

export class Life {
  readonly name: string
  readonly number: number
  /** Highest numbers that the device has seen, by sender: up to there nothing is under way any more. */
  readonly seen = new Map<string, number>()
  /** Taken by the device, thrown away when the VM was stopped, and not come again yet: the switch must put them back. */
  readonly purged = new Map<string, number>()
  hasRun = false
  /** When frames were last thrown away of which the switch cannot know. */
  uncoveredAt = -Infinity
  private readonly parent: Life | undefined
  private readonly bornAt: number
  private readonly destroyed = new Map<string, number>()

  /** `bornAt`: when the image was taken that this life goes on from. */
  constructor(name: string, number: number, parent?: { life: Life; at: number }) {
    this.name = name
    this.number = number
    this.parent = parent?.life
    this.bornAt = parent?.at ?? 0
  }

  destroy(from: string, seq: number, now: number): void {
    const key = `${from} ${seq}`
    if (!this.destroyed.has(key)) this.destroyed.set(key, now)
  }

  excuses(from: string, seq: number, before = Infinity): boolean {
    const at = this.destroyed.get(`${from} ${seq}`)
    if (at !== undefined && at <= before) return true
    return this.parent?.excuses(from, seq, Math.min(before, this.bornAt)) ?? false
  }

  hasExcuses(): boolean { return this.destroyed.size > 0 || (this.parent?.hasExcuses() ?? false) }

  /** What is on its way now and has no cable any more: all of one sender that was sent and not seen here, and what was thrown away. */
  destroyUnderWay(sent: (from: string) => number, senders: Iterable<string>, now: number): void {
    for (const from of senders) for (let seq = (this.seen.get(from) ?? 0) + 1; seq <= sent(from); seq++) this.destroy(from, seq, now)
    this.destroyPurged(now)
  }

  destroyPurged(now: number): void {
    for (const key of this.purged.keys()) {
      const [from, seq] = key.split(' ')
      this.destroy(from!, Number(seq), now)
    }
    this.purged.clear()
  }
}
