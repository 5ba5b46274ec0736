// A shaped link and the logins of two people on real VMs. Bounds are only those that a busy machine cannot break: it may make a
// link slower, never faster. How near it is to what was asked is for bench/link.ts to say.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { people, ShapedLine } from '../../bench/shaped-line.js'
import { text } from '../../cli/demo/slice-client.js'

describe('a shaped link between real VMs', function () {
  this.timeout(300_000)
  const line = new ShapedLine()
  before(async () => {
    mkdirSync(join(line.files, 'top/bin'), { recursive: true })
    writeFileSync(join(line.files, 'top/bin/hi'), '#!/bin/sh\necho it is installed\n', { mode: 0o755 })
    execFileSync('tar', ['czf', join(line.files, 'tools.tgz'), '-C', join(line.files, 'top'), '.'])
    const digest = createHash('sha256').update(readFileSync(join(line.files, 'tools.tgz'))).digest('hex')
    await line.open((request) => request
      .replace('<link_type', '<violin:link mtu="1480"/><link_type')
      .replace('<interface client_id="a:if0">', `<services><install url="file://${line.files}/tools.tgz#sha256=${digest}" install_path="/opt/tools"/>
        <execute shell="sh" command="/opt/tools/bin/hi; hostname; exit 3"/></services>$&`))
  })
  after(() => line.close())

  it('has VMs into which each user logs in by plain ssh, into an account of their own and with their own key only', async () => {
    for (const person of people) {
      const home = await line.ssh('a', person, 'pwd; grep -c ssh-ed25519 .ssh/authorized_keys')
      assert.match(home, new RegExp(`^/home/${person}\\n1\\n$`))
    }
    await assert.rejects(line.ssh('a', 'bob', 'true', 'alice'), /Permission denied/)
  })

  it('has interfaces of the MTU asked for, what the request lets install, and on its console what it let execute, with how that ended', async () => {
    assert.match(await line.ssh('a', 'alice', 'ip link; cat /var/log/execute-00.log'), /mtu 1480 [^]*\nit is installed\na\n$/)
    const [told] = await line.slice.action('violin_console', {}, [line.sliverOf('a')])
    assert.match(text(told!, 'violin_console'), /violin: execute 00: it is installed\r?\nviolin: execute 00: a\r?\nviolin: execute 00 ended with 3/)
  })

  async function keepsToItsShape(): Promise<void> {
    const round = await line.time(40, 20)
    assert.ok(round.leastMs >= 40, `a round trip of ${round.leastMs} ms over 20 ms each way`)
    const full = await line.fill('a', 3_000, 1_400, 1_500)
    assert.ok(full.bitsPerSecond > 100_000 && full.bitsPerSecond < 11_000_000, `${full.bitsPerSecond} bit/s through 10 Mbit/s`)
    assert.ok(full.received < full.sent)
    const back = await line.fill('b', 1_000, 1_400, 500)
    assert.ok(back.bitsPerSecond < 2_200_000, `${back.bitsPerSecond} bit/s through 2 Mbit/s`)
    const lossy = await line.fill('a', 10_000, 100, 1_000)
    const lost = 1 - lossy.received / lossy.sent
    assert.ok(lost > 0.015 && lost < 0.025, `${lossy.received} of ${lossy.sent} came`)
    assert.deepEqual([full, back, lossy].map((one) => [one.doubled, one.late]), [[0, 0], [0, 0], [0, 0]])
  }

  it('holds a latency, a capacity and a loss, each way its own', keepsToItsShape)

  it('is snapshotted while it is full, and the slice rolled back has it again', async () => {
    const busy = line.fill('a', 15_000, 1_400, 1_000)
    let recorded = 0
    for (let i = 0; i < 8 && recorded === 0; i++) { // the first may come before the traffic does
      await line.snapshot()
      recorded = Number((await line.slice.snapshots()).at(-1)!['frames_recorded'])
    }
    const there = await busy
    assert.deepEqual([there.doubled, there.late], [0, 0], 'the run that goes on')
    assert.ok(recorded > 0, 'some frames were in flight')
    await line.rollback()
    // what filled the link then goes on, too: it is in the snapshot
    await line.ssh('a', 'alice', 'kill $(pidof line); for i in 1 2 3 4 5 6 7 8 9; do line serve 7100 && exit; sleep 1; done; exit 1')
    await keepsToItsShape()
  })
})
