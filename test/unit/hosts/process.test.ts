import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive, killProcess, startTime } from '../../../hosts/hypervisor/process.js'
import { realClock as clock, until } from '../../../base/time.js'
import { useTempFolder } from '../../temp.js'

const boundMs = 20_000
const module = new URL('../../../hosts/hypervisor/process.ts', import.meta.url).href
const program = `
  const { startToStay } = await import('${module}')
  const { pid } = await startToStay('VM', 'sleep', ['600'], process.argv[1], () => undefined)
  process.send(pid)
  setInterval(() => undefined, 1_000)`

/** Fields of /proc/PID/stat after the name: state, parent, group, session. */
function stat(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ').slice(0, 4)
}
const becomes = (pid: number, state: string) => until(clock, boundMs, 5, () => (stat(pid)[0] === state ? true : undefined))

describe('the process of a VM', () => {
  const folder = useTempFolder()
  let agent: ChildProcess
  let vm: number

  beforeEach(async () => {
    agent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program, join(folder(), 'log')], {
      detached: true, stdio: ['ignore', 'ignore', 'inherit', 'ipc'], // as `up` starts an agent
    })
    ;[vm] = await once(agent, 'message') as [number]
  })
  afterEach(async () => {
    agent.kill('SIGKILL')
    await killProcess({ pid: vm, started: (await startTime(vm)) ?? '' }, clock)
  })

  it('is in the session of its agent, whose VMs share processors by their priorities, and not of whoever watches', () => {
    const session = stat(agent.pid!)[3]
    assert.equal(stat(vm)[3], session)
    assert.notEqual(stat(process.pid)[3], session)
  })

  it('lives on when its agent is killed, also one that stands still just then: nobody hangs up on it', async () => {
    const ref = { pid: vm, started: (await startTime(vm))! }
    process.kill(vm, 'SIGSTOP')
    assert.ok(await becomes(vm, 'T'))
    agent.kill('SIGKILL')
    await once(agent, 'exit')
    assert.equal(await isAlive(ref), true)
    assert.equal(stat(vm)[0], 'T', 'it was not sent SIGCONT, which comes with SIGHUP')
    process.kill(vm, 'SIGCONT')
    assert.ok(await becomes(vm, 'S'))
    assert.equal(await isAlive(ref), true)
  })
})
