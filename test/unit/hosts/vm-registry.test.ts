import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { silentLog } from '../../../base/log.js'
import { realClock as clock, until } from '../../../base/time.js'
import { startTime } from '../../../hosts/hypervisor/process.js'
import { configDisk } from '../../../hosts/config-disk.js'
import { Layers } from '../../../hosts/layers.js'
import { SliceMarks } from '../../../hosts/slice-marks.js'
import type { SwitchLink } from '../../../hosts/switch-link.js'
import type { VmRecord } from '../../../hosts/vm-records.js'
import { VmRegistry } from '../../../hosts/vm-registry.js'
import type { VmReport } from '../../../slices/needs.js'
import type { VmSpec } from '../../../slices/vm-spec.js'
import { MemoryHypervisor, MemoryVm } from '../../fakes/memory-hypervisor.js'
import { useTempFolder } from '../../temp.js'

const slice = '5f0c0d5e-0000-4000-8000-0000000000a1'
const specOf = (vm: string): VmSpec => ({
  vm, slice, clientId: vm, memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'bank', loginPort: 1, logins: [], neighbours: [], execute: [],
  nics: [{ port: 1, name: 'if0', lan: 'lan0', mac: '52:54:00:00:00:01', ip: '10.0.0.1', prefixLength: 24 }],
})

/** An agent that comes up where an earlier one has left records of these VMs. */
async function cameBack(folder: string, names: string[], mayStand: (vm: string) => boolean = () => false) {
  const hypervisor = new MemoryHypervisor()
  const asked: string[] = []
  let counted = false
  const details: unknown[] = []
  const told: VmReport[] = []
  const answers = (): Record<string, unknown> => ({ quiet: { drained: false }, stats: { ports: ['a', 'b'].map((vm) => ({ vm, counted })) } })
  const ask = async (method: string, detail: unknown) => {
    asked.push(method)
    details.push(detail)
    return answers()[method] ?? null
  }
  const switchLink = { ask } as unknown as SwitchLink
  const layers = new Layers(join(folder, 'layers'), hypervisor)
  const marks = new SliceMarks(join(folder, 'slices'))
  await layers.open()
  await marks.open()
  mkdirSync(join(folder, 'vms'))
  for (const name of names) {
    const record: VmRecord = {
      format: 1, spec: specOf(name), condition: 'ready', reason: '', layers: ['/x/0.qcow2'],
      instance: {
        spec: specOf(name), run: '0000000100000000', monitor: '', nicSockets: [''], console: '', config: '', kernel: '', initrd: '', append: '',
        layers: ['/x/0.qcow2'], pid: 1, started: '1',
      },
    }
    writeFileSync(join(folder, 'vms', `${name}.json`), JSON.stringify(record))
    hypervisor.alive.set(name, new MemoryVm(record.instance!, false))
  }
  const registry = new VmRegistry({
    folder: join(folder, 'vms'), runFolder: folder, hypervisor, switchLink, layers, marks,
    diskImages: {
      lay: (name) => Promise.reject(new Error(`there is no image ${name}`)), layFetched: ({ url }) => Promise.reject(new Error(`there is no image ${url}`)),
      leastDiskMiB: () => 1,
    },
    images: new Map([['bank', { name: 'bank', kernel: 'k', initrd: 'i', append: '' }]]), clock, log: silentLog, onChange: (r) => told.push(r), mayStand,
    cutIsOver: () => Promise.resolve(),
  })
  const onDisk = (name: string) => JSON.parse(readFileSync(join(folder, 'vms', `${name}.json`), 'utf8')) as VmRecord
  const isCounted = () => { counted = true }
  return { registry, hypervisor, asked, isCounted, details, told, onDisk, marks, vm: (name: string) => hypervisor.alive.get(name)! }
}

