// The bank on a slow LAN with latency: coins are in flight at every cut, so a snapshot that forgets what is on a shaped link, or has it
// twice, has another sum of coins.
import assert from 'node:assert/strict'
import { text } from '../../cli/demo/slice-client.js'
import { FaultRig } from '../faults/rig.js'

describe('a slice under load on shaped links', function () {
  this.timeout(180_000)
  const rig = new FaultRig('simulated')
  before(() => rig.open('', '', '<property capacity="5000" latency="60"/>'))
  after(() => rig.close())

  const recorded = async () => Number((await rig.slice.snapshots()).at(-1)!['frames_recorded'])

  it('has what is in flight in its snapshots, and loses and doubles nothing, neither going on nor rolled back', async () => {
    for (let round = 0; round < 3; round++) {
      await rig.snapshot()
      assert.ok(await recorded() > 10, `${await recorded()} frames were in flight`)
      await rig.assertConserved()
      await rig.slice.action('violin_rollback')
      await rig.ready()
      await rig.assertMoving()
      await rig.assertConserved()
    }
    await rig.assertClean()
  })

  it('has them in a suspension, too', async () => {
    await rig.slice.action('violin_suspend')
    await rig.slice.waitFor('violin_suspended', 30_000)
    assert.ok(await recorded() > 10)
    await rig.slice.action('violin_resume')
    await rig.ready()
    await rig.assertMoving()
    await rig.assertConserved()
  })

  it('comes back whole when the switch dies, with the shape it had', async () => {
    const urn = await rig.snapshot()
    process.kill(rig.pidOf('switch'), 'SIGKILL')
    await rig.assertMoving()
    await rig.slice.action('violin_rollback')
    await rig.ready()
    assert.equal(text((await rig.slice.snapshots()).at(-1)!, 'id'), urn)
    await rig.assertConserved()
    await rig.snapshot()
    assert.ok(await recorded() > 10)
  })
})
