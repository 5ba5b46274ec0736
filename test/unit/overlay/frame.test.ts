import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Failure } from '../../../base/errors.js'
import { decodeLog, encodeLog, type LoggedFrame } from '../../../overlay/channel-log.js'
import { decodeFrame, encodeFrame, headerBytes, maxFrameBytes, type Frame } from '../../../overlay/frame.js'

const slice = '5f0c0d5e-0000-4000-8000-000000000001'
const other = '5f0c0d5e-0000-4000-8000-000000000002'
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const frames: fc.Arbitrary<Frame> = fc.record({
  run: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((n) => n.toString(16).padStart(16, '0')),
  epoch: u32,
  source: u32,
  seq: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  bytes: fc.uint8Array({ maxLength: 2_000 }).map((b) => Buffer.from(b)),
}, { noNullPrototype: true })
const logs: fc.Arbitrary<LoggedFrame[]> = fc.array(fc.record({ to: u32, frame: frames }, { noNullPrototype: true }), { maxLength: 8 })
const damaged = (e: unknown) => e instanceof Failure && e.code === 'damaged'

describe('the codec of frames', () => {
  it('gives back every frame as it was, wherever it stands', () => {
    fc.assert(fc.property(frames, fc.uint8Array({ maxLength: 50 }), (frame, before) => {
      const bytes = Buffer.concat([before, encodeFrame(slice, frame), Buffer.from('rest')])
      assert.deepEqual(decodeFrame(slice, bytes, before.length), { frame, next: before.length + headerBytes + frame.bytes.length })
    }))
  })

  it('gives back every log as it was', () => {
    fc.assert(fc.property(logs, (log) => { assert.deepEqual(decodeLog(slice, encodeLog(slice, log)), log) }))
  })

  it('refuses a log that is cut off anywhere but behind a frame', () => {
    fc.assert(fc.property(logs.filter((l) => l.length > 0), fc.nat(), (log, at) => {
      const whole = encodeLog(slice, log)
      const cut = whole.subarray(0, at % whole.length)
      const borders = log.map((_, i) => encodeLog(slice, log.slice(0, i)).length)
      if (borders.includes(cut.length)) assert.equal(decodeLog(slice, cut).length, borders.indexOf(cut.length))
      else assert.throws(() => decodeLog(slice, cut), damaged)
    }))
  })

  it('never fails in another way than by saying "damaged", whatever bytes are changed', () => {
    fc.assert(fc.property(logs.filter((l) => l.length > 0), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 }), (log, changes) => {
      const bytes = encodeLog(slice, log)
      for (const [at, to] of changes) bytes[at % bytes.length] = to
      try {
        decodeLog(slice, bytes)
      } catch (error) {
        assert.ok(damaged(error), String(error))
      }
    }))
  })

  it('refuses frames of another slice, of another format and longer than any frame', () => {
    const frame = { run: '0000000100000000', epoch: 1, source: 1, seq: 1, bytes: Buffer.alloc(60) }
    assert.throws(() => decodeFrame(other, encodeFrame(slice, frame), 0), /another slice/)
    const format = encodeFrame(slice, frame)
    format[2] = 9
    assert.throws(() => decodeFrame(slice, format, 0), /no frame begins here/)
    const long = encodeFrame(slice, { ...frame, bytes: Buffer.alloc(maxFrameBytes + 1) })
    assert.throws(() => decodeFrame(slice, long, 0), damaged)
  })
})
