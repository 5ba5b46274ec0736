// Visits every state that a small world can come to, whatever happens in whatever order: a world says what can happen next, and
// states that are alike are visited once. A check that fails is told with the shortest story that leads there.

export interface Move<S> { name: string; next: S }

export interface WorldOf<S> {
  first: S
  /** Equal keys: nothing that may happen from here on differs. */
  key(state: S): string
  moves(state: S): Move<S>[]
  /** What must hold in every state: undefined, or what is wrong. */
  wrong(state: S): string | undefined
  /** What must hold where nothing can happen any more. */
  wrongAtEnd(state: S): string | undefined
}

export interface Visited<S> { states: number; moves: number; ends: S[]; story: string[] | undefined; why: string }

interface Node<S> { state: S; from: number; by: string; out: number[] }

/** Breadth first. Stops at the first state that is wrong, and tells how it came to be. Fails when there are more than `bound` states. */
export function everyState<S>(world: WorldOf<S>, bound: number): Visited<S> {
  const nodes: Node<S>[] = [{ state: world.first, from: -1, by: 'begin', out: [] }]
  const known = new Map([[world.key(world.first), 0]])
  const ends: number[] = []
  let moves = 0
  const visited = (why: string, at?: number): Visited<S> =>
    ({ states: nodes.length, moves, ends: ends.map((i) => nodes[i]!.state), why, story: at === undefined ? undefined : storyOf(nodes, at) })
  for (let at = 0; at < nodes.length; at++) {
    const node = nodes[at]!
    const wrong = world.wrong(node.state)
    if (wrong !== undefined) return visited(wrong, at)
    const next = world.moves(node.state)
    if (next.length === 0) {
      const bad = world.wrongAtEnd(node.state)
      if (bad !== undefined) return visited(bad, at)
      ends.push(at)
    }
    for (const { name, next: state } of next) {
      moves++
      const key = world.key(state)
      let to = known.get(key)
      if (to === undefined) {
        if (nodes.length >= bound) throw new Error(`more than ${bound} states`)
        known.set(key, (to = nodes.length))
        nodes.push({ state, from: at, by: name, out: [] })
      }
      node.out.push(to)
    }
  }
  const lost = withoutEnd(nodes, ends)
  return lost === undefined ? visited('') : visited('from here it never ends', lost)
}

function storyOf<S>(nodes: Node<S>[], at: number): string[] {
  const story: string[] = []
  for (let i = at; i >= 0; i = nodes[i]!.from) story.unshift(nodes[i]!.by)
  return story
}

/** A state from which no end can be reached; undefined when there is none. */
function withoutEnd<S>(nodes: Node<S>[], ends: number[]): number | undefined {
  const into: number[][] = nodes.map(() => [])
  nodes.forEach((node, from) => { for (const to of node.out) into[to]!.push(from) })
  const good = new Set(ends)
  const queue = [...ends]
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    for (const from of into[at]!) {
      if (good.has(from)) continue
      good.add(from)
      queue.push(from)
    }
  }
  const lost = nodes.findIndex((_, i) => !good.has(i))
  return lost < 0 ? undefined : lost
}
