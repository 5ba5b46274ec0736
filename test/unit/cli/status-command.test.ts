import assert from 'node:assert/strict'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { statusCommand } from '../../../cli/commands/status.js'
import { allProcesses, partsOf, type Process } from '../../../cli/status/processes.js'
import { layoutOf } from '../../../cli/up/layout.js'
import { useTempFolder } from '../../temp.js'
import { entry } from '../am-plugin/aggregate.js'
import { cli } from './slice-tools.js'

const node = (main: string, pid: number, parent: number): Process => ({ pid, parent, words: ['node', '--enable-source-maps', `/opt/dist/${main}`] })
const whole: Process[] = [
  { pid: 10, parent: 1, words: ['node', '/opt/dist/cli/main.js', 'up', '--state', 'x'] }, { pid: 11, parent: 10, words: ['redis-server unixsocket:/tmp/x'] },
  node('hosts/switch/main.js', 12, 10), node('hosts/main.js', 13, 10), node('jobs/main.js', 14, 10), node('am-plugin/main.js', 15, 10),
  node('jobs/main.js', 99, 98), // of another aggregate
]

describe('violin status', () => {
  const folder = useTempFolder()
  const state = () => join(folder(), 'state')
  async function up(processes: Process[]) {
    const v = await cli(state())
    writeFileSync(join(state(), 'lock'), '10\n')
    const said = async (...words: string[]) => {
      let out = ''
      let code = 0
      await statusCommand({ ...v.tools, out: (t) => { out += t }, exit: (c) => { code = c } }, () => processes).parseAsync(['--state', state(), ...words], { from: 'user' })
      return { out, code }
    }
    return { ...v, said }
  }

  it('shows processes, space, and each slice once with its nodes, snapshots and longest pause', async () => {
    const v = await up(whole)
    await v.am.ready()
    await v.am.store.saveSnapshots(v.am.sliceUuid, [entry('s-1', { name: 'first', pauseMs: { a: 12.25 } }), entry('s-2')])
    mkdirSync(join(state(), 'snapshots'))
    writeFileSync(join(state(), 'snapshots', 'part'), Buffer.alloc(3_000_000, 1))
    const { out, code } = await v.said()
    assert.equal(code, 0, out)
    assert.match(out, /^aggregate {2}https:\/\/127\.0\.0\.1:8443\/am\/3\.0\n/)
    assert.match(out, /\nprocesses {2}up 10, redis 11, switch 12, agent 13, worker 14, am 15\n/)
    assert.match(out, /\nspace +\d+ MiB used: snapshots 3 MiB, disks 0 KiB; [\d.]+ [GM]iB free\n/)
    assert.match(out, /\nexp1 +alice +a geni_ready, b geni_ready +2, 5\.6 GiB +\S+ \S+ s-2 +12\.3 ms/)
    assert.match(out, /\nexp2 +alice +- +- +- +-\n$/)
    const json = JSON.parse((await v.said('--json')).out) as { up: boolean; slices: { slice: string; nodes: { name: string; pid: number }[]; last?: { id: string } }[] }
    assert.deepEqual([json.up, json.slices.map((s) => [s.slice, s.nodes.map((n) => [n.name, n.pid]), s.last?.id])],
      [true, [['exp1', [['a', 0], ['b', 0]], 's-2'], ['exp2', [], undefined]]])
  })

  it('names a process that does not run, and one of another aggregate is none of ours', async () => {
    const { out, code } = await (await up(whole.filter((p) => p.pid !== 14))).said()
    assert.equal(code, 1)
    assert.match(out, /^no aggregate is up on .*\n[^]*worker does not run/)
  })

  it('knows a switch that an earlier up has left, and does not miss a Redis that is not ours', () => {
    mkdirSync(state(), { recursive: true })
    const layout = { ...layoutOf(state()), switchPid: join(folder(), 'switch.pid') }
    writeFileSync(layout.lock, '10\n')
    writeFileSync(layout.switchPid, '12')
    const processes = whole.map((p) => (p.pid === 12 ? { ...p, parent: 1 } : p.pid === 10 ? { ...p, words: [...p.words, '--redis=redis://x'] } : p)).filter((p) => p.pid !== 11)
    assert.deepEqual(partsOf(layout, processes).map((p) => [p.name, p.pid]), [['up', 10], ['switch', 12], ['agent', 13], ['worker', 14], ['am', 15]])
  })

  it('tells a state folder that is not there', async () => {
    const v = await up([])
    rmSync(state(), { recursive: true })
    assert.match(JSON.parse((await v.said('--json')).out).error as string, /there is no state folder .*: violin up makes one/) // eslint-disable-line @typescript-eslint/no-unsafe-member-access
  })

  it('finds this very process with its parent', () => {
    const me = allProcesses().find((p) => p.pid === process.pid)
    assert.equal(me?.parent, process.ppid)
  })
})
