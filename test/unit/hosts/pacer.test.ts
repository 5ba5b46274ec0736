import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { realClock as clock, until } from '../../../base/time.js'
import { silentLog } from '../../../base/log.js'
import { gapUs, most, slotUs } from '../../../hosts/hypervisor/qemu/pacer-beat.js'
import { Pacer } from '../../../hosts/hypervisor/qemu/pacer.js'

const waitMs = 30_000
const mayRaise = process.getuid?.() === 0

/** Class and nice value (proc(5), fields 41 and 19). */
function scheduling(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return `${({ 0: 'ordinary', 2: 'real-time', 5: 'idle' } as Record<string, string>)[fields[38]!] ?? '?'} ${fields[16]!}`
}

describe('who writes memory', () => {
  const busy: ChildProcess[] = []
  afterEach(() => { for (const child of busy.splice(0)) child.kill('SIGKILL') })
  const begin = (): number => {
    const child = spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' })
    busy.push(child)
    return child.pid!
  }
  const seen = async (pid: number, wanted: string) =>
    assert.ok(await until(clock, waitMs, 0, () => (scheduling(pid) === wanted ? true : undefined)), `never ${wanted}, but ${scheduling(pid)}`)
  async function paces(): Promise<Pacer> {
    const pacer = new Pacer(silentLog)
    assert.ok(await until(clock, waitMs, 5, () => (pacer.paces ? true : undefined)), 'the thread does not begin')
    return pacer
  }

  it('is first of all and last of all in turn, until it is done', async function () {
    if (!mayRaise) this.skip() // real-time classes are root's
    const pacer = await paces()
    const [first, second] = [begin(), begin()]
    pacer.add([first, second])
    for (const pid of [first, second, first]) {
      await seen(pid, 'real-time 0')
      await seen(pid, 'idle 0')
    }
    await seen(first, 'real-time 0')
    pacer.remove([first]) // in its turn, most likely
    for (const state of ['real-time 0', 'idle 0', 'real-time 0', 'idle 0']) await seen(second, state) // a round that still knew of it is over
    assert.equal(scheduling(first), 'ordinary 0', 'whoever came late has left it behind everybody')
    pacer.remove([first, second])
    await seen(second, 'ordinary 0')
    pacer.remove([second])
  })

  it('is an ordinary thread after some seconds: a large VM must be written in time', async function () {
    if (!mayRaise) this.skip()
    const pacer = await paces()
    const pid = begin()
    pacer.add([pid])
    await seen(pid, 'real-time 0')
    await seen(pid, 'ordinary 0')
  })

  it('is an ordinary thread where there are more than can be paced', async function () {
    if (!mayRaise) this.skip()
    const pacer = await paces()
    const gone = 2 ** 22 + 1 // above the largest pid
    pacer.add(Array.from({ length: most }, (_, i) => gone + i))
    const pid = begin()
    pacer.add([pid])
    assert.equal(scheduling(pid), 'ordinary 0')
  })

  it('takes by force at most half of the processors that are for it', () => {
    for (const slots of [1, 4, 100]) assert.ok(slots * slotUs <= gapUs(slots), String(slots))
  })
})
