// The operators' commands before the in-process aggregate, which sees the certificate that the command shows.
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { AmClient, AmClientOptions } from '../../../cli/am-client.js'
import { unwrap } from '../../../cli/am-client.js'
import { expireCommand, shutdownCommand } from '../../../cli/operator/acting.js'
import { slicesCommand, sliversCommand, whoCommand } from '../../../cli/operator/telling.js'
import { sentenceOf } from '../../../cli/slice/errors.js'
import type { SliceTools } from '../../../cli/slice/tools.js'
import { splitPem } from '../../../certs/certificate.js'
import { issueSlice } from '../../../certs/issue.js'
import { useTempFolder } from '../../temp.js'
import { aggregate, ok, requestOf } from '../am-plugin/aggregate.js'
import { dayMs, field, read, tools as issuing } from '../certs/field.js'
import { fakeTools } from './slice-tools.js'

describe('the operators\' commands', () => {
  const folder = useTempFolder()
  const state = () => join(folder(), 'state')

  async function operators({ named }: { named?: string[] } = {}) {
    const am = await aggregate()
    const { pristine, federation, bob } = await field()
    Object.assign(am.parts, { operators: named ?? [] })
    mkdirSync(state())
    writeFileSync(join(state(), 'url'), 'https://127.0.0.1:8443/am/3.0\n')
    cpSync(pristine, join(state(), 'federation'), { recursive: true })
    await am.ready(['a', 'b'])
    const bobs = await issueSlice(federation.dir, 'bob', 'bobs', { ...issuing, lifeMs: dayMs })
    const credential = [{ geni_type: 'geni_sfa', geni_version: '3', geni_value: read(bobs.credential) }]
    ok(await am.call('Allocate', [bobs.urn, credential, requestOf(['x']), {}], { peer: splitPem(read(bob.certificate)) }))
    const connect = (options: AmClientOptions): AmClient => {
      const call = async (method: string, params: Parameters<typeof am.call>[1]) => (await am.call(method, params, { peer: splitPem(options.cert) })).whole
      return { call, geni: async (method, params) => unwrap(method, await call(method, params)), close: () => undefined }
    }
    const run = async (make: (tools: SliceTools) => Command, ...words: string[]) => {
      let out = ''
      let code = 0
      const { tools } = fakeTools(state(), connect)
      const command = make({ ...tools, out: (text) => { out += text }, exit: (c) => { code = c } })
      await command.parseAsync(words, { from: 'user' }).catch((error: unknown) => {
        out += sentenceOf(error) ?? String(error)
        code = 1
      })
      return { out, code, json: words.includes('--json') ? JSON.parse(out) as Record<string, unknown> : {} }
    }
    return { am, run, bobs }
  }

  it('show every slice and sliver and whose they are, as a table and as JSON', async () => {
    const { am, run, bobs } = await operators()
    const { out } = await run(slicesCommand)
    assert.match(out, /^SLICE +CREATOR +NODES +STATES +SNAPSHOTS +FIRST END\nbobs +bob +1 +1 geni_pending_allocation +- +\S+ \S+\nexp1 +alice +2 +2 geni_ready +- +\S+ \S+\n$/)
    const { json } = await run(slicesCommand, '--json')
    const slices = json['slices'] as { urn: string; creator: string; shutdown: boolean; slivers: { node: string; memoryMiB: number }[] }[]
    assert.deepEqual(slices.map((s) => [s.urn, s.shutdown, s.slivers.map((v) => v.node)]), [[bobs.urn, false, ['x']], [am.sliceUrn, false, ['a', 'b']]])
    assert.match((await run(sliversCommand)).out, /\nv-\S+ +bobs +x +geni_allocated +local +\d+ MiB +\d+ [^]*\nv-\S+ +exp1 +a +geni_ready/)
    const some = (await run(sliversCommand, 'EXP1', '--json')).json['slivers'] as { node: string }[]
    assert.deepEqual(some.map((s) => s.node), ['a', 'b'])
    const people = (await run(whoCommand, '--json')).json['people'] as { urn: string; slices: string[]; nodes: number }[]
    assert.deepEqual(people.map((p) => [p.urn, p.slices, p.nodes]), [
      ['urn:publicid:IDN+lab.example+user+alice', [am.sliceUrn], 2], ['urn:publicid:IDN+lab.example+user+bob', [bobs.urn], 1],
    ])
    assert.match((await run(whoCommand)).out, /^USER +SLICES +NODES/)
  })

  it('see slices of more than one page', async () => {
    const { am, run } = await operators()
    const one = await am.record()
    for (let i = 0; i < 1_200; i++) await am.store.create({ ...one, urn: `urn:publicid:IDN+lab.example+slice+many${i}`, uuid: `u-${i}`, slivers: one.slivers.slice(0, 1) })
    const slices = (await run(slicesCommand, '--json')).json['slices'] as { urn: string }[]
    assert.equal(new Set(slices.map((s) => s.urn)).size, 1_202)
  })

  it('shut a slice down once, and end leases of a whole slice or of some nodes', async () => {
    const { am, run } = await operators()
    assert.match((await run(shutdownCommand, 'exp1')).out, /slice\+exp1 is shut down/)
    assert.equal((await am.record()).shutdown, true)
    assert.equal(am.queue.added.filter((o) => o.kind === 'shutdown').length, 1)
    assert.match((await run(shutdownCommand, 'exp1')).out, /was shut down before/)
    assert.equal(am.queue.added.filter((o) => o.kind === 'shutdown').length, 1)
    assert.match((await run(slicesCommand)).out, /exp1 .* shut down, shutdown under way\n/)
    assert.match((await run(expireCommand, am.sliceUrn, '--node', 'b')).out, /the lease of b of .*exp1 has ended/)
    const ends = async () => (await am.record()).slivers.map((s) => Date.parse(s.expires) <= am.time.at)
    assert.deepEqual(await ends(), [false, true])
    assert.deepEqual((await run(expireCommand, 'exp1', '--json')).json, { slice: am.sliceUrn, nodes: ['a', 'b'] })
    assert.deepEqual(await ends(), [true, true])
    const events = await am.store.events(am.sliceUuid, 10)
    assert.ok(events.some((e) => e.text === 'an operator has ended the lease of b' && e.who === am.parts.urn))
  })

  it('name what is not there', async () => {
    const { run } = await operators()
    assert.match((await run(shutdownCommand, 'exp9')).out, /there is no slice exp9 here: violin slices lists them/)
    assert.match((await run(expireCommand, 'exp1', '--node', 'z')).out, /has no node z: it has a, b/)
    assert.deepEqual((await run(sliversCommand, 'exp9', '--json')).json, { error: 'there is no slice exp9 here: violin slices lists them', code: 12 })
    assert.match((await run(whoCommand, '--key', 'x')).out, /give --key, --cert and --ca together/)
    rmSync(join(state(), 'federation'), { recursive: true })
    assert.match((await run(whoCommand)).out, /there is no certificate of an aggregate in .*: run this where violin up does/)
  })

  it('are for users only whom the operator of the aggregate has named, who keep their own slices as others do', async () => {
    const { alice } = await field()
    const by = () => {
      const base = join(state(), 'federation')
      return ['--key', join(base, 'users', 'alice.key'), '--cert', join(base, 'users', 'alice.pem'), '--ca', join(base, 'ca.pem')]
    }
    const stranger = await operators({ named: [alice.urn.toUpperCase()] })
    assert.match((await stranger.run(slicesCommand, ...by())).out, /user\+alice is no operator of this aggregate: whoever runs it names operators by "violin up --operator URN"/)
    assert.equal((await stranger.am.call('violin_expire', [[stranger.bobs.urn], {}])).code, 3)
    rmSync(state(), { recursive: true })
    const { am, run, bobs } = await operators({ named: [alice.urn] })
    assert.match((await run(slicesCommand, ...by())).out, /\nbobs +bob/)
    assert.match((await run(shutdownCommand, 'bobs', ...by())).out, /bobs is shut down/)
    assert.equal(am.queue.added.at(-1)?.who, alice.urn)
    ok(await am.call('Renew', [[am.sliceUrn], am.credentials, new Date(am.time.at + dayMs).toISOString(), {}]))
    assert.equal((await am.call('Renew', [[am.sliceUrn], am.credentials, new Date(am.expires + 1_000).toISOString(), {}])).code, 7)
    assert.equal((await am.call('Status', [[bobs.urn], am.credentials, {}])).code, 0)
  })
})
