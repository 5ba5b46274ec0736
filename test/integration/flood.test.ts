// A UDP flood of small frames into a VM at the moment of its cut, on real QEMU: more than its receive ring takes, so that
// QEMU holds some that the guest has not got, and `stop` would throw them away. With the put-back nothing is lost in
// either life; without it, something is (cut protocol, hole 1). 64 bytes a frame.
import assert from 'node:assert/strict'
import { cutVm } from '../../hosts/cut-vm.js'
import { realClock as clock, until } from '../../base/time.js'
import type { Vm } from '../../hosts/hypervisor/hypervisor.js'
import type { SwitchLink } from '../../hosts/switch-link.js'
import { giveBase } from '../../hosts/calibrate.js'
import type { CutOrder } from '../../snapshots/messages.js'
import type { PortLatch } from '../../overlay/slice-net.js'
import type { VmSpec } from '../../slices/vm-spec.js'
import { RawPort, Rig, udpFrame, type Login } from './rig.js'
import { join } from 'node:path'

const slice = '5f0c0d5e-0000-4000-8000-00000000f100'
const run = '0000000100000000'
const flood = 1_200
const cuts = 20
const sinkPort = 7_100
const victim = { mac: '52:54:00:00:f1:01', ip: '10.9.1.1' }
const source = { mac: '52:54:00:00:f1:02', ip: '10.9.1.2' }

interface Flow { flow: number; received: number; doubled: number; last: number; missing: [number, number][] }

const specOf = (key: string, loginPort: number): VmSpec => ({
  vm: 'victim', slice, clientId: 'victim', memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'violin-linux', loginPort,
  nics: [{ port: 1, name: 'if0', lan: 'lan0', mac: victim.mac, ip: victim.ip, prefixLength: 24 }],
  logins: [{ urn: 'tester', name: 'tester', keys: [key] }], neighbours: [], execute: [],
})

