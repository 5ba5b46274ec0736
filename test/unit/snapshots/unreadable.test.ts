import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { silentLog } from '../../../base/log.js'
import { realRandom as random } from '../../../base/random.js'
import { realClock as clock } from '../../../base/time.js'
import { keyFromPem } from '../../../certs/mint.js'
import { ImageStore } from '../../../snapshots/image-store.js'
import { canonicalJson, type Inventory } from '../../../snapshots/inventory.js'
import { openSnapshots } from '../../../snapshots/open.js'
import { useTempFolder } from '../../temp.js'
import { field, read } from '../certs/field.js'
import { anInventory } from './shares.js'

const { uuid } = anInventory().slice

describe('a snapshot that this program cannot read', () => {
  const folder = useTempFolder()

  async function opened() {
    const { alice } = await field()
    const told: unknown[] = []
    const log = Object.assign(Object.create(silentLog) as typeof silentLog, { error: (fields: { why: string }) => told.push(fields.why) })
    const snapshots = await openSnapshots({
      links: { ask: () => Promise.resolve(null) } as never, journal: { save: () => Promise.resolve(), remove: () => Promise.resolve() }, store: folder(),
      keyPem: read(alice.key), certificatePem: read(alice.certificate), am: 'urn:publicid:IDN+lab.example+authority+am', software: '0', clock, random, log,
    })
    const store = new ImageStore(folder())
    async function commit(id: string, more: object = {}): Promise<string> {
      const at = await store.create(uuid, id)
      const inventory = { ...anInventory({ id }), ...more } as Inventory
      const digest = await store.writeInventory(uuid, id, Buffer.from(canonicalJson(inventory)), keyFromPem(read(alice.key)))
      await store.decide(uuid, id, { format: 1, outcome: 'commit', why: '', inventory: digest })
      return at
    }
    return { snapshots, store, commit, told }
  }

  it('because its inventory is of a later format is not listed and not removed, and the others are listed', async () => {
    const { snapshots, commit, told } = await opened()
    await commit('snap-1')
    const later = await commit('snap-2', { format: 'violin-inventory-2' })
    assert.deepEqual((await snapshots.list(uuid)).map((e) => e.id), ['snap-1'])
    assert.match(told.join(), /the inventory of snap-2 has format "violin-inventory-2", this program understands "violin-inventory-1"/)
    await snapshots.recover()
    assert.ok(existsSync(join(later, 'inventory.json')))
  })

  it('because its outcome is damaged or of a later format is left as it is, also when a worker comes up; what has none is aborted', async () => {
    const { snapshots, store, commit, told } = await opened()
    await commit('snap-1')
    for (const [id, text] of [['snap-2', '{"format":2,"outcome":"commit"}'], ['snap-3', '{"form'], ['snap-4', '{"format":1,"outcome":"perhaps"}']] as const) {
      writeFileSync(join(await commit(id), 'outcome'), text)
    }
    const open = await store.create(uuid, 'snap-5')
    await snapshots.recover()
    assert.deepEqual((await snapshots.list(uuid)).map((e) => e.id), ['snap-1'])
    assert.equal(readFileSync(join(store.folder(uuid, 'snap-2'), 'outcome'), 'utf8'), '{"format":2,"outcome":"commit"}')
    for (const id of ['snap-3', 'snap-4']) assert.ok(existsSync(join(store.folder(uuid, id), 'inventory.json')), id)
    assert.ok(!existsSync(open))
    assert.match(told.join(), /snap-2\/outcome has format 2.*snap-3\/outcome is damaged.*snap-4\/outcome is damaged/)
  })
})
