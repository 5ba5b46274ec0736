// Works that must not overlap, by key: writes to one file, say, of which the last must be the one that stays.

export class Turns {
  private readonly last = new Map<string, Promise<unknown>>()

  /** Runs `work` once every earlier one of the same key has ended, however it ended. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.last.get(key) ?? Promise.resolve()).then(work, work)
    const over = turn.catch(() => undefined).then(() => {
      if (this.last.get(key) === over) this.last.delete(key)
    })
    this.last.set(key, over)
    return turn
  }
}
