import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { silentLog } from '../../../base/log.js'
import { realClock as clock, until } from '../../../base/time.js'
import { Layers } from '../../../hosts/layers.js'
import { Participants } from '../../../hosts/participants.js'
import { SliceMarks } from '../../../hosts/slice-marks.js'
import type { SwitchLink } from '../../../hosts/switch-link.js'
import type { VmRegistry } from '../../../hosts/vm-registry.js'
import type { HostCutAsk } from '../../../snapshots/messages.js'
import { MemoryHypervisor, MemoryVm } from '../../fakes/memory-hypervisor.js'
import { useTempFolder } from '../../temp.js'

const slice = '5f0c0d5e-0000-4000-8000-0000000000b1'
const run = '0000000100000000'

describe('the cuts of a host', () => {
  const folder = useTempFolder()

  async function host() {
    const instance = {
      spec: {
        vm: 'a', slice, clientId: 'a', memoryMiB: 1, cpus: 1, diskMiB: 1, image: 'i', nics: [], loginPort: 1, logins: [], neighbours: [], execute: [],
      },
      run, monitor: '', nicSockets: [], console: '', config: '', kernel: '', initrd: '', append: '', layers: ['/x'],
    }
    const vm = new MemoryVm(instance, true)
    const registry = {
      runningOf: () => [vm], vm: () => vm, disks: { note: async () => undefined }, outsideCuts: <T>(_slice: string, work: () => Promise<T>) => work(),
    } as unknown as VmRegistry
    const answers: Record<string, unknown> = { gate: { drained: true, waitedMs: 0 }, cut: { latches: [], bootId: 'b' }, prepare: { bootId: 'b' }, closeLog: { bootId: 'b' } }
    const ahead = { ms: 0 }
    const room = { watch: async () => undefined as void }
    const asked: string[] = []
    const switchLink = { ask: async (method: string) => { asked.push(method); return await answers[method] ?? null } } as unknown as SwitchLink
    const marks = new SliceMarks(join(folder(), 'slices'))
    await marks.open()
    const hypervisor = new MemoryHypervisor()
    const journals = join(folder(), 'cuts')
    const participants = new Participants(journals, marks, {
      host: 'h1', store: join(folder(), 'store'), registry, layers: new Layers(join(folder(), 'layers'), hypervisor), switchLink,
      hypervisor, clock: { ...clock, monotonic: () => clock.monotonic() + ahead.ms }, log: silentLog, watchRoom: () => room.watch(),
    })
    await participants.recover()
    const header = { slice, run, k: 2, op: 'op-2', token: 1 }
    const prepare = (k: number): HostCutAsk =>
      ({ ...header, k, op: `op-${k}`, ask: 'prepare', snapshot: `s-${k}`, kind: 'live', mode: 'live', vms: ['a'], force: false })
    return { vm, participants, journals, header, prepare, asked, answers, ahead, room }
  }

  it('are void where the journal cannot be written: the VM that was stopped for one runs again, the coordinator hears why, and the next cut is admitted', async () => {
    const { vm, participants, journals, header, prepare, asked } = await host()
    await participants.ask(prepare(2))
    vm.save = async () => { // the disk is full from here on: neither memory nor journal can be written
      renameSync(journals, `${journals}.away`)
      throw new Error('ENOSPC')
    }
    await assert.rejects(participants.ask({ ...header, ask: 'cut' }), /the host cannot write its journal/)
    assert.ok(await until(clock, 30_000, 5, () => (vm.running && asked.includes('forward') ? true : undefined)), 'the VM stands')
    renameSync(`${journals}.away`, journals)
    assert.equal((await participants.ask(prepare(3))).progress, 'prepared')
  })

  it('give way for room: what is not sealed is void, the coordinator hears why, and the next cut is admitted', async () => {
    const { vm, participants, header, prepare, asked } = await host()
    await participants.ask(prepare(2))
    participants.giveWay('the disk is full')
    await assert.rejects(participants.ask({ ...header, ask: 'cut' }), /the disk is full/)
    assert.ok(await until(clock, 30_000, 5, () => (vm.asked.includes('abandonCut') && asked.includes('forward') ? true : undefined)), 'what was prepared stays')
    assert.equal((await participants.ask(prepare(3))).progress, 'prepared')
  })

  it('give way for room also while they are being sealed', async () => {
    const { vm, participants, header, prepare } = await host()
    await participants.ask(prepare(2))
    await participants.ask({ ...header, ask: 'cut' })
    const saving = { begun: false, end: () => undefined as void }
    vm.finishSave = () => new Promise((done) => {
      saving.begun = true
      saving.end = () => done({ bytes: 0 })
    })
    const sealed = participants.ask({ ...header, ask: 'seal' })
    sealed.catch(() => undefined)
    assert.ok(await until(clock, 30_000, 5, () => (saving.begun ? true : undefined)))
    participants.giveWay('the disk is full')
    await assert.rejects(sealed, /the disk is full/)
    saving.end()
    assert.ok(await until(clock, 30_000, 5, () => (vm.asked.includes('abandonCut') ? true : undefined)), 'what was saved stays')
    assert.equal((await participants.ask(prepare(3))).progress, 'prepared')
  })

  it('that are void while a VM is still to be stopped stop it no more', async () => {
    const { vm, participants, header, prepare, asked, answers } = await host()
    await participants.ask(prepare(2))
    const drained = { now: (_answer: object) => undefined as void }
    answers['gate'] = new Promise((resolve) => { drained.now = resolve })
    const cut = participants.ask({ ...header, ask: 'cut' })
    cut.catch(() => undefined)
    assert.ok(await until(clock, 5_000, 5, () => (asked.includes('gate') ? true : undefined)))
    participants.forwarded({ slice, run, k: 2, op: 'op-2', why: 'half a queue is full' })
    await assert.rejects(cut, /half a queue is full/)
    assert.ok(await until(clock, 5_000, 5, () => (asked.includes('forward') ? true : undefined)))
    answers['cut'] = Promise.reject(new Error('cut 2 is not open at this switch: it is void'))
    drained.now({ drained: true, waitedMs: 150 })
    await participants.settled(slice)
    assert.ok(await until(clock, 5_000, 5, () => (vm.asked.includes('abandonCut') ? true : undefined)))
    assert.ok(vm.running, 'the VM stands, and nobody will let it run')
    assert.ok(!vm.asked.includes('stop'))
  })

  it('that are void while they are still being prepared leave nothing prepared behind', async () => {
    const { vm, participants, header, prepare, asked } = await host()
    const made = { begun: false, now: () => undefined as void }
    vm.prepareCut = () => new Promise((resolve) => {
      made.begun = true
      made.now = () => {
        vm.asked.push('prepareCut')
        resolve()
      }
    })
    const prepared = participants.ask(prepare(2))
    prepared.catch(() => undefined)
    assert.ok(await until(clock, 5_000, 5, () => (made.begun ? true : undefined)))
    const told = participants.ask({ ...header, ask: 'tell', outcome: 'abort' })
    await assert.rejects(prepared, /the cut was aborted/)
    assert.ok(await until(clock, 5_000, 5, () => (asked.includes('forward') ? true : undefined)))
    made.now()
    assert.equal((await told).progress, 'told')
    assert.deepEqual(vm.asked.filter((what) => what !== 'letRun'), ['prepareCut', 'abandonCut'])
  })

  it('that are void while a VM is being stopped let it run after its flip, which brings back what its stop has destroyed', async () => {
    const { vm, participants, header, prepare, asked, answers } = await host()
    await participants.ask(prepare(2))
    const flipped = { now: (_answer: object) => undefined as void }
    answers['cut'] = new Promise((resolve) => { flipped.now = resolve })
    const cut = participants.ask({ ...header, ask: 'cut' })
    cut.catch(() => undefined)
    assert.ok(await until(clock, 5_000, 5, () => (asked.includes('cut') ? true : undefined)))
    const told = participants.ask({ ...header, ask: 'tell', outcome: 'abort' })
    await assert.rejects(cut, /the cut was aborted/)
    assert.deepEqual([vm.running, asked.includes('forward')], [false, false])
    flipped.now({ latches: [], bootId: 'b' })
    assert.equal((await told).progress, 'told')
    assert.deepEqual([vm.running, asked.includes('forward')], [true, true])
  })

  it('look for a full disk before they are sealed: what is given back then would hide it', async () => {
    const { vm, participants, header, prepare, room } = await host()
    await participants.ask(prepare(2))
    await participants.ask({ ...header, ask: 'cut' })
    room.watch = async () => participants.giveWay('the disk is full')
    await assert.rejects(participants.ask({ ...header, ask: 'seal' }), /the disk is full/)
    assert.ok(await until(clock, 30_000, 5, () => (vm.asked.includes('abandonCut') ? true : undefined)), 'what was saved stays')
  })

  it('excuse their VMs from beginning to end, but not for ever where one cannot be let run; that one is ended, and with it the cut', async () => {
    const { vm, participants, header, prepare, ahead } = await host()
    const excused = () => [participants.excuses(slice), participants.excuses('another')]
    assert.deepEqual(excused(), [false, false])
    await participants.ask(prepare(2))
    ahead.ms += 600_000
    assert.deepEqual(excused(), [true, false])
    vm.letRun = () => Promise.reject(new Error('it does not answer'))
    vm.save = () => Promise.reject(new Error('it does not answer'))
    await assert.rejects(participants.ask({ ...header, ask: 'cut' }))
    assert.deepEqual(excused(), [true, false])
    ahead.ms += 11_000
    assert.deepEqual(excused(), [false, false])
    assert.equal(vm.ended, undefined)
    ahead.ms += 60_000
    await participants.settled(slice)
    assert.equal(vm.ended, 'it could not be let run within 60 s when a cut was given up: it does not answer')
    assert.equal((await participants.ask(prepare(3))).progress, 'prepared')
  })

  it('stay as they were where they are sealed and cannot be noted: no VM is touched, and the outcome ends them once it can be written down', async () => {
    const { vm, participants, journals, header, prepare } = await host()
    const { ask: _, ...order } = prepare(2)
    writeFileSync(join(journals, 'op-2.json'), JSON.stringify({ phase: 'sealed', order, reports: {}, why: '' }))
    await participants.recover()
    renameSync(journals, `${journals}.away`)
    await assert.rejects(participants.ask({ ...header, ask: 'tell', outcome: 'commit' }), /cannot write its journal: free some space/)
    assert.deepEqual(vm.asked, [])
    renameSync(`${journals}.away`, journals)
    assert.equal((await participants.ask({ ...header, ask: 'tell', outcome: 'commit' })).progress, 'told')
    assert.deepEqual(vm.asked, [])
  })

  it('keep a later cut of their slice waiting until what became of them is written down: two are never open', async () => {
    const { participants, journals, prepare } = await host()
    const { ask: _, ...order } = prepare(2)
    const journal = join(journals, 'op-2.json')
    writeFileSync(journal, JSON.stringify({ phase: 'sealed', order, reports: {}, why: '' }))
    await participants.recover()
    rmSync(journal)
    mkdirSync(join(journal, 'in the way'), { recursive: true })
    await assert.rejects(participants.ask(prepare(3)), /cut op-2 of this slice could not be ended: its journal cannot be written/)
    rmSync(journal, { recursive: true })
    assert.equal((await participants.ask(prepare(3))).progress, 'prepared')
  })

  it('and one that cannot be read is left alone: the agent comes up, the others are recovered, and nobody gets a wrong answer', async () => {
    const { vm, participants, journals, header, prepare } = await host()
    const { ask: _, ...order } = prepare(3)
    writeFileSync(join(journals, 'op-2.json'), '{"format":2,"stage":"sealed"}')
    writeFileSync(join(journals, 'op-3.json'), JSON.stringify({ phase: 'cutting', order, reports: {}, why: '' }))
    await participants.recover()
    await assert.rejects(participants.ask({ ...header, ask: 'seal' }), /op-2\.json has format 2, this program understands 1/)
    await assert.rejects(participants.ask(prepare(2)), /op-2\.json has format 2/)
    assert.equal(readFileSync(join(journals, 'op-2.json'), 'utf8'), '{"format":2,"stage":"sealed"}')
    assert.equal((JSON.parse(readFileSync(join(journals, 'op-3.json'), 'utf8')) as { format: number; phase: string }).phase, 'void')
    assert.ok(vm.running)
  })

  it('say their format', async () => {
    const { participants, journals, prepare } = await host()
    await participants.ask(prepare(2))
    assert.equal((JSON.parse(readFileSync(join(journals, 'op-2.json'), 'utf8')) as { format: number }).format, 1)
  })

  it('an outcome that cannot be read keeps its own cut waiting, and no other', async () => {
    const { vm, participants, journals, prepare } = await host()
    for (const k of [2, 3]) {
      const { ask: _, ...order } = prepare(k)
      writeFileSync(join(journals, `op-${k}.json`), JSON.stringify({ phase: 'sealed', order, reports: {}, why: '' }))
      mkdirSync(join(folder(), 'store', slice, `s-${k}`), { recursive: true })
      writeFileSync(join(folder(), 'store', slice, `s-${k}`, 'outcome'), JSON.stringify({ format: k === 2 ? 2 : 1, outcome: 'commit', why: '' }))
    }
    await participants.recover()
    await participants.checkOutcomes()
    const phase = (k: number) => (JSON.parse(readFileSync(join(journals, `op-${k}.json`), 'utf8')) as { phase: string }).phase
    assert.ok(await until(clock, 30_000, 5, () => (phase(3) === 'done' ? true : undefined)))
    assert.equal(phase(2), 'sealed')
    assert.deepEqual(vm.asked, [])
  })
})
