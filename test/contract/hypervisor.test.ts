// What hosts/hypervisor/hypervisor.ts promises, asked of every driver that there is.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../../base/errors.js'
import { newSshKeys } from '../../base/ssh-key.js'
import { realClock as clock, until } from '../../base/time.js'
import { parseReport } from '../../cli/bank/report.js'
import { changeConfigDisk } from '../../hosts/config-disk.js'
import { lookAtDisk, type DiskFile } from '../../hosts/disk-file.js'
import type { CutPlan, Vm, VmInstance } from '../../hosts/hypervisor/hypervisor.js'
import type { VmSpec } from '../../slices/vm-spec.js'
import { hypervisorOf, Rig, type HypervisorKind, type Login } from '../integration/rig.js'

const slice = '5f0c0d5e-0000-4000-8000-00000000c000'
const run = '0000000100000000'

const specOf = (key: string, loginPort: number): VmSpec => ({
  vm: 'subject', slice, clientId: 'subject', memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'violin-linux', loginPort,
  nics: [{ port: 1, name: 'if0', lan: 'lan0', mac: '52:54:00:00:c0:01', ip: '10.9.2.1', prefixLength: 24 }],
  logins: [{ urn: 'tester', name: 'tester', keys: [key] }], neighbours: [{ name: 'subject', ip: '10.9.2.1' }],
  execute: [{ shell: 'sh', command: 'bank start' }],
})

