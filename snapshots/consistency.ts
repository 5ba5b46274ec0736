// What makes a cut consistent and lossless, checked from counters alone: by the coordinator before anything is signed, and by
// anybody afterwards (verify.ts). The rule is not asked: whatever the colours did, these sums must hold (docs/verify.md).
import type { PortLatch } from '../overlay/slice-net.js'
import { emptyTally, equal, sum, type Tally } from '../overlay/tally.js'
import type { HostShare } from './inventory.js'
import type { Member } from './needs.js'

/** What became of the frames of one channel that were sent before the cut. */
export interface ChannelFacts { name: string; sent: number; received: number; recorded: number; dropped: Record<string, number> }

export interface Findings {
  /** Received before the receiver's cut, and not sent before the sender's. */
  orphans: string[]
  /** Sent before the cut, and neither received, nor recorded, nor dropped for a reason that has a name; or lost because of the cut. */
  losses: string[]
  /** What the counters say nothing of. */
  notCovered: string[]
  channels: ChannelFacts[]
}

/** Judges the latches, logs and drops of all hosts of one cut. Port names for people come from `nameOf`. */
export function judgeCut(shares: HostShare[], nameOf: (port: number) => string): Findings {
  const vms = shares.flatMap((share) => share.vms)
  const latches = vms.flatMap((vm) => vm.cut.latches)
  const findings: Findings = { orphans: [], losses: [], notCovered: [], channels: [] }
  const k = Math.max(0, ...latches.map((latch) => latch.epoch)) + 1 // prepare has brought every port to k - 1
  for (const vm of vms) {
    for (const latch of vm.cut.latches) judgeDevice(latch, vm.cut.drained, findings, nameOf(latch.port))
    if (!vm.cut.drained) findings.notCovered.push(`${vm.spec.clientId}: it had not taken all frames sent to it (NIC overflow)`)
  }
  for (const { port, heldDropped } of shares.flatMap((share) => share.log.ports ?? [])) {
    if (heldDropped > 0) findings.losses.push(`${nameOf(port)}: ${heldDropped} frames were dropped while the cut held frames back`)
  }
  for (const receiver of latches) {
    for (const sender of latches.filter((latch) => latch !== receiver)) {
      judgeChannel({ sender, receiver, k, name: `${nameOf(sender.port)} -> ${nameOf(receiver.port)}` }, shares, findings)
    }
  }
  return findings
}

/** Who is missing: each VM of the snapshot must be there once, and each of its ports counted. */
export function judgeMembers(members: Member[], shares: HostShare[]): string[] {
  const vms = shares.flatMap((share) => share.vms)
  return members.flatMap(({ vm, clientId, ports }) => {
    const there = vms.filter((v) => v.vm === vm)
    if (there.length !== 1) return [`${clientId} is in the snapshot ${there.length === 0 ? 'not at all' : `${there.length} times`}`]
    const uncounted = ports.filter((port) => !there[0]!.cut.latches.some((latch) => latch.port === port))
    return uncounted.map((port) => `nothing was counted at port ${port} of ${clientId}`)
  })
}

interface Channel { sender: PortLatch; receiver: PortLatch; k: number; name: string }

function judgeChannel({ sender, receiver, k, name }: Channel, shares: HostShare[], findings: Findings): void {
  const before = receiver.channels.find((c) => c.from === sender.port)
  const born = sender.born.find((b) => b.to === receiver.port)?.tally
  const onChannel = <T extends { to: number; from: number }>(x: T) => x.to === receiver.port && x.from === sender.port
  const recorded = sum(...shares.flatMap((s) => s.log.recorded.filter(onChannel).map((r) => r.tally)))
  const drops = shares.flatMap((s) => s.log.drops.filter(onChannel))
  const delivered = before?.delivered ?? emptyTally()
  const fates = sum(delivered, recorded, ...drops.filter((d) => d.epoch < k).map((d) => d.tally))
  const unexplained = (born?.n ?? 0) - fates.n
  const orphaned = (before?.highest ?? 0) > sender.sent
  if (orphaned) {
    const least = Math.max(1, -unexplained)
    findings.orphans.push(`${name}: frame ${before!.highest} was received, only ${sender.sent} were sent: at least ${counted(least, 'orphan')}`)
  }
  if (!born) return // not on one LAN
  const loss = lossOf(born, fates, orphaned)
  if (loss !== undefined) findings.losses.push(`${name}: ${loss}`)
  for (const drop of drops.filter((d) => d.epoch >= k)) { // sent after the sender's cut, by the rule of `drop` mode
    const numbers = drop.seqs.length > 0 ? ` (${rangesOf(drop.seqs)})` : ''
    findings.losses.push(`${name}: ${counted(drop.tally.n, 'frame')} of a later epoch were dropped from the live run${numbers}`)
  }
  if (born.n + fates.n === 0) return
  findings.channels.push({ name, sent: born.n, received: delivered.n, recorded: recorded.n, dropped: byKind(drops.filter((d) => d.epoch < k)) })
}

