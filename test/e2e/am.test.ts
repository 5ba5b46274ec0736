// The whole program as a user has it: `up`, certificates by the command line, and a client in Python's standard library
// that shares no code with us.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { layoutOf } from '../../cli/up/layout.js'

const root = resolve(import.meta.dirname, '..', '..')
const main = join(root, 'dist', 'cli', 'main.js')

interface Issued { urn: string; certificate: string; key: string; credential: string }

function processesNaming(words: string[]): string[] {
  return readdirSync('/proc').filter((n) => /^\d+$/.test(n) && Number(n) !== process.pid).flatMap((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      return words.some((word) => line.includes(word)) ? [`${pid} ${line}`] : []
    } catch {
      return []
    }
  })
}

describe('an aggregate on this machine', function () {
  this.timeout(300_000)
  const state = mkdtempSync(join(tmpdir(), 've2e-'))
  after(() => rmSync(state, { recursive: true, force: true }))

  it('serves a foreign client through the whole life of a slice, and leaves nothing behind', async () => {
    assert.ok(existsSync(main), 'build first: ./violin --version')
    assert.ok(existsSync(join(root, 'build', 'image', 'image.json')), 'build the guest image first: images/build.sh build/image')
    const up = spawn(process.execPath, [main, 'up', '--state', state, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    const url = await new Promise<string>((ready, fail) => {
      up.once('exit', (code) => fail(new Error(`up ended with ${code ?? '?'}`)))
      up.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        const line = /^ready (\S+)$/m.exec(said)
        if (line) ready(line[1]!)
      })
    })
    const dir = join(state, 'federation')
    const certs = (...words: string[]): Issued => JSON.parse(execFileSync(process.execPath, [main, 'certs', ...words, '--dir', dir, '--json'], { encoding: 'utf8' })) as Issued
    try {
      const second = spawn(process.execPath, [main, 'up', '--state', state], { stdio: ['ignore', 'ignore', 'pipe'] })
      let complaint = ''
      second.stderr.on('data', (chunk: Buffer) => { complaint += chunk.toString() })
      assert.equal(await new Promise((done) => second.once('exit', done)), 1)
      assert.match(complaint, new RegExp(`in use by process ${up.pid!}`))

      const alice = certs('user', 'alice')
      const bob = certs('user', 'bob')
      const slice = certs('slice', 'e2e', '--user', 'alice')
      const client = spawn('python3', [
        join(root, 'test', 'e2e', 'client.py'), url, alice.certificate, alice.key, slice.urn, slice.credential, bob.certificate, bob.key,
        join(root, 'examples', 'two-nodes.rspec'), alice.urn,
      ], { stdio: ['ignore', 'pipe', 'pipe'] })
      let output = ''
      for (const stream of [client.stdout, client.stderr]) stream.on('data', (chunk: Buffer) => { output += chunk.toString() })
      const code = await new Promise((done) => client.once('exit', done))
      assert.equal(code, 0, output)
      assert.ok(output.split('\n').filter((line) => line.startsWith('ok ')).length > 60, output)
    } finally {
      const ended = new Promise((done) => up.once('exit', (code) => done(code)))
      up.kill('SIGTERM')
      assert.equal(await ended, 0)
    }
    assert.match(said, /^ready https:\/\/127\.0\.0\.1:\d+\/am\/3\.0\n$/, 'one line on stdout and no more')
    const { run } = layoutOf(state)
    assert.deepEqual(processesNaming([state, run]), [])
    assert.ok(!existsSync(run), `${run} is left`)
  })
})
