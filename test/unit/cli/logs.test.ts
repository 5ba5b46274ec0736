import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { realClock as clock, until } from '../../../base/time.js'
import { boundLogs } from '../../../cli/up/logs.js'
import { useTempFolder } from '../../temp.js'

const bounds = { bytes: 1000, older: 4 }

describe('the logs of an aggregate', () => {
  const folder = useTempFolder()
  const said: string[] = []
  const say = (line: string) => { said.push(line) }
  beforeEach(() => { said.length = 0 })
  const path = (name: string) => join(folder(), name)
  const lines = (...names: string[]) => names.flatMap((name) => readFileSync(path(name), 'utf8').split('\n').filter((line) => line !== ''))

  it('stay bounded under a process that holds them open, and no line of what is kept is missing or cut', async () => {
    const held = openSync(path('worker.log'), 'a')
    for (let i = 0; i < 1000; i++) {
      writeSync(held, `line ${i} of the log\n`)
      await boundLogs(folder(), say, bounds)
    }
    closeSync(held)
    assert.deepEqual(readdirSync(folder()).sort(), ['worker.log', 'worker.log.1', 'worker.log.2', 'worker.log.3', 'worker.log.4'])
    for (const name of readdirSync(folder())) assert.ok(statSync(path(name)).size <= 1020, name)
    const kept = lines('worker.log.4', 'worker.log.3', 'worker.log.2', 'worker.log.1', 'worker.log')
    assert.ok(kept.length > 200, String(kept.length))
    assert.deepEqual(kept, Array.from({ length: kept.length }, (_, i) => `line ${1000 - kept.length + i} of the log`))
    assert.deepEqual(said, [])
  })

  it('lose next to nothing of another process that writes all the time', async () => {
    const held = openSync(path('am.log'), 'a')
    const writer = spawn(process.execPath, ['-e', `
      const { writeSync } = require('node:fs')
      let n = 0
      const some = () => { for (let i = 0; i < 20; i++) writeSync(2, String(n++).padStart(19, '0') + '\\n'); if (n < 4000) setTimeout(some, 1) }
      some()`], { stdio: ['ignore', 'ignore', held] })
    closeSync(held)
    const ended = new Promise<number | null>((done) => writer.once('exit', done))
    const whole = { older: 100, bytes: 10_000 }
    let over = false
    void ended.then(() => { over = true })
    await until(clock, 30_000, 1, async () => {
      await boundLogs(folder(), say, whole)
      return over ? true : undefined
    })
    assert.equal(await ended, 0)
    const numbers = readdirSync(folder()).flatMap((name) => lines(name)).map((line) => {
      assert.match(line, /^\d{19}$/)
      return Number(line)
    })
    assert.ok(readdirSync(folder()).length > 3, 'nothing was moved')
    assert.equal(new Set(numbers).size, numbers.length, 'no line comes twice')
    assert.ok(numbers.length > 3800, `${4000 - numbers.length} of 4000 lines were lost`)
  })

  it('that are small, and files that are no logs, are left alone', async () => {
    writeFileSync(path('am.log'), 'x'.repeat(1000))
    writeFileSync(path('notes.txt'), 'x'.repeat(5000))
    await boundLogs(folder(), say, bounds)
    assert.deepEqual(readdirSync(folder()).sort(), ['am.log', 'notes.txt'])
  })

  it('of which one cannot be bounded: that is said, it is as it was, and the others are', async () => {
    writeFileSync(path('am.log'), 'x'.repeat(1001))
    writeFileSync(path('worker.log'), 'y'.repeat(1001))
    mkdirSync(path('am.log.1.new')) // in the way
    await boundLogs(folder(), say, bounds)
    assert.equal(said.length, 1)
    assert.match(said[0]!, /^the log .*am\.log cannot be bounded: EISDIR/)
    assert.equal(readFileSync(path('am.log'), 'utf8').length, 1001)
    assert.deepEqual([statSync(path('worker.log')).size, statSync(path('worker.log.1')).size, existsSync(path('am.log.1'))], [0, 1001, false])
  })
})
