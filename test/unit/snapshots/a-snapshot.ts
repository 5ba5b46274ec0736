// A committed snapshot of two VMs on disk, small and real in every byte, for tests that spoil one of them.
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { realRandom } from '../../../base/random.js'
import { realClock } from '../../../base/time.js'
import { createFederation } from '../../../certs/issue.js'
import { encodeLog, type LoggedFrame } from '../../../overlay/channel-log.js'
import { ImageStore } from '../../../snapshots/image-store.js'
import { canonicalJson, type Inventory } from '../../../snapshots/inventory.js'
import type { Disks, VerifyParts } from '../../../snapshots/verify.js'
import { anInventory } from './shares.js'

/** A key and its certificate: the aggregate's, and that of somebody else. */
export interface Signer { key: string; certificate: X509Certificate }

export async function signersIn(folder: string): Promise<{ signer: Signer; stranger: Signer }> {
  const { am, sa } = await createFederation(folder, { authority: 'lab.example', hostnames: [], clock: realClock, random: realRandom })
  const of = (pair: typeof am): Signer => ({ key: readFileSync(pair.key, 'utf8'), certificate: new X509Certificate(readFileSync(pair.certificate)) })
  return { signer: of(am), stranger: of(sa) }
}

export const frame = (seq: number, more: Partial<LoggedFrame['frame']> = {}, to = 2): LoggedFrame =>
  ({ to, frame: { run: '0000000100000000', epoch: 1, source: 1, seq, bytes: Buffer.from(`frame ${seq} of a`), ...more } })

export interface OnDisk { folder: string; layers: string; inventory: Inventory; at: VerifyParts; disks: Disks }

/** What the frames of `log` are counted as in the inventory is not changed by them. */
export async function aSnapshot(root: string, signer: Signer, change: (inventory: Inventory) => void = () => undefined, log = [frame(3)]): Promise<OnDisk> {
  const inventory = anInventory()
  change(inventory)
  const store = new ImageStore(join(root, 'snapshots'))
  const folder = await store.create(inventory.slice.uuid, inventory.id)
  const layers = join(root, 'host', 'layers')
  mkdirSync(layers, { recursive: true })
  const part = (at: string, name: string, content: Buffer) => {
    writeFileSync(join(at, name), content)
    return { name, bytes: content.length, digest: createHash('sha256').update(content).digest('hex') }
  }
  for (const share of inventory.hosts) {
    share.channels = part(folder, share.channels.name, encodeLog(inventory.slice.uuid, log))
    for (const vm of share.vms) {
      vm.memory = part(folder, vm.memory.name, Buffer.from(`memory of ${vm.vm}`))
      vm.layers = vm.layers.map((layer) => part(layers, layer.name, Buffer.from(`layer ${layer.name}`)))
      for (const layer of vm.layers) writeFileSync(join(layers, `${layer.name}.sha256`), `${layer.bytes} ${layer.digest}`)
    }
  }
  const digest = await store.writeInventory(inventory.slice.uuid, inventory.id, Buffer.from(canonicalJson(inventory)), createPrivateKey(signer.key))
  await store.decide(inventory.slice.uuid, inventory.id, { format: 1, outcome: 'commit', why: '', inventory: digest })
  const disks: Disks = {
    folder: layers, present: async (parts) => ({ parts, merged: false }),
    kept: async (layer) => readFileSync(join(layers, `${layer}.sha256`), 'utf8'),
  }
  return { folder, layers, inventory, disks, at: { folder, certificates: [signer.certificate], disks } }
}
