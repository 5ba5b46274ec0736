// Is a snapshot whole, untampered, consistent and lossless? Asked of its files alone; the aggregate may run meanwhile.
import { createHash, createPublicKey, X509Certificate } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { explain } from '../../base/errors.js'
import { layoutOf } from '../../cli/up/layout.js'
import { openFederation } from '../../certs/issue.js'
import { Layers } from '../../hosts/layers.js'
import { judgeCut } from '../../snapshots/consistency.js'
import { ImageStore } from '../../snapshots/image-store.js'
import type { Part } from '../../snapshots/messages.js'

/** What is wrong with it, and what its proof does not cover. */
export interface Verified { wrong: string[]; notCovered: string[] }

/** The one place that says how a snapshot is verified: inventory and signature, the digest of every part, the sums of the cut. */
export async function verifySnapshot(state: string, slice: string, id: string): Promise<Verified> {
  const at = layoutOf(state)
  try {
    const { am } = await openFederation(at.federation)
    const store = new ImageStore(at.store)
    const { hosts, members } = await store.readInventory(slice, id, createPublicKey(new X509Certificate(readFileSync(am.certificate)).publicKey.export({ type: 'spki', format: 'pem' })))
    const names = new Map(members.flatMap((m) => m.ports.map((port) => [port, m.clientId])))
    const { orphans, losses, notCovered } = judgeCut(hosts, (port) => names.get(port) ?? `port ${port}`)
    const wrong = [...orphans, ...losses]
    for (const part of hosts.flatMap((host) => [host.channels, ...host.vms.map((vm) => vm.memory)])) {
      if (await digestOf(join(store.folder(slice, id), part.name)) !== part.digest) wrong.push(`${part.name} is not what was sealed`)
    }
    wrong.push(...await wrongLayers(join(at.host, 'layers'), hosts.flatMap((host) => host.vms.map((vm) => vm.layers))))
    return { wrong, notCovered }
  } catch (error) {
    return { wrong: [explain(error)], notCovered: [] }
  }
}

/** Layers may be merged, and what they were merged from removed, while this looks: then it looks again where they are now. */
async function wrongLayers(folder: string, chains: Part[][]): Promise<string[]> {
  for (let looks = 1; ; looks++) {
    const layers = new Layers(folder, { makeLayer: never, mergeLayers: never })
    await layers.open()
    try {
      for (const chain of chains) await layers.verify(layers.present(chain))
      return []
    } catch (error) {
      if (looks === 3) return [explain(error)]
    }
  }
}

const never = async (): Promise<never> => { throw new Error('a check makes no layer') }

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
