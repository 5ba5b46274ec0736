// The snapshot core, put together: what the worker calls (snapshots/needs.ts).
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { explain } from '../base/errors.js'
import { limits } from '../base/limits.js'
import type { Log } from '../base/log.js'
import { readableOr } from '../base/records.js'
import type { Random } from '../base/random.js'
import { makeFolder } from '../base/durable.js'
import type { Clock } from '../base/time.js'
import { entryOf } from './catalogue.js'
import type { CutHosts, CutJournal } from './hosts-link.js'
import { certificateDigest, ImageStore } from './image-store.js'
import type { CutResult, RestoreRequest, RestoreResult, SnapshotEntry, SnapshotRequest, Snapshots } from './needs.js'
import { restoreSnapshot } from './restore.js'
import { takeSnapshot } from './take.js'

export interface SnapshotParts {
  links: CutHosts
  journal: CutJournal
  /** Folder of the snapshots. */
  store: string
  /** PEM of the aggregate's key and certificate: it signs and verifies inventories. */
  keyPem: string
  certificatePem: string
  am: string
  software: string
  /** No snapshot begins with less than this free; limits.freeFloorBytes when it is not said. */
  freeFloorBytes?: number
  clock: Clock
  random: Random
  log: Log
}

export async function openSnapshots(at: SnapshotParts): Promise<Snapshots> {
  await makeFolder(at.store)
  const store = new ImageStore(at.store)
  const key = createPrivateKey(at.keyPem)
  const certificate = new X509Certificate(at.certificatePem)
  const publicKey = createPublicKey(certificate.publicKey.export({ type: 'spki', format: 'pem' }))
  const common = {
    ...at, freeFloorBytes: at.freeFloorBytes ?? limits.freeFloorBytes, hosts: at.links, store, key, publicKey, certificate: certificateDigest(certificate),
  }

  async function list(slice: string): Promise<SnapshotEntry[]> {
    const entries: SnapshotEntry[] = []
    for (const id of await store.ids(slice)) {
      try {
        const decided = await store.outcome(slice, id)
        if (decided?.outcome !== 'commit') continue
        entries.push(entryOf(await store.readInventory(slice, id, publicKey), decided.inventory))
      } catch (error) {
        at.log.error({ slice, id, why: explain(error) }, 'a snapshot cannot be read and is not listed: nothing of it is removed')
      }
    }
    return entries.sort((a, b) => (a.created < b.created ? -1 : a.created > b.created ? 1 : a.epoch - b.epoch))
  }

  async function remove(slice: string, id: string): Promise<void> {
    const hosts = await store.readInventory(slice, id, publicKey).then((i) => i.hosts.map((h) => h.host), () => [])
    await store.remove(slice, id)
    for (const host of hosts) await at.links.ask(host, 'removeSnapshot', { slice, snapshot: id }, limits.prepareMs)
  }

  return {
    take: (request: SnapshotRequest, preempted?: AbortSignal): Promise<CutResult> =>
      takeSnapshot(request, { ...common, ...(preempted ? { preempted } : {}) }),
    restore: (request: RestoreRequest): Promise<RestoreResult> => restoreSnapshot(request, common),
    remove,
    list,
    freeBytes: () => store.freeBytes(),
    names: (slice: string) => store.ids(slice),
    endOpen: (slice: string) => endOpen(store, slice, at.log),
    async recover(): Promise<void> {
      for (const slice of await store.slices()) {
        await store.sweep(slice)
        await endOpen(store, slice, at.log)
      }
    },
  }
}

async function endOpen(store: ImageStore, slice: string, log: Log): Promise<void> {
  for (const id of await store.ids(slice)) {
    const found = await readableOr(async () => (await store.outcome(slice, id))?.outcome ?? 'none', (why) => {
      log.error({ slice, id, why }, 'an outcome cannot be read: its snapshot is left alone')
    })
    const stays = (error: unknown) => log.warn({ slice, id, why: explain(error) }, 'what was left aside stays')
    if (found === 'commit') await store.tidy(slice, id).catch(stays)
    if (found === undefined || found === 'commit') continue
    // aborted, and its worker died before it removed it; or not decided
    const { outcome } = await store.decide(slice, id, { format: 1, outcome: 'abort', why: 'the worker that led it ended' })
    if (outcome === 'abort') await store.remove(slice, id)
  }
}
