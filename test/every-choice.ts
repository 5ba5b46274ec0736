/** Runs `body` once for every possible sequence of choices it makes. Returns the number of runs; `bound` ends it with an error. */
export function everyChoice(body: (choose: (count: number) => number) => void, bound = 2_000_000): number {
  const path: { taken: number; count: number }[] = []
  for (let runs = 1; ; runs++) {
    if (runs > bound) throw new Error(`more than ${bound} runs`)
    let depth = 0
    body((count) => (path[depth++] ??= { taken: 0, count }).taken)
    while (path.length > 0 && path.at(-1)!.taken + 1 === path.at(-1)!.count) path.pop()
    if (path.length === 0) return runs
    path.at(-1)!.taken++
  }
}
