// Random lives of a slice whose links are shaped: frames, time, cuts, aborts and ends of cuts in any order, on the product's
// own SliceNet with a clock of our own. What must hold for every snapshot: the sums of the product's own proof, and, with
// links that lose nothing, that image and log together have every frame sent before the cut once and in order.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { SliceNet, type InboundShape, type PortLatch } from '../../overlay/slice-net.js'
import { emptyTally, addTo } from '../../overlay/tally.js'
import type { LoggedFrame } from '../../overlay/channel-log.js'
import { judgeCut } from '../../snapshots/consistency.js'
import type { HostShare } from '../../snapshots/inventory.js'
import { ethernet, everybody, macOf, Wire } from '../unit/overlay/wire.js'

const vms = [1, 2, 3]
type Step =
  | { do: 'send'; from: number; to: number; count: number } | { do: 'pass'; ms: number } | { do: 'gate' | 'cut' | 'stuck' | 'free'; vm: number }
  | { do: 'prepare' | 'close' | 'abort' }
type Defect = 'none' | 'in flight forgotten' | 'in flight recorded twice'

const vm = fc.constantFrom(...vms)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('send' as const), from: vm, to: fc.integer({ min: 1, max: 4 }), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('gate' as const, 'cut' as const, 'cut' as const, 'stuck' as const, 'free' as const), vm }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('prepare' as const, 'prepare' as const, 'close' as const, 'close' as const, 'abort' as const) }) },
)
const shape = fc.record({
  capacityKbps: fc.constantFrom(undefined, 16, 200, 10_000), latencyMs: fc.constantFrom(undefined, 1, 20, 300), loss: fc.constantFrom(undefined, 0.3),
})

interface Snapshot { k: number; latches: PortLatch[]; log: LoggedFrame[]; images: Map<number, string[]>; sent: Map<number, number>; findings: string[] }

class Life {
  now = 0
  k = 1
  open = false
  readonly snapshots: Snapshot[] = []
  readonly sent = new Map<number, number>()
  private readonly wires = new Map<number, Wire>()
  private readonly net: SliceNet
  private latches: PortLatch[] = []
  private images = new Map<number, string[]>()
  private sentAtCut = new Map<number, number>()

  constructor(shapeOf: (from: number, to: number) => InboundShape, defect: Defect) {
    this.net = new SliceNet({ slice: 's', run: '0000000100000000', epoch: 1 }, () => this.now, { onHeld: () => undefined, onFlight: () => undefined })
    for (const id of vms) {
      const shapes = vms.filter((other) => other !== id).map((other) => shapeOf(other, id))
      const port = this.net.addPort({ id, vm: `vm${id}`, lan: 'lan', mac: '', seq: 0, base: { usedRx: 0, usedTx: 0 }, shapes })
      const wire = new Wire()
      port.link = wire
      this.wires.set(id, wire)
      if (defect === 'in flight forgotten') port.copyWaiting = () => undefined
      if (defect === 'in flight recorded twice') {
        const copy = port.copyWaiting.bind(port)
        port.copyWaiting = (log) => { copy(log); if (log.frames.length > 0) log.add(log.frames.at(-1)!.to, log.frames.at(-1)!.frame) }
      }
    }
    for (const id of vms) this.send(id, 4) // all addresses are known, and 4 is everybody
  }

  do(one: Step): void {
    if (one.do === 'send') for (let i = 0; i < one.count; i++) this.send(one.from, one.to)
    else if (one.do === 'pass') this.pass(one.ms)
    else if (one.do === 'gate') this.open && !this.images.has(one.vm) && this.net.gate(`vm${one.vm}`)
    else if (one.do === 'stuck') this.wires.get(one.vm)!.ready = false
    else if (one.do === 'free') this.free(one.vm)
    else if (one.do === 'cut') this.open && !this.images.has(one.vm) && this.cut(one.vm)
    else if (one.do === 'prepare') !this.open && this.prepare()
    else if (one.do === 'close') this.open && this.close()
    else if (this.open) this.abort()
  }

  /** After: nothing is under way any more. */
  settle(): Map<number, string[]> {
    if (this.open) this.abort()
    for (const id of vms) this.free(id)
    this.pass(1_000_000)
    return new Map(vms.map((id) => [id, this.wires.get(id)!.texts]))
  }

  private send(from: number, to: number): void {
    if (from === to) return
    const n = (this.sent.get(from) ?? 0) + 1
    this.sent.set(from, n)
    this.net.ingress(this.net.ports(`vm${from}`)[0]!, ethernet(to === 4 ? everybody : macOf(to), macOf(from), `${from}>${to}:${n}`))
  }

  private pass(ms: number): void {
    for (const until = this.now + ms; ;) {
      const next = this.net.land(this.now)
      if (next > until) break
      this.now = Math.max(next, this.now)
    }
    this.now += ms
    this.net.land(this.now)
  }

  private free(id: number): void {
    this.wires.get(id)!.ready = true
    this.net.ports(`vm${id}`)[0]!.pump()
  }

  private prepare(): void {
    this.open = true
    this.latches = []
    this.images = new Map()
    this.sentAtCut = new Map()
    this.net.prepare(++this.k, 'colour')
  }

  /** The guest had not taken the last frame written to it. */
  private cut(id: number): void {
    const port = this.net.ports(`vm${id}`)[0]!
    const wire = this.wires.get(id)!
    this.net.gate(port.vm)
    const untaken = Math.min(1, wire.got.length)
    const witness = { port: id, usedRx: (port.framesWritten - untaken) & 0xffff, usedTx: port.framesRead & 0xffff, vring: 'v' }
    const [latch] = this.net.cut(port.vm, this.k, 'op', [witness], true)
    if (latch!.putBack > 0) wire.got.splice(-latch!.putBack)
    this.latches.push(latch!)
    this.images.set(id, wire.texts)
    this.sentAtCut.set(id, this.sent.get(id) ?? 0)
    this.net.thaw(port.vm)
  }

