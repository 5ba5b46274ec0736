// The lists of software for guest images, and what the builder says of one that is not there. Images themselves are built in every end-to-end run.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { useTempFolder } from '../../temp.js'

const images = resolve(import.meta.dirname, '..', '..', '..', 'images')
const names = readdirSync(join(images, 'with'))

describe('software in guest images', () => {
  const folder = useTempFolder()

  it('is listed as packages, and programs of theirs', () => {
    assert.ok(names.includes('etcd'))
    for (const name of names) {
      assert.match(name, /^[a-z0-9]+$/)
      const lines = readFileSync(join(images, 'with', name), 'utf8').trim().split('\n').filter((line) => !line.startsWith('#'))
      for (const line of lines) assert.match(line, /^(package|program) [a-z0-9][a-z0-9.+-]*$/, `images/with/${name}`)
      for (const word of ['package', 'program']) assert.ok(lines.some((line) => line.startsWith(word)), `images/with/${name} has no ${word}`)
    }
  })

  it('that nobody has listed is refused by name before anything is fetched, with those that are there', () => {
    for (const name of ['nosuch', '../init', '']) {
      const { status, stderr } = spawnSync(join(images, 'build.sh'), [join(folder(), 'image'), name], { encoding: 'utf8' })
      assert.equal(status, 1)
      assert.ok(stderr.includes(`give one of ${names.sort().join(' ')}`), stderr)
    }
    assert.deepEqual(readdirSync(folder()), [])
  })
})