describe('the VMs of a host', () => {
  const folder = useTempFolder()

  it('that stand without reason run on when the agent is back', async () => {
    const host = await cameBack(folder(), ['a', 'b'])
    host.vm('b').running = true
    await host.registry.open()
    await host.registry.resumeStopped()
    assert.deepEqual([host.vm('a').running, host.vm('a').asked, host.vm('b').asked], [true, ['letRun'], []])
  })

  it('have other accounts when they are told so: on their disk, in their record, in the VM, and in the next life that is made of it', async () => {
    const host = await cameBack(folder(), ['a'])
    await host.registry.open()
    const config = join(folder(), 'vms', 'a.config')
    writeFileSync(config, configDisk(specOf('a')))
    const bob = { urn: 'urn:bob', name: 'bob', keys: ['ssh-ed25519 AAAA bob'] }
    await host.registry.setLogins('a', [bob])
    assert.equal(readFileSync(config).length, configDisk(specOf('a')).length)
    assert.match(readFileSync(config, 'latin1'), /^generation\0[^]*users\/bob\/authorized_keys[^]*ssh-ed25519 AAAA bob\n/)
    assert.deepEqual(host.onDisk('a').spec.logins, [bob])
    assert.ok(host.vm('a').asked.includes('setLogins bob'))
    assert.deepEqual(host.registry.instanceOf(specOf('a'), '0000000100000000', []).spec.logins, [bob], 'a rollback does not bring the old ones back')
    const long = { ...bob, keys: [`ssh-ed25519 ${'A'.repeat(70_000)}`] }
    await assert.rejects(host.registry.setLogins('a', [long]), /has room for 65536 bytes, the accounts and keys need \d+: give fewer keys/)
    assert.deepEqual(host.onDisk('a').spec.logins, [bob])
    await assert.rejects(host.registry.setLogins('b', [bob]), /has no VM b/)
    writeFileSync(config, 'hostname')
    await assert.rejects(host.registry.setLogins('a', [bob]), /made by an earlier version/)
  })

  it('have whole configuration disks after an agent died over one: it says what the record says, and one that belongs to no VM is gone', async () => {
    const host = await cameBack(folder(), ['a', 'b'])
    const config = (vm: string) => join(folder(), 'vms', `${vm}.config`)
    const bob = { urn: 'urn:bob', name: 'bob', keys: ['ssh-ed25519 AAAA bob'] }
    const [whole, changed] = [configDisk(specOf('a')), configDisk({ ...specOf('a'), logins: [bob] })]
    writeFileSync(config('a'), Buffer.concat([changed.subarray(0, 1024), whole.subarray(1024)])) // half way from one to the other
    writeFileSync(config('b'), configDisk({ ...specOf('b'), logins: [bob] }))
    writeFileSync(config('nobody'), whole)
    await host.registry.open()
    assert.ok(readFileSync(config('a')).equals(whole))
    assert.ok(readFileSync(config('b')).equals(configDisk({ ...specOf('b'), logins: [bob] })), 'what is whole stays')
    assert.ok(!existsSync(config('nobody')))
  })

  it('that stand for a sealed suspension stay as they are, whatever is done for the others', async () => {
    const host = await cameBack(folder(), ['a', 'b'], (vm) => vm === 'a')
    await host.registry.open()
    await host.registry.resumeStopped()
    await host.registry.reconnect()
    assert.deepEqual([host.vm('a').running, host.vm('a').asked], [false, []])
    assert.equal(host.vm('b').running, true)
    assert.ok(host.asked.includes('rebase'), 'the others got a counting base')
  })

  it('get the shapes of their links with their ports, in every run and after a restart of the switch', async () => {
    const host = await cameBack(folder(), ['a'])
    host.vm('a').instance.spec.nics[0]!.shapes = [{ from: 2, latencyMs: 20, loss: 0.02 }]
    await host.registry.open()
    await host.registry.reconnect()
    const ports = host.details.filter((_, i) => host.asked[i] === 'addPort') as { port: number; shapes: unknown }[]
    assert.deepEqual(ports.map((p) => [p.port, p.shapes]), [[1, [{ from: 2, latencyMs: 20, loss: 0.02 }]]])
  })

  it('whose process is gone are dead, told so, and recorded so', async () => {
    const host = await cameBack(folder(), ['a'])
    host.hypervisor.alive.clear()
    await host.registry.open()
    assert.deepEqual(host.registry.reports().map((r) => [r.vm, r.condition]), [['a', 'dead']])
    assert.deepEqual(host.told.map((r) => [r.vm, r.condition, r.reason]), [['a', 'dead', 'its process was gone when the host agent was started']])
    assert.deepEqual([host.onDisk('a').condition, host.onDisk('a').instance], ['dead', null])
  })

  it('that live and do not answer are ended and dead; they keep no agent from coming up, and no other VM from it', async () => {
    const host = await cameBack(folder(), ['a', 'b'])
    host.vm('b').running = true
    const process = spawn('sleep', ['600'])
    const [pid, ended] = [process.pid!, new Promise<NodeJS.Signals | null>((done) => process.once('exit', (_, signal) => done(signal)))]
    const started = await startTime(pid)
    const record = host.onDisk('a')
    writeFileSync(join(folder(), 'vms', 'a.json'), JSON.stringify({ ...record, instance: { ...record.instance!, pid, started } }))
    host.hypervisor.adopt = async (instance) => {
      if (instance.spec.vm === 'a') throw new Error('its monitor does not answer')
      return host.vm(instance.spec.vm)
    }
    await host.registry.open()
    assert.equal(await ended, 'SIGKILL')
    assert.deepEqual(host.registry.reports().map((r) => r.condition), ['dead', 'ready'])
    assert.deepEqual(host.told.map((r) => r.reason), ['it did not answer when the host agent was started, and was ended: its monitor does not answer'])
  })

  it('that stand and cannot be let run are dead, and cannot be calibrated without harm to others', async () => {
    const host = await cameBack(folder(), ['a', 'b'])
    await host.registry.open()
    host.vm('a').letRun = () => Promise.reject(new Error('no answer'))
    await host.registry.reconnect()
    assert.equal(host.vm('b').running, true)
    await host.registry.resumeStopped()
    assert.ok(await until(clock, 30_000, 1, () => (host.onDisk('a').condition === 'dead' ? true : undefined)))
    assert.match(host.onDisk('a').reason, /^it stood and could not be resumed: no answer/)
    assert.equal(host.onDisk('b').condition, 'ready')
  })

  it('are not stopped for a counting base that they have: what a guest has not taken would be thrown away', async () => {
    const host = await cameBack(folder(), ['a'])
    host.isCounted()
    await host.registry.open()
    await host.registry.reconnect()
    assert.ok(!host.asked.includes('rebase') && !host.vm('a').asked.includes('stop'), host.asked.join())
  })

  it('are watched where their specification asks for it, while they are ready', async () => {
    const host = await cameBack(folder(), ['a', 'b', 'c'])
    for (const name of ['b', 'c']) {
      const record = host.onDisk(name)
      record.instance!.spec.watchdogMs = 5_000
      host.vm(name).instance.spec.watchdogMs = 5_000
      writeFileSync(join(folder(), 'vms', `${name}.json`), JSON.stringify({ ...record, condition: name === 'c' ? 'booting' : 'ready' }))
    }
    await host.registry.open()
    assert.deepEqual(host.registry.watched(), [host.vm('b')])
    await host.vm('b').kill('it hung')
    assert.deepEqual(host.registry.watched(), [])
    assert.ok(await until(clock, 30_000, 1, () => host.told.find((r) => r.vm === 'b' && r.condition === 'dead' && r.reason === 'it hung')))
    await host.vm('c').kill() // or its login would be waited for, long after the test
  })

  it('that die while their record cannot be written are told as dead, and cost the agent nothing', async () => {
    const host = await cameBack(folder(), ['a'])
    await host.registry.open()
    rmSync(join(folder(), 'vms'), { recursive: true }) // nothing can be written there, not even by root
    host.vm('a').die('its QEMU process was ended by SIGKILL')
    assert.ok(await until(clock, 30_000, 1, () => host.told.find((r) => r.condition === 'dead')))
    assert.deepEqual([host.registry.reports().map((r) => r.condition), host.registry.runningOf(slice)], [['dead'], []])
  })

  it('that die leave the switch, and their record says why', async () => {
    const host = await cameBack(folder(), ['a'])
    await host.registry.open()
    host.vm('a').die('its QEMU process was ended by SIGKILL')
    assert.ok(await until(clock, 30_000, 1, () => host.told.find((r) => r.condition === 'dead')))
    assert.deepEqual([host.asked, host.registry.runningOf(slice)], [['removeVm'], []])
    assert.match(host.told.at(-1)!.reason, /SIGKILL/)
  })

  it('leave nothing of their slice in the switch when the last of them is destroyed', async () => {
    const host = await cameBack(folder(), ['a', 'b'])
    await host.registry.open()
    await host.marks.raise(slice, { current: '0000000100000000' })
    await host.registry.destroy('a')
    assert.ok(!host.asked.includes('closeRun'))
    await host.registry.destroy('b')
    assert.ok(host.asked.includes('closeRun'))
  })

  it('many changes of one record at once leave the last one on disk', async () => {
    const host = await cameBack(folder(), ['a'])
    await host.registry.open()
    await Promise.all([...Array.from({ length: 20 }, () => host.registry.disks.note('a')), host.registry.stop('a', 'enough')])
    assert.deepEqual([host.onDisk('a').condition, host.onDisk('a').reason], ['stopped', 'enough'])
    await Promise.all([host.registry.disks.note('a'), host.registry.destroy('a'), host.registry.disks.note('a')])
    assert.throws(() => host.onDisk('a'), /ENOENT/)
  })
})

