// What this host has seen of each slice, on its own disk: the highest run, epoch and token, and how often the switch was
// started. Redis may lose a write and a worker may be late; a host that remembers refuses both (cut protocol, hole 18).
import { join } from 'node:path'
import { makeFolder, writeDurably } from '../base/durable.js'
import { Refusal } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { readRecord, type Form } from '../base/records.js'
import { Turns } from '../base/turns.js'
import { noRun } from '../overlay/run.js'
import type { Maxima } from '../snapshots/messages.js'

export interface Marks extends Maxima {
  format: 1
  /** The run whose VMs live here now; noRun when none does. */
  current: string
  /** Each start of the switch numbers frames from a new 2^32, so that no (port, seq) comes twice in a run. */
  switchBoots: number
}

/** Marks that cannot be read are not none: whoever began again at zero would use an epoch twice. */
export const marksForm: Form<Marks> = {
  format: 1, is: (m) => [m.k, m.token, m.switchBoots].every(Number.isSafeInteger) && typeof m.run === 'string' && typeof m.current === 'string',
}

export class SliceMarks {
  private readonly folder: string
  private readonly cache = new Map<string, Marks>()
  private readonly turns = new Turns()
  constructor(folder: string) { this.folder = folder }

  async open(): Promise<void> {
    await makeFolder(this.folder)
  }

  async get(slice: string): Promise<Marks> {
    const cached = this.cache.get(slice)
    if (cached) return cached
    const marks = await readRecord(this.path(slice), marksForm) ?? { format: 1 as const, run: noRun, k: 0, token: 0, current: noRun, switchBoots: 0 }
    this.cache.set(slice, marks)
    return marks
  }

  /** Raises the marks; durable when it returns. */
  raise(slice: string, to: Partial<Omit<Marks, 'format'>>): Promise<Marks> {
    return this.change(slice, () => to)
  }

  /** One more start of the switch; durable when it returns. */
  countSwitchBoot(slice: string): Promise<Marks> {
    return this.change(slice, (now) => ({ switchBoots: now.switchBoots + 1 }))
  }

  private change(slice: string, change: (now: Marks) => Partial<Omit<Marks, 'format'>>): Promise<Marks> {
    return this.turns.run(slice, async () => {
      const now = await this.get(slice)
      const to = change(now)
      const next: Marks = {
        ...now, ...to,
        run: (to.run ?? '') > now.run ? to.run! : now.run,
        k: Math.max(now.k, to.k ?? 0),
        token: Math.max(now.token, to.token ?? 0),
      }
      this.cache.delete(slice) // where writing fails the disk may have it all the same, and what follows must not be lower
      faultPoint('agent.before-marks')
      await writeDurably(this.path(slice), JSON.stringify(next))
      faultPoint('agent.marks')
      this.cache.set(slice, next)
      return next
    })
  }

  /** Refuses a worker whose token is lower than one seen before: it was replaced and does not know it. */
  async fence(slice: string, token: number): Promise<Marks> {
    const marks = await this.get(slice)
    if (token < marks.token) throw new Refusal('refused', `token ${token} is stale: this host has seen ${marks.token} for slice ${slice}`)
    return marks
  }


  private path(slice: string): string {
    return join(this.folder, `${slice}.json`)
  }
}
