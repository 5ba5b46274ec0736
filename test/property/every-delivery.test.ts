// The product's own SliceNet with three VMs and links with latency, in every order of sending, arriving, cutting and giving up: a first
// cut that may be void at any moment, a second one at once, and a restore of what is committed on links that lose all. What must hold:
// image and log together have each frame sent before the cut once and in order, nothing that was sent after it, and the run that goes on
// gets every frame.
import assert from 'node:assert/strict'
import { SliceNet } from '../../overlay/slice-net.js'
import type { LoggedFrame } from '../../overlay/channel-log.js'
import { everyRun, type Runs } from '../exhaustive/every-run.js'
import { ethernet, macOf } from '../unit/overlay/wire.js'

interface Guest { to: number[]; sent: number; got: string[]; image: { sent: number; got: string[] } | undefined }
interface Waiting { frame: { source: number; seq: number; epoch: number } }
type Defect = 'none' | 'aborts without a new epoch' | 'same epoch again' | 'nothing is copied'

const ids = [1, 2, 3]
const run = '0000000100000000'

class Life {
  readonly guests = new Map<number, Guest>()
  committed = 0
  private readonly net: SliceNet
  private readonly defect: Defect
  private now = 0
  private k = 1
  private open = false
  private attempts: number
  private readonly epochs = new Map<number, number>()

  constructor(plan: number[][], attempts: number, defect: Defect) {
    this.defect = defect
    this.attempts = attempts
    this.net = new SliceNet({ slice: 's', run, epoch: 1 }, () => ++this.now, { onHeld: () => undefined, onFlight: () => undefined })
    ids.forEach((id, i) => {
      this.guests.set(id, { to: plan[i]!, sent: 0, got: [], image: undefined })
      const port = addPort(this.net, id, { latencyMs: 1_000 }, (text) => this.guests.get(id)!.got.push(text))
      if (defect === 'nothing is copied') port.copyWaiting = () => undefined
      this.net.ingress(port, frameOf(id, id, 0)) // to itself: its address is known from here on, and no frame goes to everybody
    })
  }

  moves(): (() => void)[] {
    const moves: (() => void)[] = []
    for (const [id, guest] of this.guests) {
      const port = this.net.ports(`vm${id}`)[0]!
      if (guest.sent < guest.to.length) moves.push(() => this.net.ingress(port, frameOf(id, guest.to[guest.sent]!, ++guest.sent)))
      if (port.flyingFrames > 0) moves.push(() => port.land(port.nextLanding()))
      if (this.open && !guest.image) moves.push(() => this.cut(id, guest))
    }
    if (!this.open && this.attempts > 0) moves.push(() => this.prepare())
    if (this.open) moves.push(() => this.abort())
    if (this.open && [...this.guests.values()].every((guest) => guest.image)) moves.push(() => this.commit())
    return moves
  }

  /** All that what comes may depend on. */
  key(): string {
    const nameOf = ({ frame }: Waiting) => `${frame.source}.${frame.seq}.${frame.epoch}`
    const ports = this.net.ports().map((port) => {
      const { queue, shapers } = port as unknown as { queue: Waiting[]; shapers: Map<number, { queue: { item: Waiting; due: number }[]; first: number }> }
      const flying = [...shapers.values()].flatMap((shaper) => shaper.queue.slice(shaper.first)).sort((one, other) => one.due - other.due)
      return `${port.epoch}${port.gated} ${queue.map(nameOf).join()} ${flying.map(({ item }) => nameOf(item)).join()}`
    })
    const logs = (this.net as unknown as { logs: { k: number; frames: LoggedFrame[] }[] }).logs
    return JSON.stringify([[...this.guests.values()], ports, logs.map((l) => [l.k, l.frames.map(textOf)]), this.k, this.open, this.attempts])
  }

  check(): void {
    for (const port of this.net.ports()) {
      assert.ok(port.epoch >= (this.epochs.get(port.id) ?? 0), 'an epoch went back')
      this.epochs.set(port.id, port.epoch)
    }
  }

  private prepare(): void {
    this.attempts--
    this.open = true
    if (this.defect !== 'same epoch again' || this.k === 1) this.k++
    this.net.prepare(this.k, 'colour')
  }

  private cut(id: number, guest: Guest): void {
    const vm = `vm${id}`
    this.net.gate(vm)
    this.net.cut(vm, this.k, `op${this.k}`, [], true)
    guest.image = { sent: guest.sent, got: [...guest.got] }
    this.net.thaw(vm)
  }

  private abort(): void {
    this.open = false
    for (const guest of this.guests.values()) guest.image = undefined
    if (this.defect === 'aborts without a new epoch') for (const id of ids) this.net.thaw(`vm${id}`)
    else this.net.forward(this.k)
  }

