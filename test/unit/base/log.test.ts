import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { openSync, closeSync } from 'node:fs'
import { resolve } from 'node:path'
import { linesTo } from '../../../base/log.js'

const root = resolve(import.meta.dirname, '..', '..', '..')

describe('the log', () => {
  it('on a full disk costs lines and not the process', () => {
    const full = openSync('/dev/full', 'w')
    const { stdout } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', `
      const { makeLog } = await import('./base/log.ts')
      const log = makeLog('test')
      for (let i = 0; i < 3; i++) log.info('lost')
      setImmediate(() => process.stdout.write('alive'))`], { cwd: root, stdio: ['ignore', 'pipe', full] })
    closeSync(full)
    assert.equal(stdout.toString(), 'alive')
  })

  it('begins a line of its own after one that was torn, and goes on after a short write', () => {
    let [room, kept] = [1_000, '']
    const write = linesTo((bytes) => {
      const fits = Math.min(room, bytes.length, 4)
      if (fits === 0) throw new Error('ENOSPC')
      room -= fits
      kept += bytes.subarray(0, fits).toString()
      return fits
    })
    write('first\n')
    room = 3
    write('second\n')
    write('third\n')
    room = 1_000
    write('fourth\n')
    assert.equal(kept, 'first\nsec\nfourth\n')
  })
})
