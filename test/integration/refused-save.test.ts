// QEMU does the first half of what saves a VM and refuses the second: the disk has its new layer, and no memory is written. The
// cut is given up at once, and what the VM writes to stays (cut protocol, hole 31).
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { CutPlan, Vm } from '../../hosts/hypervisor/hypervisor.js'
import { limits } from '../../base/limits.js'
import type { Qmp } from '../../hosts/hypervisor/qemu/qmp.js'
import { Rig } from './rig.js'

describe('a save that QEMU refuses after the flip of the disk, on real QEMU', function () {
  this.timeout(limits.saveMs) // an abandoned cut that waits for a save that never began takes longer
  const rig = new Rig()
  let vm: Vm

  before(async () => {
    await rig.open()
    vm = await rig.boot({
      vm: 'subject', slice: '5f0c0d5e-0000-4000-8000-00000000c0f0', clientId: 'subject', memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'violin-linux',
      loginPort: 21_970, nics: [], logins: [{ urn: 'tester', name: 'tester', keys: [rig.keys.public] }], neighbours: [], execute: [],
    }, '0000000100000000')
  })
  after(() => rig.close())

  const planOf = (name: string): CutPlan =>
    ({ overlay: rig.layers.path(`${name}.qcow2`), memoryFile: join(rig.folder, `${name}.memory`), background: true, stayStopped: false })

  it('costs no layer that is in use, nor time, and the next cut works', async () => {
    const plan = planOf('refused')
    await vm.prepareCut(plan)
    await (vm as unknown as { qmp: Qmp }).qmp.call('closefd', { fdname: 'snap' })
    await vm.stop()
    await assert.rejects(vm.save(), /QMP migrate/)
    await vm.abandonCut()
    assert.ok(await vm.isRunning())
    assert.ok(existsSync(plan.overlay), 'the file that it writes to is there')
    assert.equal(vm.instance.layers.at(-1), plan.overlay, 'and is known as its last layer')
    assert.ok(!existsSync(plan.memoryFile))

    const next = planOf('next')
    await vm.prepareCut(next)
    await vm.stop()
    await vm.save()
    assert.ok((await vm.finishSave()).bytes > 0)
    assert.deepEqual(vm.instance.layers.slice(-2), [plan.overlay, next.overlay])
    assert.ok(existsSync(next.overlay))
  })
})
