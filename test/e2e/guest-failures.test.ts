// Guests that fail while their processes live: one whose kernel panics, one that hangs, one that hangs under a snapshot. Each is a
// failure that the policy heals without a call, and the others lose nothing by it.
import assert from 'node:assert/strict'
import { text } from '../../cli/demo/slice-client.js'
import { FaultRig, type HypervisorKind } from '../faults/rig.js'

/** Real VMs are slow to answer where everything else runs too. */
const watchdogs: [HypervisorKind, string, string][] = [['simulated', 'PT5S', '5'], ['qemu', 'PT12S', '12']]

for (const [kind, watchdog, seconds] of watchdogs) {
  describe(`a guest that fails: ${kind}`, function () {
    this.timeout(180_000)
    let rig: FaultRig
    let broken = false

    before(async () => {
      rig = new FaultRig(kind)
      await rig.open('on_failure="rollback" retries="100"', `watchdog="${watchdog}"`)
    })
    beforeEach(function () {
      if (broken) this.skip() // by the one before, which has failed
    })
    afterEach(async function () {
      if (this.currentTest?.state !== 'failed' || broken) return
      broken = true
      await rig.abandon()
    })
    after(() => (broken ? undefined : rig.close()))

    async function healed(reason: RegExp): Promise<void> {
      const status = await rig.recovered()
      assert.match(status, reason)
      await rig.assertMoving()
      await rig.ready()
      await rig.assertClean()
      await rig.assertConserved()
    }
    const hung = new RegExp(`b: it hung: its login did not answer for ${seconds} s \\(watchdog\\)`)

    it('because it hangs is rolled back with its slice, without a call', async () => {
      const manifest = await rig.slice.describe()
      assert.equal(manifest.split(`watchdog="${watchdog}"`).length, 4, 'the manifest says it of all three')
      await rig.snapshot()
      process.kill(rig.pidOf('vm'), 'SIGSTOP')
      await healed(hung)
    })

    if (kind === 'simulated') {
      it('because it hangs is rolled back, though a snapshot was begun of it that cannot be made and cannot be ended', async () => {
        const good = await rig.snapshot()
        process.kill(rig.pidOf('vm'), 'SIGSTOP')
        await rig.slice.action('violin_snapshot')
        await healed(hung)
        assert.equal(text((await rig.slice.snapshots()).at(-1)!, 'id'), good)
      })

      it('while its agent dies is dead when the next agent comes up, which the others do not notice', async () => {
        await rig.snapshot()
        process.kill(rig.pidOf('vm'), 'SIGSTOP')
        process.kill(rig.pidOf('agent'), 'SIGKILL')
        await healed(/b: it did not answer when the host agent was started, and was ended/)
      })
    } else {
      it('because its kernel panics is rolled back with its slice, at once', async () => {
        await rig.snapshot()
        await rig.run('b', 'echo c >/proc/sysrq-trigger')
        await healed(/b: the guest's kernel panicked: sysrq triggered crash/)
      })
    }
  })
}
