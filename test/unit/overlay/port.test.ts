import assert from 'node:assert/strict'
import fc from 'fast-check'
import { limits } from '../../../base/limits.js'
import { ChannelLog } from '../../../overlay/channel-log.js'
import type { Frame } from '../../../overlay/frame.js'
import { Port, type Rule } from '../../../overlay/port.js'
import { equal, sum } from '../../../overlay/tally.js'
import { Wire } from './wire.js'

function aPort(epoch = 1) {
  const at = { rule: 'colour' as Rule, logs: [] as ChannelLog[], now: 10, held: [] as number[] }
  const port = new Port({ id: 9, vm: 'vm', lan: 'lan0', epoch, seq: 0 }, {
    rule: () => at.rule, openLogs: () => at.logs, now: () => at.now, onHeld: (t) => at.held.push(t), onFlight: () => undefined,
  })
  const wire = new Wire()
  port.link = wire
  const seqs = new Map<number, number>()
  const frame = (source: number, t: number, size = 60): Frame => {
    const seq = (seqs.get(source) ?? 0) + 1
    seqs.set(source, seq)
    const bytes = Buffer.alloc(size)
    bytes.write(`${source}:${seq}`, 14)
    return { run: '0000000100000000', epoch: t, source, seq, bytes }
  }
  const names = () => wire.got.map((b) => b.toString('latin1', 14).replaceAll('\0', ''))
  return { port, wire, at, frame, names }
}

