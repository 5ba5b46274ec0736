// Layers that are merged, replaced and removed in any order, against what each snapshot and the running VM must read: exactly what
// was written, whatever happened to the files meanwhile.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { mergeableRuns, nextForVm, presentParts, worthMerging, type LayerUse, type Replacement } from '../../hosts/layer-chains.js'
import type { Part } from '../../snapshots/messages.js'

type Content = Map<number, number>
const small = () => 1

/** A host's disk folder with one VM, its snapshots, and the files there are. */
class World {
  readonly files = new Map<string, Content>()
  readonly replacements: Replacement[] = []
  readonly snapshots = new Map<number, { parts: Part[]; holds: string }>()
  chain: string[] = []
  /** A restore that is ready and not decided: it was made of what was present then. */
  restoring: string[] | undefined
  private made = 0

  constructor() { this.chain = [this.file()] }

  file(content: Content = new Map()): string {
    const name = `f${this.made++}`
    this.files.set(name, content)
    return name
  }

  partOf(name: string): Part { return { name, bytes: 1, digest: `digest of ${name}` } }

  read(chain: string[]): string {
    const seen: Content = new Map()
    for (const name of chain) {
      const content = this.files.get(name)
      assert.ok(content, `${name} is gone, and is read`)
      for (const [block, value] of content) seen.set(block, value)
    }
    return JSON.stringify([...seen].sort(([a], [b]) => a - b))
  }

  write(block: number, value: number): void { this.files.get(this.chain.at(-1)!)!.set(block, value) }

  /** With a name, a snapshot; without one, a cut that was void after its disks had changed layer. */
  freeze(id?: number): void {
    if (id !== undefined) this.snapshots.set(id, { parts: this.chain.map((n) => this.partOf(n)), holds: this.read(this.chain) })
    this.chain.push(this.file())
  }

  present(id: number): string[] { return presentParts(this.snapshots.get(id)!.parts, this.replacements).parts.map((p) => p.name) }

  prepare(id: number): void {
    this.restoring = [...this.present(id), this.file()]
    assert.equal(this.read(this.restoring), this.snapshots.get(id)!.holds)
  }

  go(): void {
    if (this.restoring) this.chain = this.restoring
    this.restoring = undefined
  }

  uses(): LayerUse[] {
    return [this.chain, ...(this.restoring ? [this.restoring] : [])].map((layers): LayerUse => ({ layers, written: true, diskMiB: 1 })).concat([...this.snapshots.keys()].map((id) => ({ layers: this.present(id), written: false, diskMiB: 1 })))
  }

  /** `known`: it is noted as well; else the agent has died before. */
  merge(pick: number): void {
    const runs = mergeableRuns(this.uses(), this.replacements)
    const work = runs.length > 0 ? worthMerging(runs[pick % runs.length]!, small) : undefined
    if (!work) return
    const content: Content = new Map()
    for (const name of work.run) for (const [block, value] of this.files.get(name)!) content.set(block, value)
    this.replacements.push({ format: 1, into: this.partOf(this.file(content)), replaces: work.run.map((n) => this.partOf(n)) })
  }

  replaceInVm(): void {
    const next = nextForVm(this.chain, this.replacements)
    if (next) this.chain.splice(this.chain.indexOf(next.replaces[0]!.name), next.replaces.length, next.into.name)
  }

  collect(): void {
    const present = [...this.snapshots.values()].map((s) => presentParts(s.parts, this.replacements))
    const needed = new Set([...this.chain, ...this.restoring ?? [], ...present.flatMap((p) => p.parts.map((part) => part.name))])
    const goneBy = new Set(present.flatMap((p) => p.by))
    for (const [i, r] of [...this.replacements.entries()].reverse()) if (!goneBy.has(r) && !needed.has(r.into.name)) this.replacements.splice(i, 1)
    for (const name of [...this.files.keys()]) if (!needed.has(name)) this.files.delete(name)
  }

  check(wanted: string): void {
    assert.equal(this.read(this.chain), wanted, 'the running VM')
    if (this.restoring) this.read(this.restoring)
    for (const [id, { holds }] of this.snapshots) assert.equal(this.read(this.present(id)), holds, `snapshot ${id}`)
  }
}

