// Checks a snapshot from its files alone, without an aggregate: is it whole, is it what was committed, was anything received that
// had not been sent, was anything lost. docs/verify.md has the argument why that proves what it says.
import { createHash, verify as verifySignature, type KeyObject, type X509Certificate } from 'node:crypto'
import { createReadStream, type Stats } from 'node:fs'
import { lstat, readdir, readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { digestOf } from '../base/digest.js'
import { explain, Failure } from '../base/errors.js'
import { parseRecord } from '../base/records.js'
import { readLog } from '../overlay/channel-log.js'
import { portNames } from './catalogue.js'
import { judgeCut, judgeMembers, type ChannelFacts } from './consistency.js'
import { certificateDigest, outcomeForm, readOutcome, type OutcomeRecord } from './image-store.js'
import { inventoryForm, type Inventory } from './inventory.js'
import { LogCheck } from './log-check.js'
import type { Part } from './messages.js'

/** Where the disk layers of snapshots are on this machine. */
export interface Disks {
  folder: string
  /** Where the layers are found today: fewer, if some were merged since. */
  present(parts: Part[]): Promise<{ parts: Part[]; merged: boolean }>
  /** The digest that is kept beside a layer, as it is in the file; undefined where there is none. */
  kept(layer: string): Promise<string | undefined>
}

export interface VerifyParts {
  /** Folder of the snapshot: its name is the snapshot's id. */
  folder: string
  /** Whom to believe: the aggregate's certificate, or several, one of which must fit. */
  certificates: X509Certificate[]
  /** Undefined: the layers are not on this machine. */
  disks: Disks | undefined
  /** The inventory's digest as it was told when the snapshot was taken. */
  expected?: string
}

export const checkNames = ['complete', 'untampered', 'consistent', 'lossless'] as const
export type CheckName = (typeof checkNames)[number]

/** `judged: false`: what it rests on does not stand, so nothing can be said. */
export interface Check { judged: boolean; problems: string[] }

export interface Verdict {
  folder: string
  ok: boolean
  checks: Record<CheckName, Check>
  /** Only what its signature covers: undefined where that is not right. */
  inventory: Inventory | undefined
  /** SHA-256 of the inventory. */
  digest: string
  /** SHA-256 of the certificate that has signed. */
  certificate: string
  channels: ChannelFacts[]
  notCovered: string[]
  files: number
  bytes: number
  merged: string[]
}

const signatureName = 'inventory.sig'
const inventoryName = 'inventory.json'
const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Before: the folder may hold anything. After: judged; nothing was changed. Whatever is wrong with the files is in the verdict. */
export async function verifySnapshot(at: VerifyParts): Promise<Verdict> {
  return new Verification(at).run()
}

class Verification {
  private readonly at: VerifyParts
  private readonly verdict: Verdict
  private readonly seen = new Map<string, Promise<string | undefined>>()

  constructor(at: VerifyParts) {
    this.at = { ...at, folder: resolve(at.folder) }
    const checks = Object.fromEntries(checkNames.map((name) => [name, { judged: false, problems: [] }])) as unknown as Record<CheckName, Check>
    this.verdict = {
      folder: this.at.folder, ok: false, checks, inventory: undefined, digest: '', certificate: '', channels: [], notCovered: [],
      files: 0, bytes: 0, merged: [],
    }
  }

  async run(): Promise<Verdict> {
    const { checks } = this.verdict
    checks.complete.judged = checks.untampered.judged = true
    const inventory = await this.authenticInventory()
    if (inventory) {
      this.verdict.inventory = inventory
      await this.checkNeighbours(inventory)
      await this.checkFiles(inventory)
      await this.checkLayers(inventory)
      await this.judge(inventory)
    }
    this.verdict.ok = checkNames.every((name) => checks[name].judged && checks[name].problems.length === 0)
    return this.verdict
  }

  /** The inventory, if it is the one that was committed under this name and signed by whom we believe. */
  private async authenticInventory(): Promise<Inventory | undefined> {
    const [outcome, bytes, signature] = [await this.small('outcome'), await this.small(inventoryName), await this.small(signatureName)]
    if (!outcome || !bytes || !signature) return undefined
    try {
      const record = parseRecord(outcome.toString('utf8'), 'outcome', outcomeForm)
      if (record.outcome !== 'commit') {
        this.problem('complete', `this is no snapshot: it was given up${record.why === '' ? '' : ` (${record.why})`}`)
        return undefined
      }
      refuseOtherOutcome(record, outcome)
      this.verdict.digest = createHash('sha256').update(bytes).digest('hex')
      this.refuseOtherDigest(record.inventory)
      this.refuseOtherSigner(bytes, signature.toString('latin1'))
      const inventory = parseRecord(bytes.toString('utf8'), inventoryName, inventoryForm)
      refuseOtherPlace(inventory, this.at.folder)
      return inventory
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      this.problem('untampered', explain(error))
      return undefined
    }
  }

  private refuseOtherDigest(committed: string | undefined): void {
    const { digest } = this.verdict
    if (digest !== committed) {
      throw new Failure('damaged', `${inventoryName} is not the inventory that the snapshot was committed with: its digest is not the one in outcome`)
    }
    const { expected } = this.at
    if (expected !== undefined && digest !== expected.toLowerCase()) {
      throw new Failure('damaged', `the inventory has the digest ${digest}, expected was ${expected}`)
    }
  }

  private refuseOtherSigner(bytes: Buffer, text: string): void {
    const signature = Buffer.from(text, 'base64')
    if (signature.toString('base64') !== text) throw new Failure('damaged', `${signatureName} was changed: it is no signature`)
    const signer = this.at.certificates.find((certificate) => fits(bytes, certificate.publicKey, signature))
    if (!signer) throw new Failure('damaged', 'the inventory is not signed by this aggregate: its certificate does not fit the signature')
    this.verdict.certificate = certificateDigest(signer)
  }

  /** Its parent, where it is there, must be the very one that it was taken after. */
  private async checkNeighbours({ parent, parentDigest }: Inventory): Promise<void> {
    if (parent === '' || parentDigest === undefined) return
    const outcome = await readOutcome(join(dirname(this.at.folder), parent, 'outcome')).catch(() => undefined) // found when that one is verified
    if (outcome?.inventory !== undefined && outcome.inventory !== parentDigest) {
      this.tampered(`its parent ${parent} is not the snapshot that it was taken after: that one's inventory had the digest ${parentDigest}`)
    }
  }

  /** Every part is there and what it was, and nothing else is. */
  private async checkFiles(inventory: Inventory): Promise<void> {
    const parts = inventory.hosts.flatMap((share) => [...share.vms.map((vm) => vm.memory), share.channels])
    const known = new Set(['outcome', inventoryName, signatureName, ...parts.map((p) => p.name)])
    for (const name of (await readdir(this.at.folder)).filter((n) => !known.has(n))) this.tampered(`${name} is no part of the snapshot: nobody has signed it`)
    for (const part of parts) await this.checkPart(join(this.at.folder, part.name), part, part.name)
    for (const share of inventory.hosts) await this.checkLog(inventory, share)
  }

  private async checkLayers(inventory: Inventory): Promise<void> {
    const vms = inventory.hosts.flatMap((share) => share.vms)
    const { disks } = this.at
    if (!disks) {
      this.problem('complete', `the disk layers of ${vms.map((vm) => vm.spec.clientId).join(', ')} are not here: name their folder with --layers`)
      return
    }
    for (const { spec, layers } of vms) {
      const found = await this.presentLayers(disks, spec.clientId, layers, true)
      if (found?.merged) this.verdict.merged.push(spec.clientId)
      for (const part of found?.parts ?? []) {
        const path = join(disks.folder, part.name)
        if (!await this.checkPart(path, part, `disk layer ${part.name} of ${spec.clientId}`)) continue
        const kept = await disks.kept(part.name).catch((error: unknown) => `unreadable (${explain(error)})`)
        if (kept !== undefined && kept !== `${part.bytes} ${part.digest}`) {
          this.tampered(`the digest that is kept beside the disk layer ${part.name} of ${spec.clientId} is not that of the layer`)
        }
      }
    }
  }

  /** Layers may be merged while we look: then it is asked once more. */
  private async presentLayers(disks: Disks, node: string, layers: Part[], again: boolean): Promise<{ parts: Part[]; merged: boolean } | undefined> {
    try {
      const found = await disks.present(layers)
      const there = await Promise.all(found.parts.map((part) => lstat(join(disks.folder, part.name)).then(() => true, () => false)))
      return there.includes(false) && again ? await this.presentLayers(disks, node, layers, false) : found
    } catch (error) {
      this.problem('complete', `where the disk layers of ${node} are cannot be told: ${explain(error)}`)
      return undefined
    }
  }

  private async checkLog(inventory: Inventory, share: Inventory['hosts'][number]): Promise<void> {
    const path = join(this.at.folder, share.channels.name)
    if (await this.seen.get(path) !== share.channels.digest) return // said already
    const check = new LogCheck(inventory, share, portNames(inventory))
    try {
      for await (const frame of readLog(inventory.slice.uuid, createReadStream(path, { highWaterMark: 1024 * 1024 }))) check.add(frame)
      for (const what of check.problems()) this.problem('consistent', what)
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      this.problem('consistent', `${share.channels.name}: ${explain(error)}`)
    }
  }

  /** Is it the file that was sealed? A file is read once, however many chains it is in. */
  private async checkPart(path: string, part: Part, name: string): Promise<boolean> {
    const before = this.seen.has(path)
    if (!before) this.seen.set(path, this.digestOfPart(path, part, name))
    const digest = await this.seen.get(path)
    if (digest !== undefined && digest !== part.digest && !before) this.tampered(`${name} was changed since it was sealed: its digest is another one`)
    return digest === part.digest
  }

  private async digestOfPart(path: string, part: Part, name: string): Promise<string | undefined> {
    const found = await this.regular(path, name)
    if (!found) return undefined
    if (found.size !== part.bytes) {
      this.problem('complete', `${name} has ${found.size} bytes, ${part.bytes} were sealed: it ${found.size < part.bytes ? 'is cut off' : 'was added to'}`)
      return undefined
    }
    try {
      const digest = await digestOf(path)
      this.verdict.files++
      this.verdict.bytes += found.size
      return digest
    } catch (error) {
      this.problem('complete', unreadable(name, error))
      return undefined
    }
  }

  private async small(name: string): Promise<Buffer | undefined> {
    const path = join(this.at.folder, name)
    const found = await this.regular(path, name)
    if (!found) return undefined
    try {
      const bytes = await readFile(path)
      this.verdict.files++
      this.verdict.bytes += bytes.length
      return bytes
    } catch (error) {
      this.problem('complete', unreadable(name, error))
      return undefined
    }
  }

  private async regular(path: string, name: string): Promise<Stats | undefined> {
    try {
      const found = await lstat(path)
      if (found.isFile()) return found
      this.tampered(`${name} is no file`)
    } catch (error) {
      this.problem('complete', unreadable(name, error))
    }
    return undefined
  }

  private async judge(inventory: Inventory): Promise<void> {
    const { checks } = this.verdict
    const nameOf = portNames(inventory)
    checks.complete.problems.push(...judgeMembers(inventory.members, inventory.hosts))
    const findings = judgeCut(inventory.hosts, nameOf)
    checks.consistent.judged = checks.lossless.judged = true
    checks.consistent.problems.push(...findings.orphans)
    checks.lossless.problems.push(...findings.losses)
    if (inventory.mode === 'drop' || inventory.mode === 'uncoordinated') this.judgeMode(inventory.mode)
    this.verdict.channels = findings.channels
    const nodes = inventory.members.map((m) => m.clientId)
    const absent = nodesOf(inventory.topology).filter((node) => !nodes.includes(node))
    this.verdict.notCovered.push(
      ...findings.notCovered,
      ...absent.map((node) => `${node}: it was not running, and is not in the snapshot`),
      `the login network of ${nodes.join(', ')}: what nodes exchange with the outside over it is not part of the cut`,
    )
  }

  /** Also where, by luck, nothing was lost: whoever reads it must know what the mode does not promise. */
  private judgeMode(mode: 'drop' | 'uncoordinated'): void {
    this.verdict.notCovered.push(mode === 'drop'
      ? 'mode drop, for comparison: frames sent after a cut to a node not yet cut are dropped, and frames in transit are not recorded'
      : 'mode uncoordinated, for comparison: one node is cut after the other, with no rule for the frames between them')
  }

  private problem(check: CheckName, what: string): void {
    this.verdict.checks[check].problems.push(what)
  }

  private tampered(what: string): void {
    this.problem('untampered', what)
  }
}

/** A commit is written in one way only; every byte of it counts. */
function refuseOtherOutcome({ format, outcome, inventory }: OutcomeRecord, bytes: Buffer): void {
  if (bytes.toString('latin1') === JSON.stringify({ format, outcome, why: '', inventory })) return
  throw new Failure('damaged', 'outcome was changed: it is not as it is written at a commit')
}

function refuseOtherPlace({ id, slice }: Inventory, folder: string): void {
  const name = basename(folder)
  const above = basename(dirname(folder))
  if (id !== name) throw new Failure('damaged', `the folder ${name} holds the snapshot ${id}: a valid one, in the place of another`)
  if (uuidForm.test(above) && above !== slice.uuid) {
    throw new Failure('damaged', `the snapshot is of slice ${slice.uuid}, and lies in the folder of slice ${above}`)
  }
}

function unreadable(name: string, error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return `${name} is missing`
  return `${name} cannot be read: ${code === 'EACCES' ? 'permission denied' : explain(error)}`
}

function fits(bytes: Buffer, key: KeyObject, signature: Buffer): boolean {
  try {
    return verifySignature('sha256', bytes, key, signature)
  } catch {
    return false
  }
}

/** The topology is the nodes of the request; opaque, and not always there. */
function nodesOf(topology: unknown): string[] {
  if (!Array.isArray(topology)) return []
  return topology.flatMap((node: unknown) => {
    const name = (node as { clientId?: unknown } | null)?.clientId
    return typeof name === 'string' ? [name] : []
  })
}
