// Runs a body once for every sequence of its choices, but goes on from no state twice: for worlds that cannot be copied, such as the
// product's own switch, and are played again from the beginning instead.

export interface Runs { runs: number; states: number }

/** `isKnown`: another sequence came to a state of this key before; the body then returns at once. `bound` ends it with an error. */
export function everyRun(body: (choose: (count: number) => number, isKnown: (key: string) => boolean) => void, bound: number): Runs {
  const path: { taken: number; count: number }[] = []
  const seen = new Set<string>()
  for (let runs = 1; ; runs++) {
    if (runs > bound) throw new Error(`more than ${bound} runs`)
    const played = path.length
    let depth = 0
    body((count) => (path[depth++] ??= { taken: 0, count }).taken, (key) => {
      if (depth < played) return false // on the way back to where the last run turned off
      if (seen.has(key)) return true
      seen.add(key)
      return false
    })
    while (path.length > 0 && path.at(-1)!.taken + 1 === path.at(-1)!.count) path.pop()
    if (path.length === 0) return { runs, states: seen.size }
    path.at(-1)!.taken++
  }
}
