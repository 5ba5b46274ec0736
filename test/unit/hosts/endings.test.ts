import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { realClock as clock, until } from '../../../base/time.js'
import { Ending } from '../../../hosts/hypervisor/ending.js'
import { qemuArgv } from '../../../hosts/hypervisor/qemu/argv.js'
import { panicReason, tailOf } from '../../../hosts/hypervisor/qemu/panic.js'
import { useTempFolder } from '../../temp.js'

describe('how a VM ends', () => {
  const told = (ending: Ending) => {
    const reasons: string[] = []
    ending.onEnd((reason) => reasons.push(reason))
    return reasons
  }

  it('is told once, by whoever sees it first', () => {
    const ending = new Ending()
    const reasons = told(ending)
    ending.tell('ended by SIGKILL')
    ending.tell('its monitor was closed')
    assert.deepEqual([ending.reason, reasons, told(ending)], ['ended by SIGKILL', ['ended by SIGKILL'], ['ended by SIGKILL']])
  })

  it('is told as its cause where that was known before, but not before the end', async () => {
    const ending = new Ending()
    const reasons = told(ending)
    ending.foresee("the guest's kernel panicked")
    assert.deepEqual([ending.reason, reasons], [undefined, []])
    ending.foresee("the guest's kernel panicked: sysrq triggered crash")
    ending.tellSoon('its QEMU process ended')
    assert.ok(await until(clock, 30_000, 1, () => ending.reason))
    assert.deepEqual(reasons, ["the guest's kernel panicked: sysrq triggered crash"])
  })
})

describe('a panic of a guest', () => {
  const folder = useTempFolder()

  it('is told in the words of its kernel, the last ones, and with what QEMU was told', () => {
    const console = '[1.0] Kernel panic - not syncing: an old one\r\nviolin: ready\n[9.1] Kernel panic - not syncing: Attempted to kill init!\r\n[9.2] CPU: 0\n'
    assert.equal(panicReason({ action: 'poweroff' }, console), "the guest's kernel panicked: Attempted to kill init!")
    assert.equal(panicReason({ info: { type: 's390' } }, console), 'the guest\'s kernel panicked: {"type":"s390"}, Attempted to kill init!')
    assert.equal(panicReason(undefined, 'login:'), "the guest's kernel panicked")
  })

  it('puts nothing into its reason that an answer cannot carry', () => {
    const reason = panicReason({}, `Kernel panic - not syncing: \u0007${'x'.repeat(5_000)}`)
    assert.match(reason, /^[\x20-\x7e]{100,300}$/)
  })

  it('is looked for at the end of a console, however long that is', async () => {
    const path = join(folder(), 'console')
    writeFileSync(path, `first ${'.'.repeat(100_000)} last`)
    const tail = tailOf(path)
    assert.ok(tail.endsWith(' last') && !tail.includes('first') && tail.length < 100_000)
    writeFileSync(path, 'short')
    assert.deepEqual([tailOf(path), tailOf(join(folder(), 'none'))], ['short', ''])
  })

  it('ends QEMU, which is told of it by the last of its devices', () => {
    const instance = {
      spec: {
        vm: 'v', slice: 's', clientId: 'a', memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'i', nics: [], loginPort: 1, logins: [], neighbours: [], execute: [],
      },
      run: 'r', monitor: 'm', nicSockets: [], console: 'c', config: 'f', kernel: 'k', initrd: 'i', append: '', layers: ['l'],
    }
    const argv = qemuArgv(instance, { binary: 'q', accelerator: 'tcg', version: '', makeRoom: () => Promise.resolve() }, true)
    const devices = argv.filter((_, i) => argv[i - 1] === '-device').map((device) => device.split(',')[0])
    assert.deepEqual(devices, ['virtio-rng-pci', 'virtio-blk-pci', 'virtio-blk-pci', 'virtio-net-pci', 'pvpanic'])
    assert.equal(argv[argv.indexOf('-action') + 1], 'panic=shutdown')
  })
})
