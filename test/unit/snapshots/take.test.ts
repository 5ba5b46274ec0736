import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { silentLog } from '../../../base/log.js'
import { ImageStore, type OutcomeRecord } from '../../../snapshots/image-store.js'
import { takeSnapshot } from '../../../snapshots/take.js'
import type { CutHosts } from '../../../snapshots/hosts-link.js'
import type { HostCutAsk } from '../../../snapshots/messages.js'
import { useTempFolder } from '../../temp.js'
import { field, read } from '../certs/field.js'
import { anInventory, balanced } from './shares.js'

/** The outcome gets its name, and then the disk refuses: nobody knows whether it holds. */
class RefusesOnce extends ImageStore {
  private refuses = true
  override async decide(slice: string, id: string, record: OutcomeRecord): Promise<OutcomeRecord> {
    const held = await super.decide(slice, id, record)
    if (!this.refuses) return held
    this.refuses = false
    throw Object.assign(new Error('EIO: the folder cannot be synced'), { code: 'EIO' })
  }
}

/** One host with two VMs that does what it is asked. */
function aHost(): CutHosts {
  const [share] = balanced().shares
  const answer = ({ ask }: HostCutAsk) => ({
    prepare: { progress: 'prepared', switchBootId: 'b' },
    cut: { progress: 'cut', switchBootId: 'b', vms: share!.vms.map(({ cut }) => cut) },
    seal: { progress: 'sealed', vms: share!.vms.map(({ cut: _, ...vm }) => vm), channels: share!.channels, log: share!.log },
    tell: { progress: 'told' },
  })[ask]
  const ask = async (_host: string, method: string, detail: unknown) =>
    (method === 'maxima' ? { run: '0000000100000000', k: 1, token: 0 } : answer(detail as HostCutAsk))
  return { ask } as unknown as CutHosts
}

describe('a snapshot whose outcome had to be written twice', () => {
  const folder = useTempFolder()

  it('is the one that was decided on the first time, and can be read', async () => {
    const { alice } = await field()
    const store = new RefusesOnce(folder())
    let at = Date.parse('2026-03-01T12:00:00Z')
    const clock = { now: () => ++at, monotonic: () => ++at, sleep: () => Promise.resolve() }
    const { slice, members, run } = anInventory()
    const result = await takeSnapshot(
      { id: 'snap-1', op: 'op', token: 1, slice, run, epoch: 1, origin: 'user', kind: 'live', mode: 'live', members, topology: {} },
      {
        hosts: aHost(), journal: { save: () => Promise.resolve(), remove: () => Promise.resolve() }, store, key: createPrivateKey(read(alice.key)),
        am: 'urn:publicid:IDN+lab.example+authority+am', software: '0', freeFloorBytes: 0, clock, log: silentLog,
      },
    )
    assert.ok(result.committed, JSON.stringify(result))
    const publicKey = createPublicKey(new X509Certificate(read(alice.certificate)).publicKey.export({ type: 'spki', format: 'pem' }))
    assert.equal((await store.readInventory(slice.uuid, 'snap-1', publicKey)).id, 'snap-1')
  })
})