/** Is anything alive whose command line names this path? */
const isUsed = (pid: number | undefined): boolean => {
  try {
    return pid !== undefined && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}

for (const [kind, firstPort] of [['simulated', 21_950], ['qemu', 21_960]] as [HypervisorKind, number][]) {
  describe(`a hypervisor: ${kind}`, function () {
    this.timeout(120_000)
    const rig = new Rig(kind)
    let vm: Vm
    let spec: VmSpec
    let cuts = 0

    before(async () => {
      await rig.open()
      spec = specOf(rig.keys.public, firstPort)
      vm = await rig.boot(spec, run)
      await vm.openLogin()
    })
    after(() => rig.close())

    function planOf(more: Partial<CutPlan> = {}): CutPlan {
      const n = ++cuts
      return { overlay: rig.layers.path(`cut-${n}.qcow2`), memoryFile: join(rig.folder, `cut-${n}.memory`), background: true, stayStopped: false, ...more }
    }

    async function disk(login: Login): Promise<{ done: number; ok: boolean }> {
      return parseReport('subject', await login.run('bank report')).disk
    }

    /** A cut as hosts/cut-vm.ts makes it, without the switch. */
    async function cut(plan: CutPlan): Promise<{ bytes: number; frozen: string[] }> {
      await vm.prepareCut(plan)
      const frozen = [...vm.instance.layers]
      await vm.stop()
      const { resumedAt } = await vm.save()
      assert.equal(resumedAt === undefined, plan.stayStopped)
      assert.equal(await vm.isRunning(), !plan.stayStopped)
      await vm.saveAtFullSpeed()
      return { ...await vm.finishSave(), frozen }
    }

    async function loaded(plan: CutPlan, frozen: string[], key = rig.keys.public): Promise<{ again: Vm; instance: VmInstance; spec: VmSpec }> {
      const other = specOf(key, firstPort + 1)
      const top = await rig.layers.create(`${plan.overlay.split('/').at(-1)!}.restored`, { base: frozen.at(-1)!, sizeMiB: spec.diskMiB })
      const instance = rig.instance(other, '0000000200000000', [...frozen, top])
      return { again: rig.keep(await rig.hypervisor.load(instance, plan.memoryFile)), instance, spec: other }
    }

    it('boots a VM that runs, has a process, and lets its user in', async () => {
      assert.ok(await vm.isRunning())
      assert.ok(isUsed(vm.instance.pid))
      const login = await rig.login(spec)
      assert.equal((await login.run('hostname')).trim(), 'subject')
      assert.ok(await until(clock, 20_000, 100, async () => ((await disk(login)).done > 2 ? true : undefined)), 'its bank writes to its disk')
      login.close()
    })

    it('lets in whom its configuration disk names from now on, and nobody else, without a boot', async () => {
      const other = newSshKeys()
      const name = { name: 'other', key: other.private }
      const put = async (logins: VmSpec['logins']) => {
        await changeConfigDisk(vm.instance.config, { ...spec, logins })
        await vm.setLogins(logins)
      }
      await assert.rejects(rig.connect(spec, name), /authentication/)
      await put([{ urn: 'other', name: 'other', keys: [other.public] }])
      const login = await rig.login(spec, name)
      assert.equal((await login.run('hostname')).trim(), 'subject')
      await assert.rejects(rig.connect(spec), /authentication/)
      await put(spec.logins)
      const back = await rig.login(spec)
      await assert.rejects(rig.connect(spec, name), /authentication/)
      assert.equal((await login.run('hostname')).trim(), 'subject', 'who is in stays in')
      for (const open of [login, back]) open.close()
    })

    it('stops it and lets it run, as often as it is asked, and says what its devices have counted', async () => {
      for (let i = 0; i < 3; i++) {
        const { stoppedAt, witnesses } = await vm.stop()
        assert.ok(Math.abs(stoppedAt - clock.now()) < 60_000, 'stamps are of the wall clock')
        assert.deepEqual(witnesses.map((w) => w.port), [1])
        assert.equal(await vm.isRunning(), false)
        await vm.letRun()
        await vm.letRun()
        assert.ok(await vm.isRunning())
      }
    })

    for (const background of [true, false]) {
      it(`cuts it ${background ? 'while it runs on' : 'with the VM standing'}; what is loaded is what it was then`, async () => {
        const login = await rig.login(spec)
        const before = await disk(login)
        const plan = planOf({ background })
        const layers = vm.instance.layers.length
        const { bytes, frozen } = await cut(plan)
        assert.deepEqual([vm.instance.layers.length, vm.instance.layers.at(-1)], [layers + 1, plan.overlay])
        assert.ok(bytes > 0)
        assert.equal(statSync(plan.memoryFile).size, bytes)
        const sealed = frozen.map((path) => readFileSync(path))
        assert.ok(await until(clock, 20_000, 50, async () => ((await disk(login)).done > before.done + 4 ? true : undefined)), 'it goes on')

        const { again, spec: other } = await loaded(plan, frozen)
        assert.equal(await again.isRunning(), false)
        await again.openLogin()
        await again.resume()
        assert.ok(await again.isRunning())
        const second = await rig.login(other)
        const restored = await disk(second)
        assert.ok(restored.ok, 'its disk is in step with its memory')
        assert.ok(restored.done >= before.done)
        second.close()
        login.close()
        await again.kill()
        assert.deepEqual(frozen.map((path, i) => readFileSync(path).equals(sealed[i]!)), frozen.map(() => true), 'frozen layers never change')
      })
    }

    it('what is loaded has the accounts of its configuration disk, not those of its cut', async () => {
      const plan = planOf()
      const { frozen } = await cut(plan)
      const keys = newSshKeys()
      const { again, spec: other } = await loaded(plan, frozen, keys.public)
      await again.openLogin()
      await again.resume()
      const login = await rig.login(other, { name: 'tester', key: keys.private })
      await assert.rejects(rig.connect(other), /authentication/)
      login.close()
      await again.kill()
    })

    it('leaves it standing for a suspension, until it is let run', async () => {
      await cut(planOf({ background: false, stayStopped: true }))
      await vm.letRun()
      assert.ok(await vm.isRunning())
    })

    it('gives up a cut at every point: the VM runs, no file is left, and the next cut works', async () => {
      const steps = [async () => undefined, () => vm.stop(), () => vm.save()]
      for (let done = 1; done <= steps.length; done++) {
        const plan = planOf()
        await vm.prepareCut(plan)
        for (const step of steps.slice(0, done)) await step()
        await vm.abandonCut()
        await vm.abandonCut()
        assert.ok(await vm.isRunning(), `after ${done} steps`)
        assert.ok(!existsSync(plan.memoryFile), `after ${done} steps`)
        assert.equal(existsSync(plan.overlay), vm.instance.layers.includes(plan.overlay), 'an overlay stays only where the VM writes to it')
      }
      await cut(planOf())
    })

    it('prepares nothing where its files cannot be made, and the VM runs on', async () => {
      const plan = planOf({ memoryFile: join(rig.folder, 'no', 'such', 'folder', 'memory') })
      await assert.rejects(vm.prepareCut(plan))
      assert.ok(!existsSync(plan.overlay))
      assert.ok(await vm.isRunning())
      await cut(planOf())
    })

    it('loads nothing from a damaged memory file, and leaves no process behind', async () => {
      const plan = planOf()
      const { frozen } = await cut(plan)
      writeFileSync(plan.memoryFile, 'this is no memory of anybody')
      const instance = rig.instance(specOf(rig.keys.public, firstPort + 1), '0000000300000000', [...frozen, await rig.layers.create('damaged.qcow2', { base: frozen.at(-1)!, sizeMiB: spec.diskMiB })])
      await assert.rejects(rig.hypervisor.load(instance, plan.memoryFile), Failure)
      assert.ok(!isUsed(instance.pid))
    })

    it('reads one layer in the place of several that it holds together, as does what is restored later', async () => {
      const login = await rig.login(spec)
      for (let i = 0; i < 3; i++) {
        const before = await disk(login)
        await cut(planOf())
        assert.ok(await until(clock, 20_000, 50, async () => ((await disk(login)).done > before.done ? true : undefined)), 'there is something in each layer')
      }
      const chain = [...vm.instance.layers]
      const sealed = chain.slice(0, -1).map((path) => readFileSync(path))
      const merge = async (from: number, to: number) => {
        const all = [...vm.instance.layers]
        const path = rig.layers.path(`merged-${++cuts}.qcow2`)
        await rig.hypervisor.mergeLayers(path, { layers: all.slice(from, to), on: all.slice(0, from), sizeMiB: spec.diskMiB }, new AbortController().signal)
        await vm.replaceLayers(all.slice(from, to), path)
        assert.deepEqual(vm.instance.layers, [...all.slice(0, from), path, ...all.slice(to)])
      }
      await merge(1, 3)
      await merge(0, 2)
      await merge(0, chain.length - 3) // up to the one that is written to
      assert.equal(vm.instance.layers.length, 2)
      assert.ok(chain.slice(0, -1).every((path, i) => readFileSync(path).equals(sealed[i]!)), 'what was frozen is as it was')
      const open = readdirSync(`/proc/${vm.instance.pid!}/fd`).flatMap((fd) => {
        try {
          return [readlinkSync(`/proc/${vm.instance.pid!}/fd/${fd}`)]
        } catch {
          return []
        }
      })
      assert.deepEqual(open.filter((path) => chain.slice(0, -1).includes(path)), [], 'the old ones are not open any more')
      for (const path of chain.slice(0, -1)) rmSync(path)

      await assert.rejects(vm.replaceLayers(chain.slice(0, 2), vm.instance.layers[0]!), 'layers that it does not have')
      const at = await disk(login)
      assert.ok(await until(clock, 20_000, 50, async () => ((await disk(login)).done > at.done ? true : undefined)), 'it goes on writing')
      const plan = planOf()
      const { frozen } = await cut(plan)
      const { again, spec: other } = await loaded(plan, frozen)
      await again.openLogin()
      await again.resume()
      const second = await rig.login(other)
      assert.ok((await disk(second)).ok, 'its disk is in step with its memory')
      await second.run('sync; echo 3 > /proc/sys/vm/drop_caches') // and is read from what was merged
      assert.match(await second.run('bank report'), /./)
      second.close()
      login.close()
      await again.kill()
    })

    it('freezes its disk while it runs, and what is made of that is the disk of another VM, which knows that it is another', async () => {
      const login = await rig.login(spec)
      const [write, read] = kind === 'qemu' ? ['echo kept >/data/note && sync', 'cat /data/note'] : ['bank stop; disk write kept', 'disk read']
      await login.run(write)
      const frozen = [...vm.instance.layers]
      const overlay = rig.layers.path(`freeze-${++cuts}.qcow2`)
      await vm.freezeDisk(overlay)
      assert.deepEqual(vm.instance.layers, [...frozen, overlay])
      assert.ok(await vm.isRunning())
      const sealed = frozen.map((path) => readFileSync(path))
      const [change, changed] = kind === 'qemu' ? ['echo changed >/data/note && sync', 'changed'] : ['disk write changed', 'changed']
      await login.run(change)
      assert.equal((await login.run(read)).trim(), changed)

      const image = rig.layers.path('image.qcow2')
      await rig.hypervisor.mergeLayers(image, { layers: frozen, on: [], sizeMiB: spec.diskMiB }, new AbortController().signal)
      assert.deepEqual(frozen.map((path, i) => readFileSync(path).equals(sealed[i]!)), frozen.map(() => true), 'frozen layers never change')
      const before = readFileSync(image)
      const other: VmSpec = { ...specOf(rig.keys.public, firstPort + 1), vm: 'other', execute: [{ shell: 'sh', command: kind === 'qemu' ? 'echo done >/data/executed && sync' : 'disk write executed' }] }
      const base = await rig.layers.lay('other.image.qcow2', image, { bytes: before.length, digest: '' })
      const boot = async (layers: string[]) => {
        const made = rig.keep(await rig.hypervisor.boot(rig.instance(other, '0000000500000000', layers)))
        await made.openLogin()
        return made
      }
      const copy = await boot([base, await rig.layers.create('other.0.qcow2', { base, sizeMiB: other.diskMiB * 2 })])
      const second = await rig.login(other)
      if (kind === 'qemu') assert.equal((await second.run(read)).trim(), 'kept')
      const executed = kind === 'qemu' ? 'cat /data/executed 2>/dev/null' : read
      const wanted = kind === 'qemu' ? 'done' : 'executed'
      assert.ok(await until(clock, 20_000, 50, async () => ((await second.run(executed)).trim() === wanted ? true : undefined)), 'what it is to execute, it does')
      await second.run(write)
      second.close()
      await copy.kill()
      assert.ok(readFileSync(image).equals(before), 'the image never changes')
      const idle = { ...other, execute: [] }
      const plain = rig.keep(await rig.hypervisor.boot(rig.instance(idle, '0000000600000000', [base, await rig.layers.create('other.1.qcow2', { base, sizeMiB: other.diskMiB })])))
      await plain.openLogin()
      const third = await rig.login(idle)
      assert.equal((await third.run(read)).trim(), 'kept', 'as it was when it was frozen')
      third.close()
      await plain.kill()
      if (kind === 'simulated') await login.run('bank go')
      login.close()
      await assert.rejects(vm.freezeDisk(join(rig.folder, 'no', 'such', 'folder.qcow2')))
      assert.equal(vm.instance.layers.at(-1), overlay)
      assert.ok(await vm.isRunning())
      await cut(planOf())
    })

    it('makes a disk of an image from elsewhere, for a VM that finds there what is in it', async () => {
      const none = new AbortController().signal
      const raw = join(rig.folder, 'foreign.raw')
      if (kind === 'qemu') {
        const files = join(rig.folder, 'files')
        mkdirSync(files)
        writeFileSync(join(files, 'note'), 'from elsewhere')
        execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', files, raw, '8M'])
      } else writeFileSync(raw, Buffer.concat([Buffer.from('VIOLNOTEfrom elsewhere'), Buffer.alloc(5000)]))
      const path = (name: string) => rig.layers.path(name)
      await rig.hypervisor.importDisk(path('imported.qcow2'), await lookAtDisk(raw, 'raw'), 1e8, none)
      const other: VmSpec = { ...specOf(rig.keys.public, firstPort + 1), vm: 'foreign', execute: [{ shell: 'sh', command: kind === 'qemu' ? 'echo done >/data/executed && sync' : 'true' }] }
      const made = rig.keep(await rig.hypervisor.boot(rig.instance(other, '0000000700000000',
        [path('imported.qcow2'), await rig.layers.create('foreign.0.qcow2', { base: path('imported.qcow2'), sizeMiB: other.diskMiB })])))
      await made.openLogin()
      const login = await rig.login(other)
      assert.equal((await login.run(kind === 'qemu' ? 'cat /data/note' : 'disk read')).trim(), 'from elsewhere')
      if (kind === 'qemu') {
        const executed = async () => ((await login.run('cat /data/executed 2>/dev/null')).trim() === 'done' ? true : undefined)
        assert.ok(await until(clock, 20_000, 50, executed), 'what it is to execute, it does')
      }
      login.close()
      await made.kill()

      const left = () => readdirSync(rig.layers.folder).filter((name) => name.startsWith('bad'))
      const refused = async (from: DiskFile, why: RegExp, most = 1e8, signal = none) => {
        await assert.rejects(rig.hypervisor.importDisk(path('bad.qcow2'), from, most, signal), why)
        assert.deepEqual(left(), [])
      }
      if (kind === 'simulated') return refused({ path: raw, format: 'qcow2', diskMiB: 1 }, /simulated VMs read raw disks only/)
      const image = (name: string, ...more: string[]) => {
        const file = join(rig.folder, name)
        execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...more.slice(0, -1), file, more.at(-1)!])
        return file
      }
      const packed = join(rig.folder, 'packed.qcow2')
      execFileSync('qemu-img', ['convert', '-c', '-f', 'raw', '-O', 'qcow2', raw, packed])
      await rig.hypervisor.importDisk(path('packed.qcow2'), await lookAtDisk(packed, 'qcow2'), 1e8, none)
      assert.equal(execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, path('packed.qcow2')]).toString().trim(), 'Images are identical.')
      await refused(await lookAtDisk(packed, 'qcow2'), /what is in it is larger than 292.9 KiB/, 300_000)
      await refused(await lookAtDisk(packed, 'qcow2'), /./, 1e8, AbortSignal.abort(new Error('told to end')))
      const partitioned = join(rig.folder, 'partitioned.raw')
      writeFileSync(partitioned, Buffer.concat([Buffer.alloc(510), Buffer.from([0x55, 0xaa]), Buffer.alloc(65_536)]))
      await refused(await lookAtDisk(partitioned, 'raw'), /no ext2, ext3 or ext4 file system/)
      for (const [file, why] of [
        [image('backed.qcow2', '-b', raw, '-F', 'raw', '8M'), /backing file/], [image('apart.qcow2', '-o', `data_file=${join(rig.folder, 'apart.data')}`, '8M'), /another file/],
        [image('locked.qcow2', '--object', 'secret,id=s,data=x', '-o', 'encrypt.format=aes,encrypt.key-secret=s', '8M'), /encrypted/],
        [image('huge.qcow2', '2T'), /at most 1048576 MiB/],
      ] as [string, RegExp][]) await assert.rejects(lookAtDisk(file, 'qcow2'), why)
      // though it were not looked at: what lies below is not opened
      const blank = { path: join(rig.folder, 'backed.qcow2'), format: 'qcow2', diskMiB: 8 } as const
      await rig.hypervisor.importDisk(path('blank.qcow2'), blank, 1e8, none)
      assert.notEqual(execFileSync('qemu-img', ['map', '-f', 'qcow2', '--output=json', path('blank.qcow2')]).toString().includes('"data": true'), true)
    })

    it('finds a VM again that an earlier agent has let go, with the layers that it really has', async () => {
      const behind = structuredClone(vm.instance)
      await cut(planOf())
      const now = [...vm.instance.layers]
      vm.release()
      const adopted = await hypervisorOf(kind).adopt(behind)
      assert.ok(adopted)
      vm = rig.keep(adopted)
      assert.deepEqual(vm.instance.layers, now)
      assert.ok(await vm.isRunning())
      await cut(planOf())
    })

    it('tells of its death, and finds nothing of it afterwards', async () => {
      const { again } = await (async () => {
        const plan = planOf()
        const { frozen } = await cut(plan)
        return loaded(plan, frozen)
      })()
      const told = new Promise<string>((resolve) => again.onEnd(resolve))
      process.kill(again.instance.pid!, 'SIGKILL')
      assert.match(await told, /process was ended by SIGKILL/)
      assert.match(again.ended!, /SIGKILL/)
      assert.equal(await rig.hypervisor.adopt(again.instance), undefined)
      await again.abandonCut()
      await again.kill()
    })

    it('kills it, though its process stands still, and tells its end as what it was told', async () => {
      const told = new Promise<string>((resolve) => vm.onEnd(resolve))
      process.kill(vm.instance.pid!, 'SIGSTOP')
      await vm.kill('it hung')
      assert.deepEqual([await told, vm.ended], ['it hung', 'it hung'])
      assert.ok(!isUsed(vm.instance.pid))
      await assert.rejects(vm.isRunning())
    })
  })
}
