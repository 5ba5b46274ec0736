import assert from 'node:assert/strict'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { checkNames, verifySnapshot, type CheckName, type Verdict, type VerifyParts } from '../../../snapshots/verify.js'
import { seededFractions } from '../../../base/random.js'
import { useTempFolder } from '../../temp.js'
import { aSnapshot, frame, signersIn, type Signer } from './a-snapshot.js'
import { tallyOf } from './shares.js'

/** What is wrong, by the check that found it; checks that could not be made are marked. */
function wrongIn(verdict: Verdict): Partial<Record<CheckName, string[] | 'not judged'>> {
  const wrong: Partial<Record<CheckName, string[] | 'not judged'>> = {}
  for (const name of checkNames) {
    const { judged, problems } = verdict.checks[name]
    if (problems.length > 0) wrong[name] = problems
    else if (!judged) wrong[name] = 'not judged'
  }
  return wrong
}

describe('the verification of a snapshot', () => {
  const root = useTempFolder()
  const keys = mkdtempSync(join(tmpdir(), 'vkeys-'))
  let signer: Signer
  let stranger: Signer
  before(async function () {
    this.timeout(60_000)
    ;({ signer, stranger } = await signersIn(join(keys, 'federation')))
  })
  after(() => rmSync(keys, { recursive: true, force: true }))

  const verified = (at: VerifyParts, more: Partial<VerifyParts> = {}) => verifySnapshot({ ...at, ...more })
  const wrong = async (at: VerifyParts, more: Partial<VerifyParts> = {}) => wrongIn(await verified(at, more))
  const untampered = (sentence: string) => ({ untampered: [sentence], consistent: 'not judged', lossless: 'not judged' })

  it('finds nothing in one that is as it was, and says what it has looked at and what nobody can say', async () => {
    const { at } = await aSnapshot(root(), signer, (i) => { i.topology = [{ clientId: 'a' }, { clientId: 'b' }, { clientId: 'c' }] })
    const verdict = await verified(at)
    assert.deepEqual(wrongIn(verdict), {})
    assert.ok(verdict.ok)
    assert.deepEqual([verdict.files, verdict.inventory?.id, verdict.merged], [8, 'snap-1', []])
    assert.deepEqual(verdict.channels.map((c) => [c.name, c.sent, c.received, c.recorded]), [['b:2 -> a:1', 1, 1, 0], ['a:1 -> b:2', 3, 2, 1]])
    assert.deepEqual(verdict.notCovered, [
      'c: it was not running, and is not in the snapshot', 'the login network of a, b: what nodes exchange with the outside over it is not part of the cut',
    ])
  })

  it('detects every change of a single byte in any of its files', async () => {
    const { at, folder, layers } = await aSnapshot(root(), signer)
    const files = [folder, layers].flatMap((of) => readdirSync(of).map((name) => join(of, name)))
    assert.equal(files.length, 10)
    const fraction = seededFractions('single bytes')
    for (const file of files) {
      const whole = readFileSync(file)
      for (let i = 0; i < whole.length; i += whole.length > 400 ? 97 : 7) {
        const damaged = Buffer.from(whole)
        damaged[i]! ^= 1 + Math.floor(fraction() * 255)
        writeFileSync(file, damaged)
        assert.equal((await verified(at)).ok, false, `byte ${i} of ${basename(file)}`)
      }
      writeFileSync(file, whole)
    }
    assert.ok((await verified(at)).ok)
  })

  it('says of each file that is missing, cut off, added to, changed, or no file, what it is', async () => {
    const { at, folder, layers } = await aSnapshot(root(), signer)
    const memory = join(folder, 'vm1.memory')
    const whole = readFileSync(memory)
    const spoiled = async (spoil: () => void) => {
      spoil()
      const found = await wrong(at)
      rmSync(memory, { recursive: true, force: true })
      writeFileSync(memory, whole)
      return found
    }
    assert.deepEqual(await spoiled(() => { rmSync(memory) }), { complete: ['vm1.memory is missing'] })
    assert.deepEqual(await spoiled(() => { truncateSync(memory, 4) }), { complete: ['vm1.memory has 4 bytes, 13 were sealed: it is cut off'] })
    assert.deepEqual(await spoiled(() => { truncateSync(memory, 14) }), { complete: ['vm1.memory has 14 bytes, 13 were sealed: it was added to'] })
    assert.deepEqual(await spoiled(() => { writeFileSync(memory, 'memory of vm2') }), { untampered: ['vm1.memory was changed since it was sealed: its digest is another one'] })
    assert.deepEqual(await spoiled(() => { rmSync(memory); symlinkSync(join(folder, 'vm2.memory'), memory) }), { untampered: ['vm1.memory is no file'] })
    assert.deepEqual(await spoiled(() => { rmSync(memory); mkdirSync(memory) }), { untampered: ['vm1.memory is no file'] })
    writeFileSync(join(folder, 'vm3.memory'), '')
    assert.deepEqual(await wrong(at), { untampered: ['vm3.memory is no part of the snapshot: nobody has signed it'] })
    rmSync(join(folder, 'vm3.memory'))
    rmSync(join(layers, 'vm2.0'))
    assert.deepEqual(await wrong(at), { complete: ['disk layer vm2.0 of b is missing'] })
    assert.deepEqual(await wrong(at, { disks: undefined }), { complete: ['the disk layers of a, b are not here: name their folder with --layers'] })
  })

  it('says that a file cannot be read', async function () {
    if (process.getuid?.() === 0) return this.skip() // root reads everything
    const { at, folder } = await aSnapshot(root(), signer)
    chmodSync(join(folder, 'vm1.memory'), 0)
    assert.deepEqual(await wrong(at), { complete: ['vm1.memory cannot be read: permission denied'] })
    return undefined
  })

  it('is no snapshot without outcome or inventory, or with an outcome that gave it up', async () => {
    const { at, folder } = await aSnapshot(root(), signer)
    const outcome = join(folder, 'outcome')
    const said = readFileSync(outcome, 'utf8')
    const unjudged = { consistent: 'not judged', lossless: 'not judged' }
    rmSync(outcome)
    assert.deepEqual(await wrong(at), { complete: ['outcome is missing'], ...unjudged })
    writeFileSync(outcome, JSON.stringify({ format: 1, outcome: 'abort', why: 'no word came' }))
    assert.deepEqual(await wrong(at), { complete: ['this is no snapshot: it was given up (no word came)'], ...unjudged })
    writeFileSync(outcome, said)
    rmSync(join(folder, 'inventory.json'))
    assert.deepEqual(await wrong(at), { complete: ['inventory.json is missing'], ...unjudged })
    assert.deepEqual(await wrong({ ...at, folder: join(root(), 'nothing') }), {
      complete: ['outcome is missing', 'inventory.json is missing', 'inventory.sig is missing'], ...unjudged,
    })
  })

  it('believes nobody but the certificates it was given', async () => {
    const { at } = await aSnapshot(root(), stranger)
    const refused = 'the inventory is not signed by this aggregate: its certificate does not fit the signature'
    assert.deepEqual(await wrong(at, { certificates: [signer.certificate] }), untampered(refused))
    assert.deepEqual(await wrong(at, { certificates: [] }), untampered(refused))
    assert.deepEqual(await wrong(at, { certificates: [signer.certificate, stranger.certificate] }), {})
  })

  it('detects an old, valid inventory in the place of a newer one, however much comes with it', async () => {
    const old = await aSnapshot(root(), signer, (i) => { i.id = 'snap-0'; i.created = '2026-02-01T12:00:00Z' })
    const { at, folder } = await aSnapshot(root(), signer)
    const put = (...names: string[]) => { for (const name of names) cpSync(join(old.folder, name), join(folder, name)) }
    put('inventory.json', 'inventory.sig')
    assert.deepEqual(await wrong(at), untampered('inventory.json is not the inventory that the snapshot was committed with: its digest is not the one in outcome'))
    put('outcome')
    const place = 'the folder snap-1 holds the snapshot snap-0: a valid one, in the place of another'
    assert.deepEqual(await wrong(at), untampered(place))
    rmSync(folder, { recursive: true })
    cpSync(old.folder, folder, { recursive: true })
    assert.deepEqual(await wrong(at), untampered(place))
    assert.deepEqual(await wrong(old.at), {})
    const elsewhere = join(dirname(dirname(folder)), '5f0c0d5e-0000-4000-8000-000000000002', 'snap-0')
    mkdirSync(dirname(elsewhere))
    renameSync(old.folder, elsewhere)
    assert.match(JSON.stringify(await wrong({ ...old.at, folder: elsewhere })), /lies in the folder of slice 5f0c0d5e-0000-4000-8000-000000000002/)
    const copied = join(root(), 'backup', 'snap-0')
    cpSync(elsewhere, copied, { recursive: true })
    assert.deepEqual(await wrong({ ...old.at, folder: copied }), {}, 'a copy that keeps its name')
  })

  it('detects another inventory than the one that was told, and another parent than it was taken after', async () => {
    const parent = await aSnapshot(root(), signer, (i) => { i.id = 'snap-0' })
    const { digest } = await verified(parent.at)
    const child = await aSnapshot(root(), signer, (i) => { i.parent = 'snap-0'; i.parentDigest = digest })
    assert.deepEqual(await wrong(child.at, { expected: (await verified(child.at)).digest.toUpperCase() }), {})
    assert.match(JSON.stringify(await wrong(child.at, { expected: digest })), /the inventory has the digest \w+, expected was/)
    rmSync(parent.folder, { recursive: true })
    assert.deepEqual(await wrong(child.at), {}, 'a parent may be gone')
    await aSnapshot(root(), signer, (i) => { i.id = 'snap-0'; i.note = 'made later, of the same name' })
    assert.deepEqual(await wrong(child.at), { untampered: [`its parent snap-0 is not the snapshot that it was taken after: that one's inventory had the digest ${digest}`] })
  })

  it('looks at the frames in the channel log one by one', async () => {
    const said = async (log: ReturnType<typeof frame>[], tally = tallyOf(1, ...log.map((f) => f.frame.seq))) => {
      rmSync(join(root(), 'snapshots'), { recursive: true, force: true })
      const { at } = await aSnapshot(root(), signer, (i) => {
        const { recorded } = i.hosts[0]!.log
        i.hosts[0]!.log.frames = log.length
        recorded[0]!.tally = tally
      }, log)
      return (await verified(at)).checks.consistent.problems
    }
    assert.deepEqual(await said([frame(3)]), [])
    assert.deepEqual(await said([frame(3, { epoch: 2 })]), ['a:1 -> b:2: frame 3 in the channel log was sent after the cut'])
    assert.deepEqual(await said([frame(3, { run: '0000000200000000' })]), ['a:1 -> b:2: frame 3 in the channel log is of run 0000000200000000'])
    assert.deepEqual(await said([frame(3), frame(4)]), ['a:1 -> b:2: frame 4 in the channel log was never sent before the cut: 3 was the last'])
    assert.deepEqual(await said([frame(3), frame(2)]), ['a:1 -> b:2: frame 2 in the channel log comes after frame 3'])
    assert.deepEqual(await said([frame(3), frame(3)]), ['a:1 -> b:2: frame 3 in the channel log comes after frame 3'])
    assert.deepEqual(await said([frame(3)], tallyOf(1, 2)), ['a:1 -> b:2: the channel log has 1 frames, the inventory counts 1 or others'])
    assert.deepEqual(await said([frame(3, {}, 9)]), [
      'a:1 -> port 9: the channel log has 1 frames, the inventory counts 0 or others', 'a:1 -> b:2: the channel log has 0 frames, the inventory counts 1 or others',
    ])
    assert.match((await said([1, 2, 3, 4, 5, 6, 7].map((n) => frame(n, { epoch: 9 })))).join(), /was never sent before the cut: 3 was the last,and 6 more of the kind$/)
  })

  it('finds orphans and losses by the numbers, whatever the mode, and says what a mode for comparison is', async () => {
    const { at } = await aSnapshot(root(), signer, (i) => {
      i.mode = 'uncoordinated'
      i.hosts[0]!.vms[1]!.cut.latches[0]!.channels[0]!.highest = 4
      i.hosts[0]!.log = { ...i.hosts[0]!.log, frames: 0, recorded: [] }
    }, [])
    const verdict = await verified(at)
    assert.deepEqual(wrongIn(verdict), {
      consistent: ['a:1 -> b:2: frame 4 was received, only 3 were sent: at least 1 orphan'],
      lossless: ['a:1 -> b:2: 3 frames were sent before the cut, 2 are accounted for: 1 are in no part of the snapshot'],
    })
    assert.match(verdict.notCovered.join(), /mode uncoordinated, for comparison/)
  })

  it('misses a node of the slice that has no part in it', async () => {
    const { at } = await aSnapshot(root(), signer, (i) => { i.members.push({ vm: 'vm3', clientId: 'c', host: 'h1', ports: [3] }) })
    assert.deepEqual(await wrong(at), { complete: ['c is in the snapshot not at all'] })
  })

  it('goes by what a host has noted of merged layers, says so, and asks again when they are merged while it looks', async () => {
    const { at, layers, disks, inventory } = await aSnapshot(root(), signer)
    const into = { ...inventory.hosts[0]!.vms[0]!.layers[0]!, name: 'vm1.merged' }
    let asked = 0
    const present: typeof disks.present = async (parts) => {
      if (parts[0]!.name !== 'vm1.0' || asked++ === 0) return { parts, merged: false }
      return { parts: [into], merged: true }
    }
    renameSync(join(layers, 'vm1.0'), join(layers, 'vm1.merged'))
    renameSync(join(layers, 'vm1.0.sha256'), join(layers, 'vm1.merged.sha256'))
    const verdict = await verified(at, { disks: { ...disks, present } })
    assert.deepEqual([wrongIn(verdict), verdict.merged], [{}, ['a']])
    const failing = { ...disks, present: () => Promise.reject(new Error('a note is damaged')) }
    assert.match(JSON.stringify(await wrong(at, { disks: failing })), /where the disk layers of a are cannot be told: a note is damaged/)
  })
})
