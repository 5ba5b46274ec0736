// QEMU 7.2 and a background snapshot that fails half way: whoever takes the memory goes away while it is being written. QEMU says that the VM
// runs; its guest waits for ever for a page that stays protected, and no command to QEMU lets it go on. Shown on a plain QEMU, and that ours
// is rescued: also one that is frozen inside `stop`, and answers nothing.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { limits } from '../../base/limits.js'
import { realClock as clock, until, within } from '../../base/time.js'
import type { CutPlan, Vm } from '../../hosts/hypervisor/hypervisor.js'
import type { Qmp } from '../../hosts/hypervisor/qemu/qmp.js'
import { trackedRanges } from '../../hosts/hypervisor/qemu/rescue.js'
import type { VmSpec } from '../../slices/vm-spec.js'
import { Rig, type Login } from './rig.js'

const takenBytes = 4 * 1024 * 1024
const silenceMs = 3_000

describe('a background snapshot whose receiver goes away, on real QEMU', function () {
  this.timeout(limits.saveMs)
  const rig = new Rig()
  const spec: VmSpec = {
    vm: 'frozen', slice: '5f0c0d5e-0000-4000-8000-00000000c0f1', clientId: 'frozen', memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'violin-linux',
    loginPort: 21_971, nics: [], logins: [{ urn: 'tester', name: 'tester', keys: [rig.keys.public] }], neighbours: [], execute: [],
  }
  let vm: Vm
  let qmp: Qmp
  let login: Login
  let cuts = 0

  before(async () => {
    await rig.open()
    vm = await rig.boot(spec, '0000000100000000')
    qmp = (vm as unknown as { qmp: Qmp }).qmp
    await vm.openLogin()
    login = await rig.login(spec)
  })
  after(async () => {
    login?.close()
    await rig.close()
  })

  const plan = (): CutPlan => ({
    overlay: rig.layers.path(`cut-${cuts}.qcow2`), memoryFile: join(rig.folder, `cut-${cuts++}.memory`), background: true, stayStopped: false,
  })
  const guestAnswers = () => within(silenceMs, login.run('echo here'), () => new Error('silent')).then((said) => said.trim() === 'here', () => false)
  const protectedRanges = () => trackedRanges(readFileSync(`/proc/${vm.instance.pid!}/smaps`, 'utf8'))
  const migration = async () => (await qmp.call<{ status?: string }>('query-migrate')).status

  /** A cut up to RESUME, into a pipe of which a few MiB are read before its other end is closed. */
  async function breakOff(): Promise<void> {
    const pipe = join(rig.folder, `pipe-${cuts}`)
    execFileSync('mkfifo', [pipe])
    const reading = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
    const writing = openSync(pipe, constants.O_WRONLY)
    await vm.prepareCut(plan())
    await qmp.passDescriptor('snap', writing) // in the place of the file
    closeSync(writing)
    await vm.stop()
    await vm.save()
    const piece = Buffer.alloc(64 * 1024)
    let taken = 0
    await until(clock, limits.saveMs, 1, () => {
      try {
        taken += readSync(reading, piece)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      }
      return taken >= takenBytes ? true : undefined
    })
    assert.ok(taken >= takenBytes, 'memory was being written')
    closeSync(reading)
    assert.equal(await until(clock, limits.qmpMs, 20, async () => ((await migration()) === 'failed' ? true : undefined)), true, 'QEMU tells that it has failed')
  }

  /** After: the next cut is whole. */
  async function cutAgain(): Promise<void> {
    await vm.prepareCut(plan())
    await vm.stop()
    await vm.save()
    assert.ok((await vm.finishSave()).bytes > spec.memoryMiB * 1024)
    assert.ok(await guestAnswers())
  }

  it('freezes the guest of a plain QEMU, which says that it runs, and which `cont` does not wake', async () => {
    assert.ok(await guestAnswers(), 'it answers before')
    await breakOff()
    assert.ok(await vm.isRunning(), 'QEMU says so')
    assert.ok(!(await guestAnswers()), 'the guest is frozen')
    await qmp.call('cont').catch(() => undefined) // its main loop may wait for a page by now, too: then it answers nothing
    assert.ok(!(await guestAnswers()), 'still')
  })

  it('and is rescued when the cut is given up; the next one works', async () => {
    assert.ok(!(await guestAnswers()), 'frozen by the test before')
    await vm.abandonCut()
    login.close()
    login = await rig.login(spec)
    assert.ok(await guestAnswers(), 'it runs on')
    await cutAgain()
  })

  it('is rescued where QEMU hangs in `stop` and answers nothing any more', async () => {
    await breakOff()
    assert.ok(!(await guestAnswers()))
    assert.ok(protectedRanges().length > 0)
    const stopped = qmp.call('stop').then(() => 'stopped', () => 'no answer')
    assert.equal(await stopped, 'no answer', 'a CPU that waits for its page cannot be stopped')
    await vm.abandonCut() // asks whether it runs, hears nothing, and rescues it without QEMU
    login.close()
    login = await rig.login(spec)
    assert.ok(await guestAnswers())
    assert.deepEqual(protectedRanges(), [], 'nothing is protected any more')
    await cutAgain()
  })
})
