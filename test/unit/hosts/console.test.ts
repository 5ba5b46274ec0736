import assert from 'node:assert/strict'
import { appendFileSync, closeSync, openSync, readdirSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { boundConsole, readConsole, removeConsole } from '../../../hosts/console.js'
import { useTempFolder } from '../../temp.js'

describe('the console of a VM', () => {
  const folder = useTempFolder()
  const path = () => join(folder(), 'v-1.console')

  it('is empty before the VM has written anything', async () => {
    assert.equal(await readConsole(path(), 100), '')
    writeFileSync(path(), '')
    assert.equal(await readConsole(path(), 100), '')
  })

  it('is shown from the beginning of a line, and from in the middle only where no line begins', async () => {
    writeFileSync(path(), 'one\ntwo\nthree\n')
    for (const [bytes, text] of [
      [14, 'one\ntwo\nthree\n'], [13, 'two\nthree\n'], [10, 'two\nthree\n'], [9, 'three\n'], [6, 'three\n'], [5, 'hree\n'], [1, '\n'],
    ] as const) assert.equal(await readConsole(path(), bytes), text, `${bytes} bytes`)
  })

  it('begins with a whole character', async () => {
    writeFileSync(path(), 'ä€😀xyz')
    for (const [bytes, text] of [[12, 'ä€😀xyz'], [11, '€😀xyz'], [10, '€😀xyz'], [9, '😀xyz'], [7, '😀xyz'], [6, 'xyz'], [4, 'xyz'], [3, 'xyz']] as const) {
      assert.equal(await readConsole(path(), bytes), text, `${bytes} bytes`)
    }
  })

  it('does not grow for ever under a VM that holds it open, and nothing of its end is missing', async () => {
    const held = openSync(path(), 'a') // as QEMU's chardev with append=on
    const lines = Array.from({ length: 500 }, (_, i) => `line ${i}`)
    let cuts = 0
    for (const line of lines) {
      writeSync(held, `${line}\n`)
      if (await boundConsole(path(), 1000)) cuts++
      assert.ok(statSync(path()).size <= 1000)
    }
    closeSync(held)
    assert.ok(cuts >= 4, String(cuts))
    assert.equal(await readConsole(path(), 900), `${lines.slice(-100).join('\n')}\n`)
    assert.ok(readdirSync(folder()).length <= 2)
  })

  it('leaves nothing when its VM is destroyed', async () => {
    writeFileSync(path(), 'x'.repeat(20))
    await boundConsole(path(), 10)
    appendFileSync(path(), 'more')
    await removeConsole(path())
    await removeConsole(path())
    assert.deepEqual(readdirSync(folder()), [])
  })
})
