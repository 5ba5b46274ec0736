import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { notAsked, verifyCommand } from '../../../cli/commands/verify.js'
import { useTempFolder } from '../../temp.js'
import { aSnapshot, signersIn, type Signer } from '../snapshots/a-snapshot.js'
import { fakeTools } from './slice-tools.js'

interface Json { ok: boolean; snapshots: { id: string; ok: boolean; frames: object; merged: string[]; seconds: number; complete: { ok: boolean; problems: string[] } }[] }

describe('violin verify', () => {
  const folder = useTempFolder()
  const state = () => join(folder(), 'state')
  const keys = mkdtempSync(join(tmpdir(), 'vkeys-'))
  let signer: Signer
  before(async function () {
    this.timeout(60_000)
    ;({ signer } = await signersIn(join(keys, 'federation')))
  })
  after(() => rmSync(keys, { recursive: true, force: true }))
  beforeEach(() => { cpSync(join(keys, 'federation'), join(state(), 'federation'), { recursive: true }) })

  async function said(...words: string[]) {
    let [out, err, code] = ['', '', 0]
    const { tools } = fakeTools(state(), () => { throw new Error('it asks no aggregate') })
    const command: Command = verifyCommand({
      ...tools, out: (t) => { out += t }, err: { write: (t) => { err += t } }, exit: (c) => { code = c },
    })
    await command.parseAsync(words, { from: 'user' })
    return { out, err, code, json: words.includes('--json') ? JSON.parse(out) as Json : undefined }
  }

  it('finds snapshots by id, name, URN and folder, and all of them without a word, oldest first', async () => {
    const { folder: of } = await aSnapshot(state(), signer)
    await aSnapshot(state(), signer, (i) => { i.id = 'snap-0'; i.name = 'zero'; i.created = '2026-02-01T12:00:00Z' })
    mkdirSync(join(state(), 'snapshots', '5f0c0d5e-0000-4000-8000-000000000001', 'snap-2')) // still being made
    for (const word of ['snap-1', 'first', 'urn:publicid:IDN+lab.example+snapshot+snap-1', of, `${of}/`]) {
      assert.deepEqual((await said(word, '--json')).json!.snapshots.map((s) => [s.id, s.ok]), [['snap-1', true]], word)
    }
    const { out, code } = await said()
    assert.deepEqual([code, [...out.matchAll(/^snapshot (\w+) \(/gm)].map((m) => m[1])], [0, ['zero', 'first']])
    assert.match(out, /\n {2}complete {4}yes: 8 files, [^\n]*\n {2}untampered {2}yes: [^\n]*\+authority\+am has signed [^\n]*\n {2}consistent {2}yes: [^\n]* on 2 channels\n/)
    assert.match(out, /\n {2}lossless {4}yes: of 4 frames between nodes before the cut 3 were received, 1 in transit and recorded; 2 of 2 devices have counted the same\n/)
    assert.match(out, /\n {2}not covered\n {4}- the login network of a, b: [^\n]*\n {2}ok\n/)
  })

  it('says what is wrong and ends with 1, also when others are good', async () => {
    const { folder: of } = await aSnapshot(state(), signer)
    await aSnapshot(state(), signer, (i) => { i.id = 'snap-0' })
    rmSync(join(of, 'vm1.memory'))
    const { out, code } = await said('snap-1', 'snap-0')
    assert.match(out, /\n {2}complete {4}NO\n {4}- vm1.memory is missing\n {2}untampered {2}yes: [^]*\n {2}NOT OK\nsnapshot first \(snap-0\)[^]*\n {2}ok\n$/)
    assert.equal(code, 1)
    writeFileSync(join(of, 'inventory.json'), '{}')
    assert.match((await said('snap-1')).out, /^snapshot in \/[^]*\n {2}untampered {2}NO\n[^]*\n {2}consistent {2}not judged: without an inventory that can be believed/)
    const { json } = await said('snap-1', 'snap-0', '--json')
    assert.deepEqual([json!.ok, json!.snapshots.map((s) => s.ok)], [false, [false, true]])
  })

  it('finds disk layers beside the snapshot, in the state folder, or where it is told, and goes by the notes of merged ones', async () => {
    const { folder: of, layers, inventory } = await aSnapshot(state(), signer)
    const elsewhere = join(folder(), 'backup', 'snap-1')
    cpSync(of, elsewhere, { recursive: true })
    assert.equal((await said(elsewhere)).code, 0)
    renameSync(layers, join(folder(), 'layers'))
    assert.match((await said(elsewhere)).out, /the disk layers of a, b are not here: name their folder with --layers/)
    assert.equal((await said(elsewhere, '--layers', join(folder(), 'layers'))).code, 0)
    const [layer] = inventory.hosts[0]!.vms[0]!.layers
    const into = { ...layer!, name: 'vm1.merged' }
    renameSync(join(folder(), 'layers', 'vm1.0'), join(folder(), 'layers', 'vm1.merged'))
    writeFileSync(join(folder(), 'layers', 'vm1.merged.replaces'), JSON.stringify({ format: 1, into, replaces: [layer] }))
    const { out, code } = await said(elsewhere, '--layers', join(folder(), 'layers'))
    assert.deepEqual([code, /\n {2}merged {6}disk layers of a, since then: [^\n]* not signed\n/.test(out)], [0, true], out)
    writeFileSync(join(folder(), 'layers', 'vm1.merged.replaces'), '{"format":1}')
    assert.match((await said(elsewhere, '--layers', join(folder(), 'layers'))).out, /vm1\.merged\.replaces is damaged/)
  })

  it('cannot be asked without a certificate, a snapshot or a folder, and says what to do', async () => {
    const refused = async (sentence: RegExp, ...words: string[]) => {
      const { err, out, code } = await said(...words)
      assert.deepEqual([code, out], [notAsked, ''])
      assert.match(err, sentence)
    }
    await refused(/^violin: there is no snapshot in \//)
    const { folder: of } = await aSnapshot(state(), signer)
    await aSnapshot(state(), signer, (i) => { i.id = 'snap-0' })
    await refused(/^violin: there is no snapshot nothing in \/\S+, nor a folder of that name\n$/, 'nothing')
    await refused(/^violin: 2 snapshots are called first: say which, by its id: snap-\d, snap-\d\n$/, 'first')
    await refused(/--layers \/nowhere: there is no such folder/, of, '--layers', '/nowhere')
    await refused(/the certificate \/nowhere: there is no such file/, of, '--certificate', '/nowhere')
    await refused(/inventory.json is no certificate/, of, '--certificate', join(of, 'inventory.json'))
    rmSync(join(state(), 'federation'), { recursive: true })
    await refused(/^violin: there is no certificate to check signatures with: name that of the aggregate with --certificate/, of)
    const json = await said(of, '--json')
    assert.deepEqual([json.code, Object.keys(JSON.parse(json.out) as object)], [notAsked, ['error', 'code']])
  })

  it('takes several certificates, and the digest that was told', async () => {
    const { folder: of } = await aSnapshot(state(), signer)
    const pems = ['ca', 'am'].map((name) => join(state(), 'federation', `${name}.pem`))
    assert.equal((await said(of, '--certificate', ...pems)).code, 0)
    assert.equal((await said(of, '--certificate', pems[0]!)).code, 1)
    const { digest } = JSON.parse(readFileSync(join(of, 'outcome'), 'utf8').replace('inventory', 'digest')) as { digest: string }
    assert.equal((await said(of, '--expect', digest)).code, 0)
    assert.match((await said(of, '--expect', 'beef')).out, /the inventory has the digest \w{64}, expected was beef/)
  })
})
