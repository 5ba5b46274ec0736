// The reserve of a host for the moment when its disk is full.
import assert from 'node:assert/strict'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { limits } from '../../../base/limits.js'
import { silentLog } from '../../../base/log.js'
import { Ballast } from '../../../hosts/ballast.js'
import { useTempFolder } from '../../temp.js'

describe('the reserve of a host', () => {
  const folder = useTempFolder()
  const gib = 1024 ** 3

  function reserve() {
    const path = join(folder(), 'ballast')
    const at = { path, free: 4 * gib, told: [] as string[] }
    return { at, ballast: new Ballast(path, silentLog, (why) => at.told.push(why), async () => at.free) }
  }

  it('is taken where there is plenty of room, with all its blocks, and kept while there is some', async () => {
    const { at, ballast } = reserve()
    await ballast.open()
    assert.ok(statSync(at.path).blocks * 512 >= limits.ballastBytes)
    at.free = 64 * 1024 * 1024
    await ballast.watch()
    assert.ok(existsSync(at.path))
    assert.deepEqual(at.told, [])
  })

  it('is not taken where there is little room', async () => {
    const { at, ballast } = reserve()
    at.free = limits.freeFloorBytes
    await ballast.open()
    assert.ok(!existsSync(at.path))
  })

  it('goes when the disk is full, which is told as long as it is, and is taken again when there is room again', async () => {
    const { at, ballast } = reserve()
    await ballast.open()
    at.free = 4096
    await ballast.watch()
    assert.ok(!existsSync(at.path))
    await ballast.watch()
    assert.equal(at.told.length, 2, 'a cut that has begun since must go, too')
    assert.match(at.told[0]!, /the disk of the host is full/)
    at.free = 4 * gib
    await ballast.watch()
    assert.ok(existsSync(at.path))
  })

  it('goes at once when somebody needs it', async () => {
    const { at, ballast } = reserve()
    await ballast.open()
    await ballast.release()
    assert.ok(!existsSync(at.path))
    assert.equal(at.told.length, 1)
  })

  it('is no matter where it could not be taken yet: what else can be spared goes all the same', async () => {
    const { at, ballast } = reserve()
    at.free = limits.freeFloorBytes
    await ballast.open()
    at.free = 4096
    await ballast.watch()
    assert.match(at.told[0]!, /the disk of the host is full/)
    await ballast.release()
    assert.equal(at.told.length, 2)
  })

  it('of an earlier agent is known again', async () => {
    const { at, ballast } = reserve()
    writeFileSync(at.path, 'x')
    at.free = 4096
    await ballast.open()
    assert.ok(!existsSync(at.path))
  })
})