describe('the queue of a port', () => {
  it('keeps the order of each channel, whatever is held, gated, not taken and put back in between', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('send' as const), source: fc.integer({ min: 1, max: 3 }), newer: fc.boolean() }),
      fc.record({ do: fc.constantFrom('gate' as const, 'open' as const, 'full' as const, 'cut' as const) }),
    )
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { port, wire, frame, names } = aPort()
      const ahead = new Set<number>() // a sender goes forward and never back
      const kept: string[] = []
      for (const s of steps) {
        if (s.do === 'send') {
          if (s.newer) ahead.add(s.source)
          port.accept(frame(s.source, ahead.has(s.source) ? 2 : 1))
        } else if (s.do === 'gate') port.gated = true
        else if (s.do === 'full') wire.ready = false
        else if (s.do === 'cut') { // the last two since the last cut were not received by the guest, what came before was
          const back = port.putBack(Math.min(2, wire.got.length))
          kept.push(...names().slice(0, wire.got.length - back))
          wire.got.length = 0
        } else {
          port.gated = false
          wire.ready = true
          port.pump()
        }
      }
      port.gated = false
      wire.ready = true
      port.epoch = 2
      port.pump()
      const all = [...kept, ...names()]
      for (const source of [1, 2, 3]) {
        const mine = all.filter((n) => n.startsWith(`${source}:`)).map((n) => Number(n.split(':')[1]))
        assert.deepEqual(mine, mine.map((_, i) => i + 1))
      }
      assert.equal(all.length, steps.filter((s) => s.do === 'send').length)
    }))
  })

  it('holds frames of a later epoch, lets others pass, and releases them once the port is there', () => {
    const { port, at, frame, names } = aPort()
    port.accept(frame(1, 2))
    port.accept(frame(2, 1))
    assert.deepEqual([names(), at.held, port.heldSince(), port.heldFrames], [['2:1'], [2], 10, 1])
    at.now = 35
    port.pump()
    assert.deepEqual(at.held, [2], 'told once')
    port.epoch = 2
    port.pump()
    assert.deepEqual([names(), port.heldSince(), port.longestHoldMs, port.waitingBytes], [['2:1', '1:1'], undefined, 25, 0])
  })

  it('records a frame of an earlier epoch in every open log that it crosses, once in each', () => {
    const { port, at, frame } = aPort(3)
    at.logs = [new ChannelLog(2), new ChannelLog(3), new ChannelLog(4)]
    port.accept(frame(1, 1))
    port.accept(frame(1, 2))
    port.putBack(2)
    port.pump() // delivered again after a put-back: no second record
    assert.deepEqual(at.logs.map((l) => l.frames.map((f) => f.frame.seq)), [[1], [1, 2], []])
  })

  it('copies what still waits into the log in order, and its delivery does not record it again', () => {
    const { port, at, frame, names } = aPort(2)
    const log = new ChannelLog(2)
    at.logs = [log]
    port.gated = true
    for (const t of [1, 1, 2]) port.accept(frame(1, t))
    port.copyWaiting(log)
    port.copyWaiting(log)
    port.gated = false
    port.pump()
    assert.deepEqual([log.frames.map((f) => f.frame.seq), names()], [[1, 2], ['1:1', '1:2', '1:3']])
  })

  it('drops at the tail when it is full, and counts every frame that it drops', () => {
    const { port, frame } = aPort()
    port.gated = true
    const size = 1024 * 1024
    for (let i = 0; i < limits.portQueueBytes / size; i++) port.accept(frame(1, 1, size))
    port.accept(frame(1, 1, 60))
    port.accept(frame(2, 1, 60))
    port.gated = false
    port.pump()
    const [one, two] = [port.channel(1), port.channel(2)]
    assert.deepEqual(one.drops.map(({ kind, epoch, seqs }) => ({ kind, epoch, seqs })), [{ kind: 'queueTail', epoch: 1, seqs: [33] }])
    for (const c of [one, two]) assert.ok(equal(c.born, sum(c.delivered, ...c.drops.map((d) => d.tally))))
  })

  it('counts what it drops apart, while it is gated or holds frames for a cut', () => {
    const { port, wire, frame } = aPort()
    const fill = () => { for (let i = 0; i <= limits.portQueueBytes / 1024 / 1024; i++) port.accept(frame(1, 1, 1024 * 1024)) }
    wire.ready = false
    fill()
    assert.deepEqual([port.channel(1).drops[0]!.tally.n, port.heldDropped], [1, 0], 'a guest that does not read')
    port.gated = true
    port.accept(frame(1, 1, 1024 * 1024))
    assert.equal(port.heldDropped, 1)
    port.gated = false
    wire.ready = true
    port.pump()
    port.accept(frame(2, 2)) // held
    wire.ready = false
    fill()
    assert.ok(port.heldDropped > 1)
    const dropped = port.heldDropped
    wire.ready = true
    port.epoch = 2
    port.pump()
    wire.ready = false
    fill()
    fill()
    assert.equal(port.heldDropped, dropped, 'nothing is held any more')
  })

  it('takes put-back frames out of its counts, and counts them when they are delivered again', () => {
    const { port, wire, frame, names } = aPort()
    for (let i = 0; i < 3; i++) port.accept(frame(1, 1))
    port.gated = true
    assert.equal(port.putBack(2), 2)
    assert.deepEqual([port.framesWritten, port.channel(1).delivered.n, port.waitingFrames], [1, 1, 2])
    port.accept(frame(1, 1))
    wire.got.length = 0
    port.gated = false
    port.pump()
    assert.deepEqual(names(), ['1:2', '1:3', '1:4'])
    assert.ok(equal(port.channel(1).delivered, port.channel(1).born))
  })

  it('puts back no more than it remembers, and says how many', () => {
    const { port, frame } = aPort()
    port.accept(frame(1, 1))
    assert.equal(port.putBack(5), 1)
  })

  it('lets replayed frames enter before everything that waits', () => {
    const { port, frame, names } = aPort()
    port.gated = true
    const [first, second] = [frame(1, 1), frame(1, 1)]
    port.accept(frame(1, 1))
    port.replay([first, second])
    port.gated = false
    port.pump()
    assert.deepEqual(names(), ['1:1', '1:2', '1:3'])
  })

  it('drops newer frames under the rule "drop" as orphans, and delivers all under "none"', () => {
    const { port, at, frame, names } = aPort()
    at.rule = 'drop'
    port.accept(frame(1, 2))
    at.rule = 'none'
    port.accept(frame(1, 2))
    assert.deepEqual([names(), port.channel(1).drops[0]!.kind], [['1:2'], 'orphan'])
  })
})