describe('a VM whose record cannot be read', () => {
  const folder = useTempFolder()
  const texts = {
    'is torn': '{"format":1,"spec":{"vm":"b"', 'is of a later format': '{"format":2,"machine":{"vm":"b"}}',
    'is of another VM': JSON.stringify({ format: 1, spec: specOf('c'), condition: 'ready', reason: '', layers: [], instance: null }),
    'has parts missing': '{"format":1,"spec":{"vm":"b"}}',
  }

  for (const [what, text] of Object.entries(texts)) {
    it(`because it ${what} is reported as dead with the reason, and nothing is done with it; all others live`, async () => {
      const host = await cameBack(folder(), ['a', 'b'])
      const path = join(folder(), 'vms', 'b.json')
      writeFileSync(path, text)
      for (const layer of ['b.0.qcow2', 'b.op-1.qcow2', 'b.m-1.qcow2', 'bb.0.qcow2']) writeFileSync(join(folder(), 'layers', layer), '')
      await host.registry.open()
      await host.registry.resumeStopped()
      await host.registry.reconnect()
      assert.equal(host.vm('a').running, true)
      const { condition, reason } = host.registry.reports().find((r) => r.vm === 'b')!
      assert.equal(condition, 'dead')
      assert.match(reason, /vms\/b\.json (is damaged|has format 2)/)
      for (const asked of [
        () => host.registry.define(specOf('b')), () => host.registry.start('b', { run: '0000000200000000', epoch: 1 }),
        () => host.registry.stop('b'), () => host.registry.destroy('b'),
      ]) await assert.rejects(asked, /nothing is done with the VM b, of which it is not known whether it runs: .*b\.json/)
      assert.throws(() => host.registry.refuseUnreadable('b'), /nothing is done/)
      assert.deepEqual(host.registry.disks.layersInUse().filter((l) => l.includes('/layers/b')).map((l) => basename(l)).sort(), ['b.0.qcow2', 'b.m-1.qcow2', 'b.op-1.qcow2'])
      await host.registry.destroy('a')
      assert.equal(readFileSync(path, 'utf8'), text)
      assert.deepEqual(host.vm('b').asked, [])
    })
  }
})

