// The list of fault points against the source: whoever adds one adds it to the matrix and to the simulation.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { armFaults, faultPoint } from '../../../base/fault-points.js'
import { imagePoints, points, severalHostPoints } from '../../faults/points.js'

const phases: Record<string, string[]> = {
  next: ['preparing', 'prepared', 'cutting', 'saved', 'sealing', 'sealed', 'ending', 'done', 'voiding', 'void'],
  state: ['preparing', 'cutting', 'sealing', 'deciding', 'telling', 'over'],
}

function pointsOf(source: string): string[] {
  return [...source.matchAll(/faultPoint\((?:'([^']+)'|`([^`$]+)\$\{(\w+)\.phase\}`)\)/g)]
    .flatMap(([, name, begin, whose]) => (name === undefined ? phases[whose!]!.map((phase) => `${begin!}${phase}`) : [name]))
}

describe('fault points', () => {
  const files = execFileSync('git', ['ls-files', '*.ts'], { encoding: 'utf8' }).trim().split('\n').filter((f) => !f.startsWith('test/') && f !== 'base/fault-points.ts')
  const texts = files.filter((f) => existsSync(f)).map((file) => readFileSync(file, 'utf8'))

  it('are all in the list, and the list has no others', () => {
    const named = texts.flatMap(pointsOf)
    assert.equal(new Set(named).size, named.length, 'a name is used once')
    const listed = [...points.map((p) => p.name).filter((name) => name !== 'idle'), ...imagePoints, ...severalHostPoints]
    assert.deepEqual(named.sort(), listed.sort())
    const calls = texts.reduce((n, text) => n + (text.match(/faultPoint\(/g)?.length ?? 0), 0)
    assert.equal(calls, texts.reduce((n, text) => n + [...text.matchAll(/faultPoint\((?:'[^']+'|`[^`]+`)\)/g)].length, 0), 'each is called with its name')
  })

  it('carry out an order once, and do nothing without one', () => {
    const folder = mkdtempSync(join(tmpdir(), 'vpoint-'))
    try {
      faultPoint('here') // not armed
      armFaults(folder)
      writeFileSync(join(folder, 'here'), `${process.pid} SIGCONT`)
      faultPoint('elsewhere')
      assert.ok(!existsSync(join(folder, 'here.hit')))
      faultPoint('here')
      assert.ok(existsSync(join(folder, 'here.hit')) && !existsSync(join(folder, 'here')))
    } finally {
      armFaults(undefined)
      rmSync(folder, { recursive: true })
    }
  })
})