  private close(): void {
    for (const id of vms) if (!this.images.has(id)) this.cut(id)
    const { k } = this
    const log = this.net.closeLog(k)
    const drops = this.net.channels().flatMap(({ to, from, count }) =>
      count.drops.filter((d) => d.epoch < k).map((d) => ({ to, from, ...d, tally: { ...d.tally } })))
    this.net.settleDrops(k)
    this.snapshots.push({
      k, latches: this.latches, log, images: this.images, sent: this.sentAtCut, findings: this.judge(log, drops),
    })
    this.open = false
  }

  private abort(): void {
    this.net.forward(this.k)
    this.open = false
  }

  private judge(log: LoggedFrame[], drops: HostShare['log']['drops']): string[] {
    const recorded = new Map<string, { to: number; from: number; tally: ReturnType<typeof emptyTally> }>()
    for (const { to, frame } of log) {
      const name = `${to} ${frame.source}`
      if (!recorded.has(name)) recorded.set(name, { to, from: frame.source, tally: emptyTally() })
      addTo(recorded.get(name)!.tally, frame.source, frame.seq)
    }
    const share = {
      host: 'h', vms: this.latches.map((latch) => ({ spec: { clientId: latch.vm }, cut: { drained: true, latches: [latch] } })),
      log: { recorded: [...recorded.values()], drops },
    } as unknown as HostShare
    const { orphans, losses } = judgeCut([share], String)
    return [...orphans, ...losses]
  }
}

function live(shapes: Map<string, object>, steps: Step[], defect: Defect = 'none'): { life: Life; ends: Map<number, string[]> } {
  const life = new Life((from, to) => ({ from, ...shapes.get(`${from}${to}`) }), defect)
  for (const one of steps) life.do(one)
  return { life, ends: life.settle() }
}

const mine = (texts: string[], from: number) => texts.filter((t) => t.startsWith(`${from}>`)).map((t) => Number(t.split(':')[1]))

/** What of `from`'s frames was for `to`, up to the n-th: known from the end, when all has arrived. */
function judgeSnapshot(snapshot: Snapshot, ends: Map<number, string[]>): void {
  for (const to of vms) {
    for (const from of vms.filter((id) => id !== to)) {
      const logged = snapshot.log.filter((l) => l.to === to).map((l) => l.frame.bytes.toString('latin1', 14))
      const restored = [...mine(snapshot.images.get(to)!, from), ...mine(logged, from)]
      const expected = mine(ends.get(to)!, from).filter((n) => n <= snapshot.sent.get(from)!)
      assert.deepEqual(restored, expected, `cut ${snapshot.k}, ${from} -> ${to}`)
    }
  }
}

const pairs = vms.flatMap((from) => vms.filter((to) => to !== from).map((to) => `${from}${to}`))
const lives = fc.record({
  steps: fc.array(step, { minLength: 20, maxLength: 120 }),
  shapes: fc.array(shape, { minLength: pairs.length, maxLength: pairs.length })
    .map((all) => new Map(pairs.map((pair, i) => [pair, Object.fromEntries(Object.entries(all[i]!).filter(([, v]) => v !== undefined))]))),
})
const lossless = lives.map(({ steps, shapes }) => ({
  steps: steps.map((s) => (s.do === 'send' ? { ...s, count: 1 } : s)),
  shapes: new Map([...shapes].map(([pair, { loss: _, capacityKbps, ...rest }]) =>
    [pair, { ...rest, ...capacityKbps !== undefined && { capacityKbps: Math.max(capacityKbps, 200) } }])), // nothing is dropped before a link that is not so slow
}))

describe('cuts of a slice with shaped links', function () {
  this.timeout(60_000)
  const runs = { numRuns: 400, seed: 4 }

  it('have in image and log every frame sent before the cut, once and in order; the run that goes on gets each once, too', () => {
    let cuts = 0
    let inFlight = 0
    fc.assert(fc.property(lossless, ({ shapes, steps }) => {
      const { life, ends } = live(shapes, steps)
      for (const snapshot of life.snapshots) judgeSnapshot(snapshot, ends)
      for (const id of vms) for (const from of vms) assert.deepEqual(mine(ends.get(id)!, from), [...new Set(mine(ends.get(id)!, from))].sort((a, b) => a - b))
      cuts += life.snapshots.length
      inFlight += life.snapshots.reduce((sum, s) => sum + s.log.length, 0)
    }), runs)
    assert.ok(cuts > 300 && inFlight > 1_000, `${cuts} cuts with ${inFlight} frames`)
  })

  it('add up in the proof, with loss and full queues counted by name', () => {
    fc.assert(fc.property(lives, ({ shapes, steps }) => {
      for (const { findings } of live(shapes, steps).life.snapshots) assert.deepEqual(findings, [])
    }), runs)
  })

  for (const defect of ['in flight forgotten', 'in flight recorded twice'] as const) {
    it(`are found wrong where what is in flight is ${defect.replace('in flight ', '')}, by the proof and by the frames`, () => {
      const wrong = (of: (life: ReturnType<typeof live>) => void) => fc.check(fc.property(lossless, ({ shapes, steps }) => {
        of(live(shapes, steps, defect))
      }), runs).failed
      assert.ok(wrong(({ life }) => { for (const { findings } of life.snapshots) assert.deepEqual(findings, []) }))
      assert.ok(wrong(({ life, ends }) => { for (const snapshot of life.snapshots) judgeSnapshot(snapshot, ends) }))
    })
  }
})
