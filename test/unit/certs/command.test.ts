import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { loadTrust } from '../../../certs/trust-folder.js'
import { authorize } from '../../../certs/authorize.js'
import { realClock } from '../../../base/time.js'
import { callerOf, freshFolder, read } from './field.js'

const folder = freshFolder()
const script = join(folder, 'certs.mjs')
const url = pathToFileURL(join(import.meta.dirname, '../../../cli/commands/certs.ts')).href
writeFileSync(script, `import { certsCommand } from '${url}'
await certsCommand({ defaultDir: process.argv[2] }).parseAsync(process.argv.slice(3), { from: 'user' })
  .catch((error) => { console.error(error.message); process.exitCode = 1 })\n`)

function certs(...args: string[]) {
  return spawnSync(process.execPath, ['--import', 'tsx', script, join(folder, 'state/federation'), ...args],
    { encoding: 'utf8', timeout: 15_000 })
}

describe('violin certs', () => {
  it('makes a federation, a user and a slice whose credential the aggregate accepts', () => {
    const init = certs('init', '--authority', 'lab.example', '--host', 'a.lab.example', 'b.lab.example', '--json')
    assert.equal(init.status, 0, init.stderr)
    const federation = JSON.parse(init.stdout) as { trust: string; hostnames: string[] }
    assert.deepEqual(federation.hostnames, ['a.lab.example', 'b.lab.example', 'localhost', '127.0.0.1'])
    const user = JSON.parse(certs('user', 'alice', '--json').stdout) as { certificate: string; urn: string }
    const made = certs('slice', 'exp1', '--user', 'alice', '--days', '0.5', '--json')
    const slice = JSON.parse(made.stdout) as { credential: string; urn: string; expires: string }
    const answer = authorize({
      caller: callerOf(user), credentials: [{ type: 'geni_sfa', version: '3', value: read(slice.credential) }],
      operation: 'change', sliceUrn: slice.urn, trust: loadTrust([federation.trust]), now: realClock.now(),
    })
    assert.equal(answer.allowed && answer.owner, user.urn)
    assert.equal(answer.allowed && answer.expires, Date.parse(slice.expires))
  })

  it('says paths in text, and one clear sentence when it refuses', () => {
    const text = certs('user', 'bob').stdout
    assert.match(text, /^made urn:publicid:IDN\+lab.example\+user\+bob\n {2}certificate {2}\/.*bob.pem\n/)
    const again = certs('init')
    assert.equal(again.status, 1)
    assert.match(again.stderr, /not an empty folder; give another --dir or remove it/)
    assert.match(certs('slice', 'x', '--user', 'bob', '--days', 'soon').stderr, /give a number of days/)
  })

  it('explains itself', () => {
    assert.match(certs('--help').stdout, /init[\s\S]*user[\s\S]*slice[\s\S]*Example:/)
    const text = certs('slice', '--help').stdout
    for (const option of ['--user <name>', '--days <n>', '--dir <folder>', '--json']) assert.ok(text.includes(option))
  })
})
