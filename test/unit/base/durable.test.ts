import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { removeDurably, sweepAsides, writeDurably, writeOnce } from '../../../base/durable.js'
import { useTempFolder } from '../../temp.js'

describe('durable files', () => {
  const folder = useTempFolder()
  const path = () => join(folder(), 'file')

  it('are written once: of many writers one wins, and what it wrote stays whole', async () => {
    const won = await Promise.all(Array.from({ length: 20 }, (_, i) => writeOnce(path(), `writer ${i}`)))
    assert.equal(won.filter((w) => w).length, 1)
    assert.equal(readFileSync(path(), 'utf8'), `writer ${won.indexOf(true)}`)
    assert.equal(await writeOnce(path(), 'late'), false)
  })

  it('are replaced whole, for their owner alone, and nothing is left beside them', async () => {
    await writeDurably(path(), 'old')
    await Promise.all(Array.from({ length: 10 }, () => writeDurably(path(), 'new')))
    await writeOnce(path(), 'never')
    assert.equal(readFileSync(path(), 'utf8'), 'new')
    assert.equal(statSync(path()).mode & 0o777, 0o600)
    assert.deepEqual(readdirSync(folder()), ['file'])
  })

  it('keep what was there when the new content cannot be written', async () => {
    await writeDurably(path(), 'old')
    await assert.rejects(writeDurably(path(), 42 as unknown as string))
    assert.equal(readFileSync(path(), 'utf8'), 'old')
    assert.deepEqual(readdirSync(folder()), ['file'])
  })

  it('fail where their folder is missing, instead of saying that somebody was there first', async () => {
    await assert.rejects(writeOnce(join(folder(), 'no', 'file'), 'x'), /ENOENT/)
    await assert.rejects(writeDurably(join(folder(), 'no', 'file'), 'x'), /ENOENT/)
  })

  it('leave nothing of a writer that has died, and do not touch what a living one writes', async () => {
    const gone = spawnSync('true').pid
    mkdirSync(join(folder(), 'below'))
    for (const name of [`a.json.${gone}.0.part`, `below/b.${gone}.12.part`, `c.${process.ppid}.0.part`, 'd.memory.part']) writeFileSync(join(folder(), name), 'half')
    writeFileSync(join(folder(), `e.${process.pid}.0.part`), 'of one that had our number')
    await sweepAsides(folder())
    assert.deepEqual(readdirSync(folder(), { recursive: true }).sort(), ['below', `c.${process.ppid}.0.part`, 'd.memory.part'])
  })

  it('are removed, also twice', async () => {
    await writeDurably(path(), 'x')
    await removeDurably(path())
    await removeDurably(path())
    assert.deepEqual(readdirSync(folder()), [])
  })
})
