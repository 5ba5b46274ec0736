// A part of the fault matrix (test/faults/) on real VMs, and the death of everything at once: VMs run on, no half snapshot is
// listed, nothing is left over, the next snapshot and a rollback work, and the bank finds nothing lost.
import assert from 'node:assert/strict'
import { text } from '../../cli/demo/slice-client.js'
import { cell } from '../faults/cells.js'
import { told, type Kind, type Struck } from '../faults/kinds.js'
import { points, type Point } from '../faults/points.js'
import { victims, type FaultRig } from '../faults/rig.js'
import { Stage } from '../faults/stage.js'

/** The turns of a cut and of a restore, where most is at stake. */
const turns = [
  'idle', 'agent.preparing', 'agent.prepared', 'agent.cut.gated', 'agent.cut.stopped', 'agent.cut.flipped', 'agent.cut.resumed', 'agent.saved', 'agent.sealing',
  'agent.sealed', 'worker.before-outcome', 'worker.after-outcome', 'worker.rollback.kept', 'agent.restore.loaded', 'worker.restore.ready', 'worker.restore.decided',
  'agent.restore.old-ended', 'agent.restore.replaced', 'agent.collapse.merged', 'agent.collapse.noted', 'agent.collapse.replaced',
]
const pointOf = (name: string): Point => points.find((p) => p.name === name)!
const all = turns.flatMap((name) => victims.map((victim) => ({ point: pointOf(name), victim })))
/** Every fourth of a list whose rows have seven cells: over four rows each victim has its turn, and each point has one or two. */
const fourth = all.filter((_, i) => i % 4 === 0)
/** Some of each other kind: what only it can find. The whole takes hours (npm run faults -- --kind all). */
const others: [kind: Kind, point: string, victim: Struck][] = [
  ['stand', 'worker.before-outcome', 'worker'], ['stand', 'agent.cut.stopped', 'switch'],
  ['no-sync', 'agent.before-saved', 'agent'], ['no-sync', 'worker.before-outcome', 'worker'], ['no-sink', 'agent.prepared', 'vm'],
]

describe('a fault on real VMs under load', function () {
  this.timeout(240_000)
  const stage = new Stage('qemu', ['kill', 'stand', 'no-sync', 'no-sink'], false)

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await stage.abandon() // what one has broken must not be another's fault
  })
  after(() => stage.close())

  for (const { point, victim } of fourth) {
    it(`kill -9 of ${victim}, ${point.text}`, async () => {
      await cell(await stage.rig(), point, stage.fault('kill', victim))
    })
  }

  for (const [kind, name, victim] of others) {
    it(`${told[kind]} ${victim}, ${pointOf(name).text}`, async () => {
      assert.ok(await cell(await stage.rig(), pointOf(name), stage.fault(kind, victim)), 'nobody did what fails')
    })
  }

  it('kill -9 of everything at once, as at a reboot, is mended by the policy without a call', async () => {
    const at: FaultRig = await stage.rig()
    await at.snapshot()
    await at.reboot()
    await at.ready()
    await at.assertMoving()
    await at.assertClean()
    await at.assertConserved()
  })

  it('kill -9 of everything at once is told in Status, and a rollback brings the slice back', async () => {
    const at: FaultRig = await stage.rig()
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

describe('a full disk under real VMs', function () {
  this.timeout(240_000)
  const stage = new Stage('qemu', ['full-disk'])

  before(function () {
    if (process.getuid?.() !== 0) this.skip() // only root can mount a file system for it
  })
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await stage.abandon()
  })
  after(() => stage.close())

  it('does no harm when it comes before `sealed` is journalled', async () => {
    await cell(await stage.rig(), pointOf('agent.before-sealed'), stage.fault('full-disk', 'disk'))
  })
})