describe('a flood into a VM at the moment of its cut, on real QEMU', function () {
  this.timeout(300_000)
  const rig = new Rig()
  const generator = new RawPort(join(rig.folder, 'generator'))
  let vm: Vm
  let login: Login
  let spec: VmSpec
  let epoch = 1
  let flow = 0

  before(async () => {
    await rig.open()
    spec = specOf(rig.keys.public, 21_900)
    vm = await rig.boot(spec, run)
    await vm.openLogin()
    await rig.switchLink.ask('openRun', { slice, run, epoch })
    await addPorts(vm, run, generator)
    await generator.connected()
    login = await rig.login(spec)
    await login.run(`bank sink ${sinkPort}`)
    await giveBase(vm, { switchLink: rig.switchLink, clock })
  })
  after(async () => {
    login.close()
    generator.close()
    await rig.close()
  })

  async function addPorts(of: Vm, inRun: string, raw: RawPort | undefined, latch?: PortLatch): Promise<void> {
    await rig.switchLink.ask('addPort', {
      slice, run: inRun, vm: 'victim', port: 1, lan: 'lan0', mac: victim.mac, socket: of.instance.nicSockets[0]!, seq: latch?.sent ?? 0,
      ...(latch ? { sizeMiB: 64, base: { usedRx: latch.usedRx, usedTx: latch.usedTx, vring: latch.vring } } : {}),
    })
    if (raw) await rig.switchLink.ask('addPort', { slice, run: inRun, vm: 'generator', port: 2, lan: 'lan0', mac: source.mac, socket: raw.path, seq: 0 })
  }

  /** One cut with a flood that reaches the switch just before it. Returns what a restore needs. */
  async function cutUnderFlood(link: SwitchLink): Promise<{ order: CutOrder; latch: PortLatch; memory: string; log: string; layers: string[]; putBack: number }> {
    const k = ++epoch
    const op = `op-${k}`
    const order: CutOrder = { slice, run, k, op, token: 1, snapshot: `s-${k}`, kind: 'live', mode: 'live', vms: ['victim'], force: true }
    const memory = join(rig.folder, `${op}.memory`)
    const log = join(rig.folder, `${op}.frames`)
    await vm.prepareCut({ overlay: rig.layers.path(`${op}.qcow2`), memoryFile: memory, background: true, stayStopped: false })
    await rig.switchLink.ask('prepare', { slice, run, k, op, rule: 'colour' })
    flow++
    const frames = Array.from({ length: flood }, (_, i) => {
      const payload = Buffer.alloc(22) // with its headers a frame of 64 bytes
      payload.writeUInt32BE(flow, 0)
      payload.writeUInt32BE(i + 1, 4)
      return udpFrame({ from: source, to: victim, port: sinkPort, payload })
    })
    await generator.send(frames)
    await rig.switchLink.ask('cut', { slice, run, k, op, vm: 'generator', witnesses: [], putBack: false })
    const cut = await cutVm({ vm, order, switchLink: link, clock, isVoid: () => false, standing: () => undefined })
    await rig.switchLink.ask('closeLog', { slice, run, k, op, file: log })
    await vm.finishSave()
    const latch = cut.latches[0]!
    assert.ok(cut.drained, 'the guest took what was sent to it')
    return { order, latch, memory, log, layers: vm.instance.layers.slice(0, -1), putBack: latch.putBack }
  }

  async function flowIn(at: Login, number: number): Promise<Flow> {
    const settled = await until(clock, 3_000, 100, async () => {
      const found = await read(at, number)
      return found.received === flood ? found : undefined
    })
    return settled ?? read(at, number)
  }

  async function read(at: Login, number: number): Promise<Flow> {
    const report = JSON.parse(await at.run('bank sink-report')) as { flows: Flow[] }
    return report.flows.find((f) => f.flow === number) ?? { flow: number, received: 0, doubled: 0, last: 0, missing: [] }
  }

  /** The other life: the image of the cut beside the VM that runs on, with the recorded frames replayed. */
  async function restored(cut: Awaited<ReturnType<typeof cutUnderFlood>>, number: number): Promise<Flow> {
    const other = specOf(rig.keys.public, 21_901)
    const inRun = `000000020000${number.toString(16).padStart(4, '0')}`
    const top = await rig.layers.create(`restored-${number}.qcow2`, { sizeMiB: 64, base: cut.layers.at(-1)! })
    const again = rig.keep(await rig.hypervisor.load(rig.instance(other, inRun, [...cut.layers, top]), cut.memory))
    await rig.switchLink.ask('openRun', { slice, run: inRun, epoch: epoch + 1 })
    await addPorts(again, inRun, undefined, cut.latch)
    await rig.switchLink.ask('replay', { slice, run: inRun, file: cut.log })
    await again.openLogin()
    await again.resume()
    await rig.switchLink.ask('thaw', { slice, run: inRun, k: epoch + 1, op: 'restored', vm: other.vm })
    const second = await rig.login(other)
    const found = await flowIn(second, number)
    second.close()
    await rig.switchLink.ask('closeRun', { slice, run: inRun })
    await again.kill()
    return found
  }

  it(`loses and doubles nothing in either life, ${cuts} of ${cuts} cuts`, async () => {
    let putBack = 0
    for (let i = 0; i < cuts; i++) {
      const cut = await cutUnderFlood(rig.switchLink)
      putBack += cut.putBack
      for (const [life, found] of [['live', await flowIn(login, flow)], ['restored', await restored(cut, flow)]] as const) {
        assert.deepEqual({ life, cut: i, ...found }, { life, cut: i, flow, received: flood, doubled: 0, last: flood, missing: [] })
      }
    }
    assert.ok(putBack > 0, 'the flood never filled the ring: this test proves nothing here')
  })

  it('loses something without the put-back', async () => {
    const without = {
      ask: (method: string, detail: object, ms?: number) =>
        rig.switchLink.ask(method as 'cut', (method === 'cut' ? { ...detail, putBack: false } : detail) as never, ms),
    } as unknown as SwitchLink
    let lost = 0
    for (let i = 0; i < cuts && lost === 0; i++) {
      await cutUnderFlood(without)
      lost += flood - (await flowIn(login, flow)).received
    }
    assert.ok(lost > 0, `${cuts} cuts without the put-back lost nothing`)
  })
})
