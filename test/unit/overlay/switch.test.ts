import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, Refusal } from '../../../base/errors.js'
import { limits } from '../../../base/limits.js'
import { silentLog } from '../../../base/log.js'
import { realClock } from '../../../base/time.js'
import { decodeLog } from '../../../overlay/channel-log.js'
import type { DeviceWitness } from '../../../overlay/slice-net.js'
import { Switch } from '../../../overlay/switch.js'
import { useTempFolder } from '../../temp.js'
import { FakeQemu, framed, soon } from './fake-qemu.js'
import { everybody, ethernet, macOf } from './wire.js'

const slice = '5f0c0d5e-0000-4000-8000-000000000001'
const run = '0000000100000000'
const net = { slice, run }
const refused = (message: RegExp) => (e: unknown) => e instanceof Refusal && message.test(e.message)

describe('the switch', () => {
  const folder = useTempFolder()
  let later: number
  let told: { what: string; detail: { k: number; why?: string; epoch?: number } }[]
  let theSwitch: Switch
  let led: boolean
  let qemus: FakeQemu[]

  function start(bootId = 'boot-1'): Switch {
    return new Switch({
      folder: folder(), bootId, log: silentLog, clock: { ...realClock, monotonic: () => later + realClock.monotonic() },
      tell: (what, detail) => { told.push({ what, detail }) }, isLed: () => led,
    })
  }

  beforeEach(async () => {
    later = 0
    told = []
    led = false
    theSwitch = start()
    qemus = [1, 2].map((id) => new FakeQemu(join(folder(), `nic${id}`)))
    for (const qemu of qemus) await qemu.listen()
  })
  afterEach(async () => {
    theSwitch.close()
    for (const qemu of qemus) await qemu.die()
  })

  /** A run of two VMs that know each other. */
  async function connected(): Promise<void> {
    const { handlers } = theSwitch
    await handlers.openRun({ ...net, epoch: 1 })
    for (const [i, qemu] of qemus.entries()) {
      await handlers.addPort({ ...net, vm: `vm${i + 1}`, port: i + 1, lan: 'lan0', mac: '', socket: qemu.path, seq: 0, base: { usedRx: 0, usedTx: 0 } })
    }
    await soon('the switch connects', () => qemus.every((q) => q.socket))
    for (const [i, qemu] of qemus.entries()) {
      await qemu.write(framed(ethernet(everybody, macOf(i + 1), 'hello')))
      await soon('the other one hears it', () => qemus[1 - i]!.texts.includes('hello'))
    }
    for (const qemu of qemus) qemu.got.length = 0
  }
  const send = (from: number, text: string) => qemus[from - 1]!.write(framed(ethernet(macOf(3 - from), macOf(from), text)))
  const ref = (k: number, op = `op${k}`) => ({ ...net, k, op })
  const stats = () => theSwitch.handlers.stats(net)
  async function cut(vm: number, k: number): Promise<void> {
    const name = { ...ref(k), vm: `vm${vm}` }
    assert.equal((await theSwitch.handlers.gate({ ...name, withinMs: 5_000 })).drained, true)
    const { framesRead, framesWritten } = (await stats()).ports.find((p) => p.port === vm)!
    await theSwitch.handlers.cut({ ...name, witnesses: [{ port: vm, usedRx: framesWritten, usedTx: framesRead, vring: 'v' }], putBack: true })
    await theSwitch.handlers.thaw(name)
  }

  it('cuts two VMs under traffic, and writes what was in transit to a file', async () => {
    await connected()
    const { handlers } = theSwitch
    await handlers.prepare({ ...ref(2), rule: 'colour' })
    await handlers.gate({ ...ref(2), vm: 'vm2', withinMs: 5_000 })
    await send(1, 'in transit')
    await cut(2, 2)
    await cut(1, 2)
    await send(1, 'after')
    await soon('both arrive', () => qemus[1]!.texts.length === 2)
    assert.deepEqual(qemus[1]!.texts, ['in transit', 'after'])
    const file = join(folder(), 'log')
    const closed = await handlers.closeLog({ ...ref(2), file })
    assert.deepEqual(decodeLog(slice, readFileSync(file)).map((f) => [f.to, f.frame.bytes.toString('latin1', 14)]), [[2, 'in transit']])
    assert.deepEqual([closed.frames, closed.recorded[0]!.tally.n, closed.drops, closed.bootId], [1, 1, [], 'boot-1'])
  })

  it('replays a log into a new run, in its epoch and before everything else', async () => {
    await connected()
    const { handlers } = theSwitch
    await handlers.prepare({ ...ref(2), rule: 'colour' })
    await handlers.gate({ ...ref(2), vm: 'vm2', withinMs: 5_000 })
    await send(1, 'in transit')
    await cut(1, 2)
    await cut(2, 2)
    const file = join(folder(), 'log')
    assert.equal((await handlers.closeLog({ ...ref(2), file })).frames, 1)
    const later = { slice, run: '0000000200000000' }
    await handlers.closeRun(net)
    qemus[1]!.got.length = 0
    await handlers.openRun({ ...later, epoch: 5 })
    await handlers.addPort({ ...later, vm: 'vm2', port: 2, lan: 'lan0', mac: '', socket: qemus[1]!.path, seq: 7 })
    assert.deepEqual(await handlers.replay({ ...later, file }), { frames: 1 })
    await soon('its VM stands: the frame waits', async () => (await handlers.stats(later)).ports.every((p) => p.gated && p.waiting === 1))
    assert.deepEqual(qemus[1]!.texts, [], 'a VM that stands takes frames too, and would have it twice after a restart of the switch')
    await handlers.thaw({ ...later, k: 5, op: 'r', vm: 'vm2' })
    await soon('it arrives', () => qemus[1]!.got.length === 1)
    assert.deepEqual(qemus[1]!.texts, ['in transit'])
  })

  it('delivers over a shaped link its latency later, records what is in flight at a cut, and a new run has the shape again', async () => {
    const { handlers } = theSwitch
    const shaped = (latencyMs: number) => async (to: { slice: string; run: string }, epoch: number) => {
      const before = qemus.map((q) => q.connections)
      await handlers.openRun({ ...to, epoch })
      for (const [i, qemu] of qemus.entries()) {
        await handlers.addPort({
          ...to, vm: `vm${i + 1}`, port: i + 1, lan: 'lan0', mac: '', socket: qemu.path, seq: 0, base: { usedRx: 0, usedTx: 0 }, shapes: [{ from: 2 - i, latencyMs }],
        })
      }
      await soon('the switch connects', () => qemus.every((q, i) => q.connections > before[i]!))
    }
    await shaped(40)(net, 1)
    const begun = realClock.monotonic()
    await send(1, 'first')
    await soon('it arrives', () => qemus[1]!.texts.includes('first'))
    assert.ok(realClock.monotonic() - begun >= 39, 'it came early')
    await handlers.closeRun(net)
    qemus[1]!.got.length = 0

    const long = { slice, run: '0000000200000000' }
    await shaped(3_600_000)(long, 1)
    await send(1, 'in flight')
    await soon('it is in flight', async () => (await handlers.stats(long)).ports[1]!.flying === 1)
    await handlers.prepare({ ...long, k: 2, op: 'op2', rule: 'colour' })
    for (const [vm, usedTx] of [[2, 0], [1, 1]]) {
      const name = { ...long, k: 2, op: 'op2', vm: `vm${vm}` }
      await handlers.gate({ ...name, withinMs: 5_000 })
      await handlers.cut({ ...name, witnesses: [{ port: vm!, usedRx: 0, usedTx: usedTx!, vring: 'v' }], putBack: true })
      await handlers.thaw(name)
    }
    const file = join(folder(), 'log')
    const closed = await handlers.closeLog({ ...long, k: 2, op: 'op2', file })
    assert.deepEqual([closed.frames, closed.recorded.map((r) => [r.to, r.from, r.tally.n]), closed.drops], [1, [[2, 1, 1]], []])
    await handlers.closeRun(long)
    assert.deepEqual(qemus[1]!.texts, [], 'its hour had not passed')

    const after = { slice, run: '0000000300000000' }
    await shaped(3_600_000)(after, 3)
    await handlers.replay({ ...after, file })
    for (const vm of [1, 2]) await handlers.thaw({ ...after, k: 3, op: 'r', vm: `vm${vm}` })
    await soon('what was in flight arrives', () => qemus[1]!.texts.length === 1)
    await send(1, 'new')
    await soon('it is in flight', async () => (await handlers.stats(after)).ports[1]!.flying === 1)
    assert.deepEqual(qemus[1]!.texts, ['in flight'])
  })

  it('refuses an epoch that was used before, also when it was restarted and remembers nothing else', async () => {
    await connected()
    await theSwitch.handlers.prepare({ ...ref(5), rule: 'colour' })
    await assert.rejects(theSwitch.handlers.prepare({ ...ref(5, 'other'), rule: 'colour' }), refused(/epoch 5 is not later than 5/))
    await theSwitch.handlers.prepare({ ...ref(5), rule: 'colour' }) // asked again by the same cut
    theSwitch.close()
    theSwitch = start('boot-2')
    assert.deepEqual(await theSwitch.handlers.openRun({ ...net, epoch: 1 }), { epoch: 5 })
    await assert.rejects(theSwitch.handlers.prepare({ ...ref(5), rule: 'colour' }), refused(/epoch 5 is not later/))
    assert.deepEqual(await theSwitch.handlers.prepare({ ...ref(6), rule: 'colour' }), { bootId: 'boot-2' })
  })

  it('knows nothing of a cut that was open when it was restarted', async () => {
    await connected()
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    theSwitch.close()
    theSwitch = start('boot-2')
    await theSwitch.handlers.openRun({ ...net, epoch: 1 })
    await assert.rejects(theSwitch.handlers.cut({ ...ref(2), vm: 'vm1', witnesses: [], putBack: true }), refused(/cut 2 is not open/))
    await assert.rejects(theSwitch.handlers.closeLog({ ...ref(2), file: join(folder(), 'log') }), refused(/cut 2 is not open/))
  })

  it('does not guess when its prepared epoch is damaged', async () => {
    writeFileSync(join(folder(), `${slice}.${run}.json`), '{')
    await assert.rejects(theSwitch.handlers.openRun({ ...net, epoch: 1 }), (e: unknown) => e instanceof Failure && e.code === 'damaged')
  })

  it('goes forward by itself when frames were held for too long, tells it once, and the cut is void', async () => {
    await connected()
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    await cut(1, 2)
    await send(1, 'held')
    await soon('it is told that a frame is held', () => told.some((t) => t.what === 'held'))
    theSwitch.tick()
    assert.equal(told.filter((t) => t.what === 'forwarded').length, 0, 'not before its time')
    for (let ms = 0; ms <= limits.holdMs + 100; ms += 50) {
      later += 50
      theSwitch.tick()
    }
    assert.deepEqual(told.filter((t) => t.what === 'forwarded').map((t) => t.detail.k), [2])
    await soon('the frame arrives', () => qemus[1]!.texts.includes('held'))
    await assert.rejects(theSwitch.handlers.cut({ ...ref(2), vm: 'vm2', witnesses: [], putBack: true }), refused(/void/))
  })

  it('goes forward neither by itself nor with a late gate while a VM is being stopped: only its flip brings back what `stop` destroys', async () => {
    await connected()
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    const vm2 = { ...ref(2), vm: 'vm2' }
    await theSwitch.handlers.gate({ ...ref(2), vm: 'vm1', withinMs: 5_000 })
    later += limits.holdMs - 100
    assert.equal((await theSwitch.handlers.gate({ ...vm2, withinMs: 5_000 })).drained, true)
    later += 150
    theSwitch.tick()
    assert.equal(told.length, 0, 'vm2 may be stopped just now')
    for (let n = 0; n < 5; n++) {
      later += 1_000
      await theSwitch.handlers.stay(ref(2))
      theSwitch.tick()
    }
    assert.equal(told.length, 0, 'its monitor is silent, and its agent sees to it')
    later += 1_600
    theSwitch.tick()
    assert.deepEqual(told.map((t) => t.what), ['forwarded'], 'nobody says that he sees to it')
    await assert.rejects(theSwitch.handlers.gate({ ...vm2, withinMs: 5_000 }), refused(/void/))

    await theSwitch.handlers.prepare({ ...ref(3), rule: 'colour' })
    qemus[1]!.socket!.pause()
    await send(1, 'x'.repeat(1_000))
    const gate = theSwitch.handlers.gate({ ...ref(3), vm: 'vm2', withinMs: 5_000 })
    await theSwitch.handlers.forward(ref(3))
    qemus[1]!.socket!.resume()
    await assert.rejects(gate, refused(/void/), 'it must not be stopped for a cut that is void')
  })

  it('that has stood does first what it was asked meanwhile: the flip of a VM that was stopped, and only then it goes forward', async () => {
    await connected()
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    theSwitch.tick()
    assert.equal((await theSwitch.handlers.gate({ ...ref(2), vm: 'vm1', withinMs: 5_000 })).drained, true)
    later += 3 * limits.holdMs
    theSwitch.tick()
    later += 50
    theSwitch.tick()
    assert.equal(told.length, 0, 'not yet')
    await theSwitch.handlers.cut({ ...ref(2), vm: 'vm1', witnesses: [], putBack: true })
    later += 200
    theSwitch.tick()
    assert.deepEqual(told.map((t) => t.what), ['forwarded'])
  })

  it('opens a gate whose agent has died', async () => {
    await connected()
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    await theSwitch.handlers.gate({ ...ref(2), vm: 'vm2', withinMs: 5_000 })
    await send(1, 'waits')
    later += limits.holdMs + 1
    theSwitch.tick()
    await soon('it arrives', () => qemus[1]!.texts.includes('waits'))
    assert.deepEqual(told.map((t) => t.what), ['forwarded'])
  })

  /** vm2 has drained, was stopped and has not handed the last frame to its guest; then its agent stands still, and a frame comes. */
  async function forwardWithoutAgent(): Promise<void> {
    await connected()
    await send(1, 'not taken')
    await soon('it is in the device', () => qemus[1]!.texts.includes('not taken'))
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    await theSwitch.handlers.gate({ ...ref(2), vm: 'vm2', withinMs: 5_000 })
    await send(1, 'later')
    for (let ms = 0; ms <= limits.holdMs + 100; ms += 50) {
      later += 50
      theSwitch.tick()
    }
    assert.deepEqual(told.map((t) => t.what), ['forwarded'])
  }
  const takenBy = async (vm: number, fewer: number) => {
    const { framesRead, framesWritten } = (await stats()).ports.find((p) => p.port === vm)!
    return [{ port: vm, usedRx: framesWritten - fewer, usedTx: framesRead, vring: 'v' }]
  }
  const flip = (k: number, witnesses: DeviceWitness[]) => theSwitch.handlers.cut({ ...ref(k), vm: 'vm2', witnesses, putBack: true })

  it('goes forward beside a VM that its agent was stopping, and opens it when that has said what it had taken', async () => {
    led = true
    await forwardWithoutAgent()
    assert.deepEqual((await stats()).ports.map((p) => p.gated), [false, true])
    const witnesses = await takenBy(2, 1)
    for (let n = 0; n < 2; n++) await assert.rejects(flip(2, witnesses), refused(/void/))
    assert.deepEqual(qemus[1]!.texts, ['not taken'], 'it stands')
    await theSwitch.handlers.forward(ref(2))
    await soon('all is there', () => qemus[1]!.texts.length === 3)
    assert.deepEqual(qemus[1]!.texts, ['not taken', 'not taken', 'later'], 'the first was thrown away by `stop`')

    await theSwitch.handlers.prepare({ ...ref(3), rule: 'colour' })
    await theSwitch.handlers.gate({ ...ref(3), vm: 'vm2', withinMs: 5_000 })
    const { latches } = await flip(3, await takenBy(2, 0))
    assert.deepEqual(latches.map((l) => [l.witness, l.putBack]), [['exact', 0]])
  })

  it('opens it also when its agent has gone for long, or begins another cut, and then knows nothing of what it had taken', async () => {
    led = true
    await forwardWithoutAgent()
    led = false
    later += 9_000
    theSwitch.tick()
    assert.equal((await stats()).ports[1]!.gated, true, 'its agent may be back in a moment')
    later += 1_500
    theSwitch.tick()
    await soon('what waited arrives', () => qemus[1]!.texts.includes('later'))
    await assert.rejects(flip(2, await takenBy(2, 1)), refused(/void/))
    assert.deepEqual(qemus[1]!.texts, ['not taken', 'later'])
    led = true
    theSwitch.tick()
    await theSwitch.handlers.prepare({ ...ref(3), rule: 'colour' })
    await theSwitch.handlers.gate({ ...ref(3), vm: 'vm2', withinMs: 5_000 })
    const { latches } = await flip(3, await takenBy(2, 1))
    assert.deepEqual(latches.map((l) => [l.witness, l.putBack]), [['none', 0]], 'frames that the guest has are not put back')
  })

  it('does not close the log while a port is behind', async () => {
    await connected()
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    await cut(1, 2)
    await assert.rejects(theSwitch.handlers.closeLog({ ...ref(2), file: join(folder(), 'log') }), refused(/vm2 has not been cut/))
  })

  it('takes part in the cut of one operation only', async () => {
    await connected()
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    await assert.rejects(theSwitch.handlers.gate({ ...ref(2, 'other'), vm: 'vm1', withinMs: 0 }), refused(/not open/))
  })

  it('goes forward as often as it is asked, also for runs that it does not have', async () => {
    await connected()
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    for (let i = 0; i < 3; i++) assert.equal(await theSwitch.handlers.forward(ref(2)), null)
    assert.equal(await theSwitch.handlers.forward({ ...ref(2), run: '00000009000000aa' }), null)
    assert.deepEqual((await stats()).ports.map((p) => p.epoch), [2, 2])
  })

  it('keeps no file of a run that was closed', async () => {
    await connected()
    const files = () => readdirSync(folder()).filter((name) => name.endsWith('.json'))
    await theSwitch.handlers.prepare({ ...ref(2), rule: 'colour' })
    assert.deepEqual(files(), [`${slice}.${net.run}.json`])
    await theSwitch.handlers.closeRun(net)
    assert.deepEqual(files(), [])
  })

  it('opens a run and adds a port once, whoever asks again', async () => {
    await connected()
    await connected()
    assert.equal((await stats()).ports.length, 2)
    await theSwitch.handlers.removeVm({ ...net, vm: 'vm1' })
    await theSwitch.handlers.removeVm({ ...net, vm: 'vm1' })
    assert.equal((await stats()).ports.length, 1)
    await theSwitch.handlers.closeRun(net)
    await theSwitch.handlers.closeRun(net)
    await assert.rejects(stats(), refused(/no run/))
  })
})
