import assert from 'node:assert/strict'
import { strayLook } from '../../../jobs/stray-snapshots.js'
import { worker } from './worker.js'

describe('folders of snapshots that the catalogue does not name', () => {
  async function opened() {
    const w = await worker()
    const slice = await w.slice()
    await w.run((await w.begin(slice, 'snapshot', { params: { snapshot: 's-1' } })).id)
    const catalogue = async () => ((await w.store.snapshots(slice.uuid)) as { id: string }[]).map((e) => e.id)
    return { w, slice, catalogue, look: strayLook(w.parts) }
  }

  it('go when they are there at two looks', async () => {
    const { w, look, catalogue } = await opened()
    w.snapshots.strays.push('s-2')
    await look()
    assert.deepEqual(w.snapshots.strays, ['s-2'])
    await look()
    assert.deepEqual([w.snapshots.strays, await catalogue()], [[], ['s-1']])
  })

  it('are the matter of the operation that is at work on the slice', async () => {
    const { w, slice, look } = await opened()
    w.snapshots.strays.push('s-2')
    await look()
    const operation = await w.begin(slice, 'snapshot', { params: { snapshot: 's-2' } })
    for (let n = 0; n < 3; n++) await look()
    assert.deepEqual([w.snapshots.strays, w.snapshots.swept], [['s-2'], 0])
    w.snapshots.strays.splice(0)
    await w.run(operation.id)
    w.snapshots.strays.push('s-3')
    await look()
    await look()
    assert.equal(w.snapshots.swept, 1)
  })

  it('are named when they are whole: a cut that was committed by a worker that nobody waited for', async () => {
    const { w, slice, look, catalogue } = await opened()
    await w.store.saveSnapshots(slice.uuid, [])
    await look()
    await look()
    assert.deepEqual(await catalogue(), ['s-1'])
  })

  it('are looked into once when they stay: a damaged one is not read again and again', async () => {
    const { w, look } = await opened()
    w.snapshots.endOpen = async () => { w.snapshots.swept++ }
    w.snapshots.strays.push('damaged')
    for (let n = 0; n < 5; n++) await look()
    assert.equal(w.snapshots.swept, 1)
  })

  it('are tried again when that failed', async () => {
    const { w, look } = await opened()
    const endOpen = w.snapshots.endOpen.bind(w.snapshots)
    w.snapshots.endOpen = async (slice) => {
      w.snapshots.endOpen = endOpen
      throw new Error(`the disk of ${slice} is full`)
    }
    w.snapshots.strays.push('s-2')
    for (let n = 0; n < 3; n++) await look()
    assert.deepEqual(w.snapshots.strays, [])
  })
})