  private commit(): void {
    const log = this.net.closeLog(this.k)
    this.net.finish()
    this.open = false
    this.attempts = 0
    this.committed++
    const restored = restore(this.guests, log, this.k + 1)
    for (const [to, texts] of restored) {
      for (const [from, { image, to: plan }] of this.guests) {
        const expected = plan.slice(0, image!.sent).map((p, i) => (p === to ? `${from}-${i + 1}` : '')).filter((text) => text !== '')
        assert.deepEqual(texts.filter((text) => text.startsWith(`${from}-`)), expected, `${from} -> ${to} in the snapshot`)
      }
    }
  }

  end(): void {
    for (const [to, { got }] of this.guests) {
      for (const [from, { to: plan }] of this.guests) {
        const expected = plan.map((p, i) => (p === to ? `${from}-${i + 1}` : '')).filter((text) => text !== '')
        assert.deepEqual(got.filter((text) => text.startsWith(`${from}-`)), expected, `${from} -> ${to} in the run that goes on`)
      }
    }
  }
}

/** A new run on links that lose all: what was recorded has had its loss, and comes; what is sent now does not. */
function restore(guests: Map<number, Guest>, log: LoggedFrame[], epoch: number): Map<number, string[]> {
  const texts = new Map(ids.map((id) => [id, [...guests.get(id)!.image!.got]]))
  const net = new SliceNet({ slice: 's', run: '0000000200000000', epoch }, () => 1, { onHeld: () => undefined, onFlight: () => undefined })
  for (const id of ids) net.ingress(addPort(net, id, { loss: 1 }, (text) => texts.get(id)!.push(text)), frameOf(id, id, 0))
  net.prepare(epoch + 1, 'colour')
  net.gate('vm1') // a cut of the new run begins while frames are still replayed
  for (const port of net.ports()) port.replay(log.filter((l) => l.to === port.id).map((l) => ({ ...l.frame, run: net.run, epoch })))
  for (const id of ids) net.ingress(net.ports(`vm${id}`)[0]!, frameOf(id, (id % 3) + 1, 9))
  for (const id of ids) {
    net.gate(`vm${id}`)
    net.cut(`vm${id}`, epoch + 1, 'again', [], true)
    if (id !== 1) net.thaw(`vm${id}`)
  }
  const again = net.closeLog(epoch + 1)
  assert.deepEqual(again.map(textOf), log.filter((l) => l.to === 1).map(textOf), 'what is not yet replayed is recorded again')
  net.thaw('vm1')
  return texts
}

function addPort(net: SliceNet, id: number, shape: { latencyMs?: number; loss?: number }, take: (text: string) => void) {
  const shapes = ids.filter((other) => other !== id).map((from) => ({ from, ...shape }))
  const port = net.addPort({ id, vm: `vm${id}`, lan: 'lan', mac: macOf(id).toString('hex'), seq: 0, shapes })
  port.link = { connected: true, ready: true, send: (bytes) => { take(bytes.toString('latin1', 14)) }, drained: () => true, emptied: () => true, close: () => undefined }
  return port
}

const frameOf = (from: number, to: number, n: number): Buffer => ethernet(macOf(to), macOf(from), `${from}-${n}`)
const textOf = ({ frame }: LoggedFrame): string => frame.bytes.toString('latin1', 14)

function explore(plan: number[][], attempts: number, defect: Defect = 'none'): Runs & { committed: number } {
  let committed = 0
  const runs = everyRun((choose, isKnown) => {
    const life = new Life(plan, attempts, defect)
    for (;;) {
      const moves = life.moves()
      if (moves.length === 0) break
      moves[choose(moves.length)]!()
      life.check()
      if (isKnown(life.key())) return
    }
    life.end()
    committed += life.committed
  }, 500_000)
  return { ...runs, committed }
}

describe('the switch in every order of three VMs that send, cuts that come, and cuts that are given up', function () {
  this.timeout(120_000)
  const worlds: { name: string; plan: number[][]; attempts: number; states: number }[] = [
    { name: 'one cut, two frames on one channel and one on each of two others', plan: [[2, 2], [3], [1]], attempts: 1, states: 3_375 },
    { name: 'two attempts, frames that cross', plan: [[2, 2], [1], []], attempts: 2, states: 1_766 },
  ]
  for (const { name, plan, attempts, states } of worlds) {
    it(`loses, doubles and reorders nothing: ${name} (${states.toLocaleString('en')} states)`, () => {
      const found = explore(plan, attempts)
      assert.ok(found.states >= states && found.committed > 0, `${found.states} states, ${found.committed} commits: it visits less than it did`)
    })
  }
  for (const defect of ['aborts without a new epoch', 'same epoch again', 'nothing is copied'] as const) {
    it(`is found wrong with the defect "${defect}"`, () => {
      assert.throws(() => explore([[2], [1], []], 2, defect))
    })
  }
})
