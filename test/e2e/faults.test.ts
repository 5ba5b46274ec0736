// A third of the fault matrix (test/faults/) on real VMs, and the death of everything at once: VMs run on, no half snapshot is
// listed, nothing is left over, the next snapshot and a rollback work, and the bank finds nothing lost.
import assert from 'node:assert/strict'
import { text } from '../../cli/demo/slice-client.js'
import { cell, points } from '../faults/cells.js'
import { FaultRig, victims } from '../faults/rig.js'

const all = points.flatMap((point) => victims.map((victim) => ({ point, victim })))
/** Every third of a list whose rows have seven cells: over three rows each victim and each point has its turn. */
const third = all.filter((_, i) => i % 3 === 0)

describe('kill -9 on real VMs under load', function () {
  this.timeout(240_000)
  let rig: FaultRig | undefined

  async function opened(): Promise<FaultRig> {
    if (rig) return rig
    rig = new FaultRig('qemu')
    await rig.open('on_failure="rollback" retries="100"')
    return rig
  }

  afterEach(async function () {
    if (this.currentTest?.state !== 'failed') return
    await rig?.abandon() // what one has broken must not be another's fault
    rig = undefined
  })
  after(() => rig?.close())

  for (const { point, victim } of third) {
    it(`of ${victim}, ${point.text}`, async () => cell(await opened(), point, [victim]))
  }

  it('of everything at once, as at a reboot, is mended by the policy without a call', async () => {
    const at = await opened()
    await at.snapshot()
    await at.reboot()
    await at.ready()
    await at.assertMoving()
    await at.assertClean()
    await at.assertConserved()
  })

  it('of everything at once is told in Status, and a rollback brings the slice back', async () => {
    const at = await opened()
    await at.slice.action('violin_set_policy', { violin_policy: '<rspec_checkpoint xmlns="urn:geni-violin:rspec:ext:checkpoint:1"/>' })
    const latest = await at.snapshot()
    await at.reboot()
    const status = await at.slice.status()
    assert.deepEqual(status.map((s) => s.operational), status.map(() => 'geni_failed'))
    assert.ok(status.every((s) => s.error.includes('violin_rollback')), JSON.stringify(status))
    assert.ok((await at.slice.snapshots()).some((s) => text(s, 'id') === latest))
    await at.rollBack(latest)
    await at.assertMoving()
    await at.assertConserved()
  })
})
