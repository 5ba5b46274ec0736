// Where snapshots live, and what makes one: STORE/SLICE/ID/ holds its parts, then inventory.json and its signature, then
// `outcome`. Only a folder whose outcome says commit is a snapshot; that file is written once, by link(2), and whoever
// comes second reads it and obeys (cut protocol, hole 6).
import { createHash, sign, verify, type KeyObject, type X509Certificate } from 'node:crypto'
import { readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { isAside, makeFolder, syncFolder, writeDurably, writeOnce } from '../base/durable.js'
import { Failure, Refusal } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { parseRecord, readRecord, type Form } from '../base/records.js'
import { inventoryForm, type Inventory } from './inventory.js'
import type { Outcome } from './messages.js'

export interface OutcomeRecord { format: 1; outcome: Outcome; why: string; inventory?: string }
export const outcomeForm: Form<OutcomeRecord> = { format: 1, is: ({ outcome }) => ['commit', 'abort'].includes(outcome) }

/** Not in the form of an id. */
const removed = '.removed'
const idForm = /^[a-z0-9][a-z0-9-]{0,80}$/

export class ImageStore {
  readonly root: string
  constructor(root: string) { this.root = root }

  folder(slice: string, id: string): string {
    if (!idForm.test(slice) || !idForm.test(id)) throw new Refusal('bad-arguments', `${slice}/${id} cannot be the name of a snapshot`)
    return join(this.root, slice, id)
  }

  async create(slice: string, id: string): Promise<string> {
    const folder = this.folder(slice, id)
    try {
      await makeFolder(folder)
      await syncFolder(join(this.root, slice))
    } catch (error) {
      await rm(folder, { recursive: true, force: true }) // or it would stay, undecided, until the next worker begins
      throw error
    }
    return folder
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.root)
    return bavail * bsize
  }

  async outcome(slice: string, id: string): Promise<OutcomeRecord | undefined> {
    return readOutcome(join(this.folder(slice, id), 'outcome'))
  }

  /** Decides. Returns what holds: ours, or what somebody wrote before us. */
  async decide(slice: string, id: string, record: OutcomeRecord): Promise<OutcomeRecord> {
    return writeOutcome(join(this.folder(slice, id), 'outcome'), record)
  }

  /** Before: all parts are sealed. After: the inventory and its signature are durable; nothing is decided yet. */
  async writeInventory(slice: string, id: string, bytes: Buffer, key: KeyObject): Promise<string> {
    const folder = this.folder(slice, id)
    await writeDurably(join(folder, 'inventory.json'), bytes)
    faultPoint('worker.unsigned')
    await writeDurably(join(folder, 'inventory.sig'), sign('sha256', bytes, key).toString('base64'))
    return createHash('sha256').update(bytes).digest('hex')
  }

  /** The inventory of a committed snapshot. Fails when it is not the one that was decided on, or not signed by us. */
  async readInventory(slice: string, id: string, publicKey: KeyObject): Promise<Inventory> {
    const folder = this.folder(slice, id)
    const decided = await this.outcome(slice, id)
    if (decided?.outcome !== 'commit') throw new Refusal('not-found', `there is no snapshot ${id}`)
    const bytes = await readFile(join(folder, 'inventory.json'))
    if (createHash('sha256').update(bytes).digest('hex') !== decided.inventory) {
      throw new Failure('damaged', `the inventory of ${id} is not the one it was committed with`)
    }
    const signature = Buffer.from(await readFile(join(folder, 'inventory.sig'), 'utf8'), 'base64')
    if (!verify('sha256', bytes, publicKey, signature)) throw new Failure('damaged', `the inventory of ${id} is not signed by this aggregate`)
    const inventory = parseRecord(bytes.toString('utf8'), `the inventory of ${id}`, inventoryForm)
    if (inventory.id !== id || inventory.slice.uuid !== slice) throw new Failure('damaged', `the folder ${id} holds snapshot ${inventory.id}`)
    return inventory
  }

  async slices(): Promise<string[]> {
    return (await readdir(this.root).catch(() => [])).filter((name) => idForm.test(name))
  }

  /** Every snapshot folder of a slice, with or without an outcome. */
  async ids(slice: string): Promise<string[]> {
    const names = await readdir(join(this.root, slice)).catch(() => [])
    return names.filter((name) => idForm.test(name) && name !== 'restores')
  }

  /** A folder that is gone was an aborted one: another worker has decided, and removed it. */
  async isGone(slice: string, id: string): Promise<boolean> {
    return stat(this.folder(slice, id)).then(() => false, (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT')
  }

  /** Before: it is decided, so nobody writes in it any more. After: what a dead worker has left aside in its folder is gone. */
  async tidy(slice: string, id: string): Promise<void> {
    const folder = this.folder(slice, id)
    for (const name of (await readdir(folder)).filter(isAside)) await rm(join(folder, name), { force: true })
  }

  /**
   * The whole folder goes away at once, under a name that is no snapshot's, and is emptied then: half removed it is no snapshot, and a
   * slow worker finds no folder without outcome that it could still write one into (cut protocol, hole 33).
   */
  async remove(slice: string, id: string): Promise<void> {
    const folder = this.folder(slice, id)
    const away = `${folder}${removed}`
    await rm(away, { recursive: true, force: true })
    faultPoint('worker.before-removed')
    try {
      await rename(folder, away)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    await syncFolder(join(this.root, slice))
    faultPoint('worker.renamed-away')
    await rm(away, { recursive: true, force: true })
    faultPoint('worker.removed')
  }

  /** What somebody who died was removing goes. */
  async sweep(slice: string): Promise<void> {
    for (const name of await readdir(join(this.root, slice)).catch(() => [])) {
      if (name.endsWith(removed)) await rm(join(this.root, slice, name), { recursive: true, force: true })
    }
  }

  async restoreOutcomePath(slice: string, op: string): Promise<string> {
    const folder = join(this.root, slice, 'restores')
    await makeFolder(folder)
    return join(folder, `${op}.outcome`)
  }
}

/** How an inventory names the certificate of whom it is signed by. */
export const certificateDigest = (certificate: X509Certificate): string => createHash('sha256').update(certificate.raw).digest('hex')

export async function readOutcome(path: string): Promise<OutcomeRecord | undefined> {
  return readRecord(path, outcomeForm)
}

export async function writeOutcome(path: string, record: OutcomeRecord): Promise<OutcomeRecord> {
  if (await writeOnce(path, JSON.stringify(record))) return record
  return (await readOutcome(path))!
}
