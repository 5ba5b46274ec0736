// The disk of its log is full: `up` looks after its processes all the same. `up` is killed and nobody starts another one: VMs run on, none is left standing, and in the end nothing is left behind.
import assert from 'node:assert/strict'
import { realClock as clock, until } from '../../base/time.js'
import { FaultRig } from '../faults/rig.js'

describe('a host whose up cannot write, or was killed', function () {
  this.timeout(180_000)
  let rig: FaultRig

  beforeEach(() => { rig = new FaultRig('simulated') })
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await rig.abandon()
    else await rig.close()
  })

  for (const point of ['agent.cut.stopped', 'agent.cut.flipped']) {
    it(`in the middle of a cut (${point}) lets all VMs run on, and the next one goes on with them`, async () => {
      await rig.open('on_failure="rollback" retries="100"')
      const [vms, agent] = [rig.vmPids(), rig.pidOf('agent')]
      rig.arm(point, ['up'])
      await rig.whenFree(() => rig.slice.action('violin_snapshot'))
      await rig.struck(point)
      await rig.assertMoving()
      assert.equal(rig.pidOf('agent'), agent, 'it is the agent that looks after them')
      await rig.startAgain()
      assert.notEqual(rig.pidOf('agent'), agent, 'the next one brings its own')
      await rig.ready()
      await rig.assertClean()
      await rig.snapshot()
      await rig.assertConserved()
      assert.deepEqual(rig.vmPids(), vms, 'no VM was ended')
    })
  }

  it('goes on: one that cannot tell anybody starts again what has died', async () => {
    rig.upLog = '/dev/full'
    await rig.open('on_failure="rollback" retries="100"')
    const [up, worker] = [rig.pidOf('up'), rig.pidOf('worker')]
    process.kill(worker, 'SIGKILL')
    assert.ok(await until(clock, 30_000, 50, () => (rig.pids('jobs/main.js').some((pid) => pid !== worker) ? true : undefined)), 'no other worker came')
    assert.equal(rig.pidOf('up'), up)
    await rig.snapshot()
    await rig.assertConserved()
  })

  it('ends VMs, switch and agent after the time that --outlive names, and the next one brings the slice back', async () => {
    rig.upOptions.push('--outlive', 'PT3S')
    await rig.open('on_failure="rollback" retries="100"')
    await rig.snapshot()
    process.kill(rig.pidOf('up'), 'SIGKILL')
    assert.ok(await until(clock, 30_000, 50, () => (rig.pids('').length === 0 ? true : undefined)), 'nothing is left')
    await rig.startAgain()
    assert.match(await rig.recovered(), /no `violin up` had run on its host for PT3S/)
    await rig.assertMoving()
    await rig.ready()
    await rig.assertClean()
    await rig.assertConserved()
  })
})
