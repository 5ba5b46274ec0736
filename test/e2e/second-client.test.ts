// A second client in CI: Python's standard library and no line shared with us. It walks the calls that real clients of v3
// and v2 make, against the whole program, and names each rule that it finds kept (docs/am-api.md).
import assert from 'node:assert/strict'
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')
const folder = join(root, 'test', 'e2e', 'second-client')

/** What each walk must have looked at: a walk that passes over a rule must not pass. */
const rules = {
  'v3.py': '1 2 3 4 5 6 7 8 8a 8b 9 10 11 12 13 15 16 17 18 19 20 21 22 23 24 25 26 30',
  'v2.py': '1 2 3 4 5 6 7 8 8b 9 11 12 13 15 16 17 18 19 20 21 22 23 24 25 26 30',
}

describe('a second client, against simulated VMs', function () {
  this.timeout(300_000)
  const state = mkdtempSync(join(tmpdir(), 'v2nd-'))
  let up: ChildProcess
  let url = ''
  before(async () => {
    assert.ok(existsSync(main), 'build first: ./violin --version')
    const words = ['up', '--state', state, '--listen', '127.0.0.1:0', '--hypervisor', 'simulated']
    const started = spawn(process.execPath, [main, ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
    up = started
    let said = ''
    url = await new Promise<string>((ready, fail) => {
      started.once('exit', (code) => fail(new Error(`up ended with ${code ?? '?'}`)))
      started.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        const line = /^ready (https:\/\/[^/]+)/m.exec(said)
        if (line) ready(line[1]!)
      })
    })
  })
  after(async () => {
    const ended = new Promise((done) => up.once('exit', done))
    up.kill('SIGTERM')
    await ended
    rmSync(state, { recursive: true, force: true })
  })

  for (const [script, expected] of Object.entries(rules)) {
    it(`${script} finds every rule kept`, async () => {
      const certs = (...words: string[]): unknown =>
        JSON.parse(execFileSync(process.execPath, [main, 'certs', ...words, '--dir', join(state, 'federation'), '--json'], { encoding: 'utf8' }))
      const name = script.replace('.py', '')
      const [alice, bob] = [certs('user', `alice${name}`), certs('user', `bob${name}`)]
      const [first, second] = ['one', 'two'].map((slice) => certs('slice', slice + name, '--user', `alice${name}`, '--days', '7'))
      const given = { url, alice, bob, first, second }
      const file = join(state, `${name}.json`)
      writeFileSync(file, JSON.stringify(given))
      const client = spawn('python3', ['-B', join(folder, script), file], { stdio: ['ignore', 'pipe', 'pipe'] })
      let output = ''
      for (const stream of [client.stdout, client.stderr]) stream.on('data', (chunk: Buffer) => { output += chunk.toString() })
      const code = await new Promise((done) => client.once('exit', done))
      assert.equal(code, 0, output)
      assert.equal(/^rules asserted: (.*)$/m.exec(output)?.[1], expected, output)
    })
  }
})
