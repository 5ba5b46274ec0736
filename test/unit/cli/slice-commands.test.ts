import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Struct } from '../../../am-plugin/xmlrpc/value.js'
import { Failure } from '../../../base/errors.js'
import { createFederation, issueSlice, issueUser } from '../../../certs/issue.js'
import { useTempFolder } from '../../temp.js'
import { entry, listOf, requestOf, rspecVersion } from '../am-plugin/aggregate.js'
import { dayMs, field, tools } from '../certs/field.js'
import { answered, cli, fakeTools } from './slice-tools.js'

const exp1 = ['--user', 'alice', '--slice', 'exp1']

describe('violin slice', () => {
  const folder = useTempFolder()
  const request = () => {
    const file = join(folder(), 'two.rspec')
    writeFileSync(file, requestOf(['a', 'b']))
    return file
  }
  const fresh = () => cli(join(folder(), 'state'))

  it('create allocates, provisions for the key of the user, boots, and tells the logins', async () => {
    const v = await fresh()
    v.time.onSleep = () => v.am.settle(v.am.queue.added.at(-1)?.kind === 'provision' ? 'geni_notready' : 'geni_ready')
    const said = await v.run('create', 'exp1', request(), '--user', 'alice', '--json')
    assert.equal(said.code, 0, said.out + said.err)
    assert.deepEqual(v.am.queue.added.map((o) => o.kind), ['provision', 'start'])
    const { slivers } = await v.am.record()
    assert.match(slivers[0]!.logins[0]!.keys[0]!, /^ssh-rsa AAAAB3NzaC1yc2E\S+ geni$/)
    const nodes = said.json['nodes'] as { name: string; login: object }[]
    assert.deepEqual(nodes.map((n) => [n.name, n.login]), slivers.map((s) => [s.clientId, { host: 'am.lab.example', port: s.loginPort, username: 'alice' }]))
    assert.match((await v.run('status', ...exp1)).out, /^slice exp1, until .*\nNODE +STATE .*\na +geni_ready +alice@am.lab.example:\d+ /)
  })

  it('create takes back what it has allocated when it cannot be provisioned', async () => {
    const v = await fresh()
    v.instead.of = (method) => (method === 'Provision' ? Promise.resolve({ code: { geni_code: 6 }, value: '', output: 'no room' }) : undefined)
    const said = await v.run('create', 'exp1', request(), '--user', 'alice')
    assert.deepEqual([said.code, said.err], [1, 'violin: no room\n'])
    assert.deepEqual((await v.am.record()).slivers, [])
  })

  it('create tells which node has failed and how to see its last words', async () => {
    const v = await fresh()
    v.time.onSleep = () => v.am.settle(v.am.queue.added.at(-1)?.kind === 'start' ? 'geni_failed' : undefined)
    const said = await v.run('create', 'exp1', request(), '--user', 'alice')
    assert.match(said.err, /^violin: a has failed: .*; its last words: violin slice console a --slice exp1/)
    assert.equal(said.code, 1)
  })

  it('snapshot waits for the end of its operation, and tells the snapshot; a failed one is an error with its reason', async () => {
    const v = await fresh()
    await v.am.ready()
    v.time.onSleep = async () => {
      const holder = (await v.am.record()).operation
      const id = holder ? (await v.am.store.operation(holder.id))!.params.snapshot! : ''
      if (id !== '') await v.am.store.saveSnapshots(v.am.sliceUuid, [entry(id, { name: 'one' })])
      await v.am.settle('geni_ready')
    }
    const said = await v.run('snapshot', '--name', 'one', ...exp1)
    assert.match(said.out, /^took snapshot one \(s-[0-9a-f]{12}\): 2\.8 GiB, longest pause 8\.0 ms\n$/)
    v.time.onSleep = async () => {
      const id = (await v.am.record()).operation?.id
      const operation = id === undefined ? undefined : await v.am.store.operation(id)
      if (operation) await v.am.store.saveOperation({ ...operation, state: 'failed', error: 'the disk is full', ended: 'now' })
    }
    const failed = await v.run('snapshot', '--name', 'two', ...exp1, '--json')
    assert.deepEqual([failed.code, failed.json], [1, { error: 'the snapshot has failed: the disk is full', code: 2 }])
  })

  it('report shows what a snapshot has cost, per node and per port; without a word the latest', async () => {
    const v = await fresh()
    await v.am.ready()
    assert.match((await v.run('report', ...exp1)).err, /^violin: the slice exp1 has no snapshot yet: violin slice list --slice exp1/)
    const figures: Parameters<typeof entry>[1] = {
      name: 'second', note: 'why', parent: 's-1', digest: 'abc', savingMs: { a: 251 }, memoryBytes: 2 * 1024 ** 3, diskBytes: 5 * 1024 ** 2, channelBytes: 2048,
      ports: [{ port: 'a:if0', framesHeld: 3, longestHoldMs: 9.5, framesPutBack: 1 }], framesDropped: { 'a -> b': 7 },
    }
    await v.am.store.saveSnapshots(v.am.sliceUuid, [entry('s-1', { name: 'first' }), entry('s-2', figures), entry('s-3', { kind: 'suspend', pauseMs: {} })])
    const { out, code } = await v.run('report', 'second', ...exp1)
    assert.equal(code, 0)
    for (const line of [
      /^snapshot {3}s-2 \(second\): why\ntaken {6}\S+ \S+, user, mode live, after first\ncommitted {2}after 0\.8 s\n/,
      /\nwritten {4}2\.8 GiB: memory 2\.0 GiB, disks 5 MiB, frames in transit 2 KiB\ncuts {7}0\.3 ms between the first and the last\n/,
      /\nheld {7}3, the longest for 9\.5 ms\nrecorded {3}4 frames in transit, 5 of them taken back from devices\n/,
      /\ndropped {4}from the running slice: a -> b 7\ndigest {5}abc\n\nNODE {2}PAUSE +WRITES SLOWED FOR\na +7\.5 ms +251\.0 ms\nb +8\.0 ms +-\n/,
      /\nPORT +FRAMES HELD +LONGEST HOLD +TAKEN BACK\na:if0 +3 +9\.5 ms +1\n$/,
    ]) assert.match(out, line)
    assert.match((await v.run('report', ...exp1)).out, /^snapshot {3}s-3\n[^]*\nno node ran on: it was a suspension\n$/)
    const { json } = await v.run('report', 's-2', '--json', ...exp1)
    assert.deepEqual((json['snapshot'] as { ports: object[] }).ports, [{ port: 'a:if0', framesHeld: 3, longestHoldMs: 9.5, framesPutBack: 1 }])
    assert.match((await v.run('report', 's-9', ...exp1)).err, /the slice exp1 has no snapshot s-9: violin slice list/)
  })

  it('list shows a table with the newest last, the present one marked, parents by name', async () => {
    const v = await fresh()
    await v.am.ready()
    assert.match((await v.run('list', ...exp1)).out, /^the slice exp1 has no snapshot yet: violin slice snapshot --slice exp1/)
    await v.am.store.saveSnapshots(v.am.sliceUuid, [entry('s-1', { name: 'first' }), entry('s-2', { parent: 's-1', origin: 'policy' })])
    await v.am.store.update(v.am.sliceUrn, (r) => ({ ...r, head: 's-2' }))
    const lines = (await v.run('list', ...exp1)).out.split('\n')
    assert.match(lines[0]!, /^ +ID +NAME +CREATED +ORIGIN +SIZE +PAUSE +PARENT +NOTE$/)
    assert.match(lines[1]!, /^ {3}s-1 +first +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +user +2\.8 GiB +8\.0 ms$/)
    assert.match(lines[2]!, /^\* {2}s-2 .* policy +2\.8 GiB +8\.0 ms +first$/)
    const rows = (await v.run('list', ...exp1, '--json')).json['snapshots'] as Struct[]
    assert.deepEqual(rows.map((r) => [r['id'], r['current'], r['bytes'], r['longestPauseMs']]), [['s-1', false, 3e9, 8], ['s-2', true, 3e9, 8]])
  })

  it('start, stop and restart take names of nodes, and refuse one that is not there', async () => {
    const v = await fresh()
    const { slivers } = await v.am.ready()
    v.time.onSleep = () => v.am.settle('geni_notready')
    assert.equal((await v.run('stop', 'b', ...exp1)).out, 'b: stopped\n')
    assert.deepEqual(v.am.queue.added[0]!.params.slivers, [slivers[1]!.id])
    assert.equal((await v.run('stop', 'c', ...exp1)).err, 'violin: the slice exp1 has no node c: it has a, b\n')
    v.time.onSleep = () => v.am.settle('geni_ready')
    assert.equal((await v.run('start', ...exp1)).out, 'a, b: up\n')
  })

  it('renew takes a span or a date; where the credential is too short it says how to get a longer one', async () => {
    const v = await fresh()
    await v.am.ready()
    assert.match((await v.run('renew', '2d', ...exp1, '--json')).out, new RegExp(new Date(v.time.at + 2 * dayMs).toISOString().slice(0, 16)))
    const far = await v.run('renew', '20d', ...exp1)
    assert.match(far.err, /is the latest that your credential and this aggregate allow; a longer credential: violin certs slice exp1 --user alice --days 30/)
    assert.match((await v.run('renew', 'soon', ...exp1)).err, /^violin: expiration_time "soon" is not a date/)
  })

  it('delete leaves nothing', async () => {
    const v = await fresh()
    await v.am.ready()
    assert.equal((await v.run('delete', ...exp1)).out, 'the slice exp1 and its snapshots are deleted\n')
    assert.deepEqual(await v.run('status', ...exp1, '--json').then((s) => s.json['code']), 12)
  })

  it('policy shows, and sets from a file or from standard input', async () => {
    const v = await fresh()
    await v.am.ready()
    assert.match((await v.run('policy', ...exp1)).out, /^the slice exp1 has no policy/)
    const xml = '<rspec_checkpoint xmlns="urn:geni-violin:rspec:ext:checkpoint:1" interval="PT9S"/>'
    writeFileSync(join(folder(), 'policy.xml'), xml)
    assert.match((await v.run('policy', join(folder(), 'policy.xml'), ...exp1)).out, /interval="PT9S"/)
    v.tools.stdin = async () => xml.replace('PT9S', 'PT8S')
    assert.match((await v.run('policy', '-', ...exp1)).out, /interval="PT8S"/)
    assert.match((await v.run('policy', '/none', ...exp1)).err, /^violin: the policy \/none: there is no such file\n$/)
  })

  it('events are shown as they come, console by node; nothing of them steers the terminal', async () => {
    const v = await fresh()
    const { slivers } = await v.am.ready()
    const asked: Struct[] = []
    v.instead.of = (method, params) => {
      if (method !== 'PerformOperationalAction' || !['violin_events', 'violin_console'].includes(params[2] as string)) return undefined
      asked.push(params[3] as Struct)
      return Promise.resolve(answered(slivers.map((s, i) => ({
        geni_sliver_urn: s.urn, violin_console: `login on ${s.clientId}\u009b2J\n`,
        ...(i === 0 ? { violin_events: [{ at: '2026-03-01T12:00:00Z', kind: 'snapshot', text: 'taken', op: 'o-1', who: 'urn:publicid:IDN+x+user+alice', node: '' }] } : {}),
      }))))
    }
    const events = await v.run('events', '--count', '5', ...exp1)
    assert.match(events.out, /^AT +KIND +NODE +WHO +WHAT\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +snapshot +alice +taken\n$/)
    assert.equal((await v.run('console', 'b', '--bytes', '300', ...exp1)).out, 'login on b2J\n')
    assert.deepEqual(asked, [{ violin_count: 5 }, { violin_bytes: 300 }])
    assert.match((await v.run('console', ...exp1)).out, /^==> a <==\nlogin on a2J\n==> b <==\n/)
    assert.match((await v.run('events', '--count', '0', ...exp1)).err, /give a number from 1 up/)
  })

  it('events are those that the aggregate keeps', async () => {
    const v = await fresh()
    await v.am.ready()
    await v.run('stop', 'a', ...exp1)
    const events = (await v.run('events', ...exp1, '--json')).json['events'] as Struct[]
    assert.ok(events.some((e) => e['kind'] === 'operation-begun' && /stop/.test(e['text'] as string) && /alice/.test(e['who'] as string)), JSON.stringify(events))
  })

  it('rollback names snapshot and wishes, and tells what it has kept', async () => {
    const v = await fresh()
    await v.am.ready()
    await v.am.store.saveSnapshots(v.am.sliceUuid, [entry('s-1', { name: 'first' })])
    v.time.onSleep = async () => {
      const id = (await v.am.record()).operation?.id
      const first = id === undefined ? undefined : (await v.am.store.operation(id))!.params.first
      if (first) await v.am.store.saveSnapshots(v.am.sliceUuid, [entry('s-1', { name: 'first' }), entry(first.snapshot, { name: first.name!, note: first.note! })])
      await v.am.settle('geni_ready')
    }
    const said = await v.run('rollback', 'first', '--snapshot-first', '--name', 'kept', '--note', 'why', ...exp1)
    assert.match(said.out, /^kept what was before as snapshot kept \(s-[0-9a-f]{12}\)\n/)
    const { params } = v.am.queue.added[0]!
    assert.deepEqual([params.snapshot, params.first!.name, params.first!.note], ['s-1', 'kept', 'why'])
    assert.match((await v.run('list', ...exp1)).out, /kept +\d{4}.* why\n$/)
    assert.match((await v.run('rollback', '--note', 'x', ...exp1)).err, /violin_note is for the snapshot that violin_snapshot_first takes/)
  })

  it('ssh runs ssh with the key of the user, and its exit code is ours', async () => {
    const v = await fresh()
    await v.run('create', 'exp1', request(), '--user', 'alice')
    const port = (await v.am.record()).slivers[1]!.loginPort
    const said = await v.run('ssh', 'b', ...exp1, '--', 'uname', '-a')
    assert.equal(said.code, 7)
    const [words] = v.ran
    assert.deepEqual([words![0], words!.slice(-6)], ['ssh', ['-p', String(port), 'alice@am.lab.example', '--', 'uname', '-a']])
    assert.match(words!.join(' '), /-i \S+\/users\/alice\.key -o IdentitiesOnly=yes/)
    const other = await v.run('ssh', 'b', '--user', 'bob', '--slice', 'exp1')
    assert.match(other.err, /bob has no credential for a slice exp1: there is none yet/)
  })

  it('Ctrl-C stops the waiting and not the operation: it says so and how to see it', async () => {
    const v = await fresh()
    await v.am.ready()
    v.time.onSleep = () => { v.interrupt() }
    const said = await v.run('suspend', ...exp1)
    assert.match(said.err, /^violin: no longer waiting: the suspension goes on at the aggregate; to see how it is: violin slice status --slice exp1/)
    assert.equal(said.code, 130)
    assert.equal((await v.am.record()).operation!.kind, 'suspend')
    assert.equal(v.instead.closed, 1)
  })

  it('while it waits it tells state and seconds: after two seconds, then every five, and rewritten on a terminal', async () => {
    for (const isTTY of [false, true]) {
      const v = await fresh()
      rmSync(join(folder(), 'state'), { recursive: true })
      await v.am.ready()
      const begun = v.time.at
      v.tools.err.isTTY = isTTY
      v.time.onSleep = () => (v.time.at - begun > 9_000 ? v.am.settle('geni_notready') : undefined)
      mkdirSync(join(folder(), 'state'))
      symlinkSync((await field()).pristine, join(folder(), 'state', 'federation'))
      const said = await v.run('stop', ...exp1, '--am', 'https://127.0.0.1:1/')
      rmSync(join(folder(), 'state'), { recursive: true })
      if (isTTY) assert.match(said.err, /\r\x1b\[Kviolin: the stop of exp1: 2 of 2 geni_stopping \(8 s\)(\r\x1b\[Kviolin: [^\r]*)*\r\x1b\[K$/) // eslint-disable-line no-control-regex
      else assert.match(said.err, /^violin: the stop of exp1: 2 of 2 geni_stopping \(2 s\)\nviolin: the stop of exp1: 2 of 2 geni_stopping \(7 s\)\n$/)
      assert.equal(said.out, 'a, b: stopped\n')
    }
  })

  it('an aggregate that is away for a moment is waited for', async () => {
    const v = await fresh()
    await v.am.ready()
    let away = 30
    v.instead.of = (method) => {
      if (method === 'Status' && away-- > 0) throw new Failure('failed', 'no connection', { cause: new Error('ECONNREFUSED') })
      return undefined
    }
    v.time.onSleep = () => v.am.settle('geni_notready')
    assert.equal((await v.run('stop', ...exp1)).out, 'a, b: stopped\n')
    away = 1e9
    await v.am.settle('geni_ready')
    assert.match((await v.run('stop', ...exp1)).err, /violin: no connection: ECONNREFUSED\n$/)
  })

  it('Delete by somebody else ends the waiting with a sentence', async () => {
    const v = await fresh()
    await v.am.ready()
    v.time.onSleep = async () => { await v.am.on('Delete', {}) }
    assert.match((await v.run('snapshot', ...exp1)).err, /^violin: slice urn:publicid:IDN\+lab\.example\+slice\+exp1 has no slivers here\n$/)
  })

  it('every command has an example in its help, and --json', async () => {
    const v = await fresh()
    const help = (await v.run('--help')).out
    const names = [...help.matchAll(/^ {2}([a-z][a-z-]+) /gm)].map((m) => m[1]!).filter((name) => name !== 'violin')
    assert.ok(names.length > 16, help)
    for (const name of names.filter((n) => n !== 'help')) {
      const { out } = await v.run(name, '--help')
      assert.match(out, new RegExp(`--json[^]*\\nExample:\\n {2}.*violin slice ${name}`), name)
    }
  })
})

describe('violin slice finds the aggregate, the user and the slice', () => {
  const folder = useTempFolder()
  const state = () => join(folder(), 'state')

  it('names what there is to choose from', async () => {
    const v = await cli(state())
    assert.match((await v.run('status')).err, /there are several users: choose one with --user: alice, bob/)
    assert.match((await v.run('status', '--user', 'carol')).err, /there is no user carol in .*: it has alice, bob/)
    assert.match((await v.run('status', '--user', 'alice')).err, /alice has several slices: choose one with --slice: exp1, exp2/)
    assert.match((await v.run('status', '--user', 'alice', '--slice', 'x')).err, /alice has no credential for a slice x: it has exp1, exp2/)
    assert.match((await v.run('status', '--user', 'bob')).err, /bob has no slice yet/)
    assert.equal(v.instead.calls.length, 0)
  })

  it('without an aggregate, or without a federation, it says how to start one', async () => {
    const v = await cli(state())
    rmSync(join(state(), 'url'))
    assert.match((await v.run('status', ...exp1)).err, /no aggregate is up on .*: start one with "violin up"/)
    const none = await v.run('list', '--state', join(folder(), 'none'), '--json')
    assert.deepEqual([none.code, none.json['code']], [1, 12])
    assert.match(none.json['error'] as string, /no test federation in .*none.*violin up/)
    v.instead.of = () => { throw new Failure('failed', 'no connection', { cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }) }) }
    const gone = await v.run('status', ...exp1, '--am', 'https://127.0.0.1:9/am/3.0')
    assert.match(gone.err, /no aggregate answers at https:\/\/127\.0\.0\.1:9\/am\/3\.0: start it with violin up --state/)
    assert.match((await v.run('status', ...exp1, '--am', 'nonsense')).err, /--am nonsense is no URL/)
  })

  it('the first create makes user and credential and says so; the second takes them; nothing is made for a request that is not there', async () => {
    await createFederation(join(state(), 'federation'), { ...tools, authority: 'lab.example', hostnames: [] })
    const v = await cli(state(), { empty: true })
    v.time.at = tools.clock.now()
    const made = () => readdirSync(join(state(), 'federation', 'slices'))
    const missing = await v.run('create', 'myslice', join(folder(), 'none.rspec'))
    assert.match(missing.err, /^violin: the request .*none\.rspec: there is no such file\n$/)
    assert.deepEqual(made(), [])
    writeFileSync(join(folder(), 'r.rspec'), requestOf(['a']))
    const first = await v.run('create', 'myslice', join(folder(), 'r.rspec'))
    assert.match(first.err, /^violin: made the user experimenter in the test federation: .*\nviolin: made a credential of experimenter for the slice myslice, good for 7 days: /)
    assert.deepEqual(made(), ['myslice.experimenter-cred.xml', 'myslice.pem'])
    const second = await v.run('create', 'MYslice', join(folder(), 'r.rspec'))
    assert.ok(!second.err.includes('made '), second.err)
    assert.match((await v.run('create', '../x', join(folder(), 'r.rspec'))).err, /cannot be a slice's name/)
  })

  it('a credential that has ended is told, and create makes another', async () => {
    await createFederation(join(state(), 'federation'), { ...tools, authority: 'lab.example', hostnames: [] })
    await issueUser(join(state(), 'federation'), 'eve', tools)
    await issueSlice(join(state(), 'federation'), 'eve', 'old', { ...tools, lifeMs: 1000 })
    const v = await cli(state(), { empty: true })
    v.time.at += 2000
    assert.match((await v.run('status')).err, /the credential of eve for old ended at .*: violin certs slice old --user eve/)
    writeFileSync(join(folder(), 'r.rspec'), requestOf(['a']))
    assert.match((await v.run('create', 'old', join(folder(), 'r.rspec'))).err, /^violin: made a credential of eve for the slice old/)
  })

  it('a user of another federation needs all four files, and the credential is for the slice that is meant', async () => {
    const { alice, slice, federation } = await field()
    const v = await cli(state(), { empty: true })
    await v.am.ready()
    const files = ['--key', alice.key, '--cert', alice.certificate, '--ca', federation.trust, '--credential', slice.credential]
    const am = ['--am', 'https://am.lab.example:8443/am/3.0']
    assert.match((await v.run('status', ...files, ...am)).out, /^slice exp1,/)
    assert.match((await v.run('status', ...files.slice(0, 4), ...am)).err, /^violin: --ca, --credential missing: a foreign federation needs/)
    assert.match((await v.run('status', ...files, ...am, '--slice', 'exp2')).err, /is for the slice exp1, not for exp2/)
    assert.match((await v.run('create', 'other', '/dev/null', ...files, ...am)).err, /is for the slice exp1, not for other/)
    assert.match((await v.run('status', ...files, ...am, '--credential', alice.key)).err, /is no slice credential/)
    const refusedByAm = fakeTools(state(), () => { throw new Error('not reached') })
    assert.match((await refusedByAm.run('status', ...files, ...am, '--cert', alice.key)).err, /is no certificate of a GENI user/)
  })

  it('asks for manifests as the AM API wants it', async () => {
    const v = await cli(state())
    await v.am.ready()
    await v.run('status', ...exp1)
    const describe = v.instead.calls.find((c) => c.method === 'Describe')!
    assert.deepEqual(describe.params[2], { geni_rspec_version: { ...rspecVersion['geni_rspec_version'] as Struct } })
    assert.equal(listOf((await v.am.on('Describe', rspecVersion)).value).length, 2)
  })
})