describe('what a host remembers of a slice', () => {
  const folder = useTempFolder()

  it('loses nothing of many changes at once, in memory and on disk', async () => {
    const marks = new SliceMarks(folder())
    await Promise.all([
      ...Array.from({ length: 10 }, () => marks.countSwitchBoot(slice)), marks.raise(slice, { k: 7 }), marks.raise(slice, { token: 5 }),
      marks.raise(slice, { run: '0000000300000000' }), marks.raise(slice, { k: 6, token: 9, current: '0000000300000000' }),
    ])
    const wanted = { format: 1, run: '0000000300000000', k: 7, token: 9, current: '0000000300000000', switchBoots: 10 }
    assert.deepEqual(await marks.get(slice), wanted)
    assert.deepEqual(await new SliceMarks(folder()).get(slice), wanted)
  })

  it('is never taken for nothing because it cannot be read: an epoch would come twice', async () => {
    for (const text of ['', '{"format":2,"k":9}', '{"format":1,"k":9}']) {
      writeFileSync(join(folder(), `${slice}.json`), text)
      const marks = new SliceMarks(folder())
      await assert.rejects(marks.get(slice), /a1\.json (is damaged|has format 2)/)
      await assert.rejects(marks.raise(slice, { k: 10 }), /a1\.json/)
      assert.equal(readFileSync(join(folder(), `${slice}.json`), 'utf8'), text)
    }
  })

  it('refuses a token lower than the highest, and takes the same again', async () => {
    const marks = new SliceMarks(folder())
    await marks.raise(slice, { token: 5 })
    await assert.rejects(marks.fence(slice, 4), /token 4 is stale: this host has seen 5/)
    assert.equal((await marks.fence(slice, 5)).token, 5)
  })
})