type Step = ['write', number] | ['snapshot'] | ['void'] | ['delete', number] | ['prepare', number] | ['go'] | ['merge', number] | ['replace'] | ['collect']
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('write' as const), fc.nat(5)) }, { weight: 5, arbitrary: fc.constant(['snapshot'] as Step) },
  { weight: 1, arbitrary: fc.constant(['void'] as Step) }, { weight: 4, arbitrary: fc.tuple(fc.constant('delete' as const), fc.nat(20)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('prepare' as const), fc.nat(20)) }, { weight: 1, arbitrary: fc.constant(['go'] as Step) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('merge' as const), fc.nat(20)) },
  { weight: 2, arbitrary: fc.constant(['replace'] as Step) }, { weight: 2, arbitrary: fc.constant(['collect'] as Step) },
)

function run(steps: Step[]): { world: World; merged: number } {
  const world = new World()
  let next = 0
  let merged = 0
  const chosen = (n: number) => [...world.snapshots.keys()][n % Math.max(1, world.snapshots.size)]
  for (const [i, s] of steps.entries()) {
    const before = world.replacements.length
    if (s[0] === 'write') world.write(s[1], i)
    const wanted = world.read(s[0] === 'go' && world.restoring ? world.restoring : world.chain)
    if (s[0] === 'snapshot') world.freeze(next++)
    if (s[0] === 'void') world.freeze()
    if (s[0] === 'delete' && chosen(s[1]) !== undefined) world.snapshots.delete(chosen(s[1])!)
    if (s[0] === 'prepare' && chosen(s[1]) !== undefined) world.prepare(chosen(s[1])!)
    if (s[0] === 'go') world.go()
    if (s[0] === 'merge') world.merge(s[1])
    if (s[0] === 'replace') world.replaceInVm()
    if (s[0] === 'collect') world.collect()
    merged += Math.max(0, world.replacements.length - before)
    world.check(wanted)
  }
  return { world, merged }
}

describe('chains of disk layers', () => {
  it('always read what was written, however they are merged, replaced, rolled back and collected', () => {
    let merged = 0
    fc.assert(fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
      const end = run(steps)
      merged += end.merged
      const { world } = end
      const wanted = world.read(world.chain)
      world.restoring = undefined // given up
      for (let i = 0; i < 200; i++) { // left alone, it comes to rest
        world.merge(0)
        world.replaceInVm()
        world.collect()
      }
      world.check(wanted)
      const tops = world.chain.filter((name) => [...world.snapshots.keys()].some((id) => world.present(id).at(-1) === name)).length
      const forks = new Set([...world.snapshots.keys()].map((id) => world.present(id)).flatMap((c) => c.filter((n, j) => c[j + 1] !== world.chain[world.chain.indexOf(n) + 1]))).size
      assert.ok(world.chain.length <= tops + forks + 3, `${world.chain.length} layers for ${tops} tops and ${forks} forks`)
    }), { numRuns: 400, seed: 20261125 })
    assert.ok(merged > 500, `only ${merged} merges happened`)
  })

  it('keeps a long series of snapshots, of which the newest eight stay, at ten layers', () => {
    const world = new World()
    for (let i = 0; i < 300; i++) {
      world.write(i % 6, i)
      world.freeze(i)
      if (i >= 8) world.snapshots.delete(i - 8)
      world.merge(0)
      world.replaceInVm()
      world.collect()
      if (i > 10) {
        assert.ok(world.chain.length <= 10, `${world.chain.length} layers after ${i} snapshots`)
        assert.ok(world.files.size <= 11 && world.replacements.length <= 10, `${world.files.size} files, ${world.replacements.length} replacements`)
      }
    }
  })

  it('copies a large layer only into what is not much smaller', () => {
    const gib = 1024 ** 3
    const bytes = new Map([['base', 8 * gib], ['a', gib / 8], ['b', gib / 8], ['c', gib / 16]])
    const of = (name: string) => bytes.get(name)!
    assert.deepEqual(worthMerging({ run: ['base', 'a', 'b', 'c'], on: [], diskMiB: 1 }, of), { run: ['a', 'b', 'c'], on: ['base'], diskMiB: 1 })
    assert.equal(worthMerging({ run: ['base', 'c'], on: [], diskMiB: 1 }, of), undefined)
    bytes.set('c', 5 * gib)
    assert.deepEqual(worthMerging({ run: ['base', 'c'], on: ['x'], diskMiB: 1 }, of), { run: ['base', 'c'], on: ['x'], diskMiB: 1 })
  })
})
