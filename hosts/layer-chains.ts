// Which disk layers belong together, and which of them can become one. Pure.
//
// Layers form a tree: each lies on one other. A snapshot names a chain of them, and its last one is a *top*: the disk as it was
// then. What lies between two tops is never needed alone, so it can be merged into one layer that holds the same. Snapshots
// are signed and do not change: a *replacement* says which layers of theirs are now found where.
import type { Part } from '../snapshots/messages.js'

/** `into` holds the same as `replaces`, which lie one on the other, oldest first. */
export interface Replacement { format: 1; into: Part; replaces: Part[] }

/** A chain that somebody needs, by names, oldest first. `written`: its last layer is being written to, and is none of ours to merge. */
export interface LayerUse { layers: string[]; written: boolean; diskMiB: number }
export interface Run { run: string[]; on: string[]; diskMiB: number }

/** Below this a layer is merged whatever lies on it; above it only into what is not much smaller, so that a large one is rarely copied. */
const smallBytes = 64 * 1024 * 1024
const growth = 2

const samePart = (a: Part, b: Part): boolean => a.name === b.name && a.digest === b.digest && a.bytes === b.bytes

/** The chain of a snapshot as it is found today, and the replacements that it goes by. */
export function presentParts(parts: Part[], replacements: Replacement[]): { parts: Part[]; by: Replacement[] } {
  const by: Replacement[] = []
  let chain = parts
  for (let found = nextReplacement(chain, replacements, samePart); found; found = nextReplacement(chain, replacements, samePart)) {
    by.push(found.replacement)
    chain = [...chain.slice(0, found.from), found.replacement.into, ...chain.slice(found.from + found.replacement.replaces.length)]
  }
  return { parts: chain, by }
}

/** The first replacement that a chain can go by, and where it begins. */
function nextReplacement<T>(
  chain: T[], replacements: Replacement[], same: (a: Part, b: T) => boolean,
): { from: number; replacement: Replacement } | undefined {
  for (const replacement of replacements) {
    const { replaces } = replacement
    const from = chain.findIndex((_, i) => i + replaces.length <= chain.length && replaces.every((part, j) => same(part, chain[i + j]!)))
    if (from >= 0) return { from, replacement }
  }
  return undefined
}

/** The next replacement for a VM. Its last layer, which is written to, is never replaced. */
export function nextForVm(layers: string[], replacements: Replacement[]): Replacement | undefined {
  return nextReplacement(layers.slice(0, -1), replacements, (part, name) => part.name === name)?.replacement
}

/**
 * Every longest run of layers that nobody needs apart. Oldest first, two or more, each with what it lies on. What replaces layers that
 * a VM still has in its chain is not merged on: the next snapshot of that VM names the old ones, and must find them there.
 */
export function mergeableRuns(uses: LayerUse[], replacements: Replacement[]): Run[] {
  const held = new Set<string>()
  for (const { layers } of uses.filter((u) => u.written)) {
    for (let chain = layers, next = nextForVm(chain, replacements); next; next = nextForVm(chain, replacements)) {
      const from = chain.indexOf(next.replaces[0]!.name)
      chain = [...chain.slice(0, from), next.into.name, ...chain.slice(from + next.replaces.length)]
      for (const name of [...layers, ...chain]) held.add(name)
    }
  }
  return joinedRuns(uses).filter(({ run }) => !run.some((name) => held.has(name)))
}

function joinedRuns(uses: LayerUse[]): Run[] {
  const above = new Map<string, Set<string>>()
  const below = new Map<string, Set<string>>()
  const apart = new Set(uses.flatMap(({ layers, written }) => layers.slice(written ? -2 : -1))) // a top; or what is written to, and what it lies on
  for (const { layers } of uses) {
    for (const [i, layer] of layers.entries()) {
      if (i + 1 < layers.length) note(above, layer, layers[i + 1]!)
      if (i > 0) note(below, layer, layers[i - 1]!)
    }
  }
  const joins = (lower: string, upper: string) =>
    !apart.has(lower) && above.get(lower)!.size === 1 && below.get(upper)!.size === 1

  const runs = new Map<string, Run>()
  for (const { layers, diskMiB } of uses) {
    for (let from = 0; from < layers.length;) {
      let to = from + 1
      while (to < layers.length && joins(layers[to - 1]!, layers[to]!)) to++
      if (to - from > 1) runs.set(layers[from]!, { run: layers.slice(from, to), on: layers.slice(0, from), diskMiB })
      from = to
    }
  }
  return [...runs.values()]
}

/** The upper part of a run that is worth merging now; undefined when none is. */
export function worthMerging({ run, on, diskMiB }: Run, bytesOf: (layer: string) => number): Run | undefined {
  let from = run.length - 1
  let bytes = bytesOf(run[from]!)
  for (; from > 0; from--) {
    const lower = bytesOf(run[from - 1]!)
    if (lower > smallBytes && lower > growth * bytes) break
    bytes += lower
  }
  return from < run.length - 1 ? { run: run.slice(from), on: [...on, ...run.slice(0, from)], diskMiB } : undefined
}

function note(map: Map<string, Set<string>>, key: string, value: string): void {
  map.set(key, (map.get(key) ?? new Set()).add(value))
}
