import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { appendFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, Refusal } from '../../../base/errors.js'
import { ImageStore, type OutcomeRecord } from '../../../snapshots/image-store.js'
import { canonicalJson } from '../../../snapshots/inventory.js'
import { entryOf } from '../../../snapshots/catalogue.js'
import { useTempFolder } from '../../temp.js'
import { anInventory } from './shares.js'

const uuid = anInventory().slice.uuid
const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const damaged = (message: RegExp) => (e: unknown) => e instanceof Failure && e.code === 'damaged' && message.test(e.message)
const commit = (inventory: string): OutcomeRecord => ({ format: 1, outcome: 'commit', why: '', inventory })
const abort: OutcomeRecord = { format: 1, outcome: 'abort', why: 'no word came' }

describe('the store of snapshots', () => {
  const folder = useTempFolder()
  let store: ImageStore
  let at: string
  beforeEach(async () => {
    store = new ImageStore(folder())
    at = await store.create(uuid, 'snap-1')
  })

  async function committed(): Promise<void> {
    const digest = await store.writeInventory(uuid, 'snap-1', Buffer.from(canonicalJson(anInventory())), keys.privateKey)
    await store.decide(uuid, 'snap-1', commit(digest))
  }
  const read = () => store.readInventory(uuid, 'snap-1', keys.publicKey)

  it('lets one of two deciders win, and both obey it', async () => {
    for (let i = 0; i < 20; i++) {
      await store.create(uuid, `race-${i}`)
      const held = await Promise.all([store.decide(uuid, `race-${i}`, commit('x')), store.decide(uuid, `race-${i}`, abort)])
      assert.deepEqual(held[0], held[1])
      assert.deepEqual(await store.outcome(uuid, `race-${i}`), held[0])
    }
  })

  it('removes a snapshot whole: whoever is late with its decision finds nowhere to write it, and what a dead worker was removing goes', async () => {
    await store.decide(uuid, 'snap-1', abort)
    mkdirSync(`${at}.removed`) // by one that died in it
    writeFileSync(join(`${at}.removed`, 'vm.memory'), 'x')
    await store.remove(uuid, 'snap-1')
    await assert.rejects(store.decide(uuid, 'snap-1', commit('x')), /ENOENT/)
    assert.deepEqual(readdirSync(join(folder(), uuid)), [])
    await store.remove(uuid, 'snap-1') // again is no mistake
    mkdirSync(`${at}.removed`)
    assert.deepEqual(await store.ids(uuid), [])
    await store.sweep(uuid)
    assert.deepEqual(readdirSync(join(folder(), uuid)), [])
  })

  it('has an outcome as long as it has a folder, so that nobody can decide a second time', async () => {
    await store.decide(uuid, 'snap-1', abort)
    for (let i = 0; i < 300; i++) writeFileSync(join(at, `part-${i}`), '') // so that emptying it takes a while
    let late = 0
    const removing = store.remove(uuid, 'snap-1').then(() => { late = -1 })
    for (; late >= 0 && late < 10_000; late++) {
      const held = await store.decide(uuid, 'snap-1', commit('x')).catch(() => undefined)
      assert.notEqual(held?.outcome, 'commit')
    }
    await removing
  })

  it('gives back the inventory that was committed', async () => {
    await committed()
    assert.deepEqual(await read(), anInventory())
  })

  it('keeps the note of a snapshot under its signature; inventories from before there were notes have none', async () => {
    const noted = anInventory({ note: 'before the upgrade\nall nodes at 1.2' })
    await store.decide(uuid, 'snap-1', commit(await store.writeInventory(uuid, 'snap-1', Buffer.from(canonicalJson(noted)), keys.privateKey)))
    assert.equal(entryOf(await read()).note, 'before the upgrade\nall nodes at 1.2')
    const file = join(at, 'inventory.json')
    writeFileSync(file, readFileSync(file, 'utf8').replace('upgrade', 'downgrade'))
    await assert.rejects(read(), damaged(/not the one it was committed with/))
    assert.ok(!canonicalJson(anInventory()).includes('note'))
    assert.equal(entryOf(anInventory()).note, undefined)
  })

  it('knows no snapshot before it is decided, nor one that was aborted', async () => {
    await store.writeInventory(uuid, 'snap-1', Buffer.from('{}'), keys.privateKey)
    await assert.rejects(read(), (e: unknown) => e instanceof Refusal && e.code === 'not-found')
    await store.decide(uuid, 'snap-1', abort)
    await assert.rejects(read(), (e: unknown) => e instanceof Refusal && e.code === 'not-found')
  })

  it('refuses an inventory that was changed, even with a valid signature of its own', async () => {
    await committed()
    appendFileSync(join(at, 'inventory.json'), ' ')
    await assert.rejects(read(), damaged(/not the one it was committed with/))
    await store.writeInventory(uuid, 'snap-1', Buffer.from(canonicalJson(anInventory({ k: 3 }))), keys.privateKey)
    await assert.rejects(read(), damaged(/not the one it was committed with/))
  })

  it('refuses an inventory that another one has signed, also when the outcome was made to fit', async () => {
    const digest = await store.writeInventory(uuid, 'snap-1', Buffer.from(canonicalJson(anInventory())), generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
    await store.decide(uuid, 'snap-1', commit(digest))
    await assert.rejects(read(), damaged(/not signed by this aggregate/))
    writeFileSync(join(at, 'inventory.sig'), 'rubbish')
    await assert.rejects(read(), damaged(/not signed by this aggregate/))
  })

  it('refuses a whole valid folder under another name', async () => {
    await committed()
    cpSync(at, store.folder(uuid, 'snap-2'), { recursive: true })
    await assert.rejects(store.readInventory(uuid, 'snap-2', keys.publicKey), damaged(/holds snapshot snap-1/))
  })

  it('says that an outcome is damaged instead of taking it for none', async () => {
    writeFileSync(join(at, 'outcome'), '')
    await assert.rejects(store.outcome(uuid, 'snap-1'), damaged(/outcome is damaged/))
  })

  it('removes a snapshot whole, also one that is half gone or never was', async () => {
    await committed()
    await store.remove(uuid, 'snap-1')
    await store.remove(uuid, 'snap-1')
    assert.equal(existsSync(at), false)
    assert.deepEqual(await store.ids(uuid), [])
  })

  it('refuses names that would lead out of its folder', () => {
    for (const bad of ['..', '../x', 'a/b', '', 'A', 'outcome\n']) {
      assert.throws(() => store.folder(uuid, bad), (e: unknown) => e instanceof Refusal && e.code === 'bad-arguments', bad)
      assert.throws(() => store.folder(bad, 'snap-1'), Refusal)
    }
  })

  it('keeps the outcomes of restores beside the snapshots, and takes none of them for one', async () => {
    const path = await store.restoreOutcomePath(uuid, 'op-1')
    writeFileSync(path, JSON.stringify(abort))
    assert.deepEqual(await store.ids(uuid), ['snap-1'])
    assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), abort)
  })
})

describe('canonical JSON', () => {
  it('has one form for the same value, whatever the order of its members', () => {
    assert.equal(canonicalJson({ b: [1, undefined, { d: null, c: 'é' }], a: undefined }), '{"b":[1,null,{"c":"é","d":null}]}')
    const { id, ...rest } = anInventory()
    assert.equal(canonicalJson({ ...rest, id }), canonicalJson(anInventory()))
  })
})
