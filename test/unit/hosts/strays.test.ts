import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { silentLog } from '../../../base/log.js'
import { realClock as clock } from '../../../base/time.js'
import { startTime } from '../../../hosts/hypervisor/process.js'
import { endStrays } from '../../../hosts/strays.js'
import { useTempFolder } from '../../temp.js'

describe('VM processes that nobody knows', () => {
  const folder = useTempFolder()
  const begun: ChildProcess[] = []
  afterEach(() => { for (const child of begun.splice(0)) child.kill('SIGKILL') })

  /** A process whose command line says what that of a VM says. */
  async function begin(...argv: string[]): Promise<number> {
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume(); console.log()', '--', ...argv], { stdio: ['pipe', 'pipe', 'ignore'] })
    begun.push(child)
    await new Promise((resolve) => child.stdout.once('data', resolve))
    return child.pid!
  }

  it('end; those that are known, or of which nothing can be read, run on, as do all others', async () => {
    const run = folder()
    const [known, unreadable, stray, other, elsewhere, operator] = [
      await begin('-name', 'a.v-a', '-qmp', `unix:${run}/v-a.00000001.qmp,server=on`), await begin('-name', 'b.v-b', `{"monitor":"${run}/v-b.00000001.qmp"}`),
      await begin('-name', 'c.v-c', '-qmp', `unix:${run}/v-c.00000002.qmp,server=on`), await begin('--socket', `${run}/switch`),
      await begin('-name', 'c.v-c', '-qmp', 'unix:/elsewhere/v-c.00000002.qmp'), await begin('-', `unix-connect:${run}/v-a.00000001.qmp`),
    ]
    await endStrays({ runFolder: run, known: () => [known], isUnreadable: (vm) => vm === 'v-b', clock, log: silentLog })
    const live = await Promise.all([known, unreadable, stray, other, elsewhere, operator].map(async (pid) => (await startTime(pid)) !== undefined))
    assert.deepEqual(live, [true, true, false, true, true, true])
  })
})