/** Where a receiver has orphans its sums cannot balance, and say something only if frames are missing all the same. */
function lossOf(born: Tally, fates: Tally, orphaned: boolean): string | undefined {
  if (equal(born, fates) || (orphaned && fates.n >= born.n)) return undefined
  const numbers = `${counted(born.n, 'frame')} were sent before the cut, ${fates.n} are accounted for`
  if (fates.n < born.n) return `${numbers}: ${born.n - fates.n} are in no part of the snapshot`
  return fates.n > born.n ? `${numbers}, which is more` : `${numbers}, but they are not the same`
}

/** The device's own counters against those of the switch. They are weighed anew, where the inventory has what they were weighed against. */
function judgeDevice(latch: PortLatch, drained: boolean, findings: Findings, name: string): void {
  const { base } = latch
  if (latch.reconnected) {
    findings.notCovered.push(`${name}: the switch was restarted before the cut, in the same run: what it held then is lost, and counted nowhere`)
  }
  if (latch.witness === 'none') {
    const reset = base?.vring !== undefined && latch.vring !== '' && base.vring !== latch.vring
    findings.notCovered.push(`${name}: ${reset ? 'the guest has reset its device, which' : 'its device'} has no counting base in common with the switch`)
    return
  }
  const unseen = base ? signed16(latch.usedTx - base.usedTx - (latch.framesRead - base.framesRead)) : 0
  if (unseen > 0) findings.losses.push(`${name}: its device has sent ${counted(unseen, 'frame')} that the switch has not read`)
  if (unseen < 0) findings.losses.push(`${name}: the switch has read ${counted(-unseen, 'frame')} more than its device has sent`)
  if (latch.witness === 'tx-differs' && unseen === 0) {
    findings.losses.push(`${name}: its device sent another number of frames than were read from it`)
  }
  const unread = base ? signed16(base.usedRx + latch.framesWritten - base.framesWritten - latch.usedRx) : 0
  if (unread === 0 || latch.witness === 'tx-differs') return
  const fate = drained ? 'in no part of the snapshot' : 'neither recorded nor put back'
  const finding = unread < 0
    ? `${name}: ${counted(-unread, 'frame')} more than were written to it had come to the guest`
    : `${name}: ${counted(unread, 'frame')} written to it had not come to the guest and are ${fate}`
  const into = drained ? findings.losses : findings.notCovered
  into.push(finding)
}

function byKind(drops: HostShare['log']['drops']): Record<string, number> {
  const kinds: Record<string, number> = {}
  for (const { kind, tally } of drops) kinds[kind] = (kinds[kind] ?? 0) + tally.n
  return kinds
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`

/** Used indexes have 16 bits: a difference is meant to be the nearer one. */
const signed16 = (x: number): number => ((((x + 32_768) % 65_536) + 65_536) % 65_536) - 32_768

const shownRanges = 5

/** `4-6, 9`: numbers of frames for people, the first few of them. */
function rangesOf(seqs: number[]): string {
  const ranges: [number, number][] = []
  for (const seq of [...seqs].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last && seq === last[1] + 1) last[1] = seq
    else ranges.push([seq, seq])
  }
  const shown = ranges.slice(0, shownRanges).map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`))
  return `${shown.join(', ')}${ranges.length > shownRanges ? ', ...' : ''}`
}
