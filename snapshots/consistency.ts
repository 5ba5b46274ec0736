// What makes a cut consistent and lossless, checked from counters alone, before anything is signed. The rule is not asked:
// whatever the colours did, these sums must hold (docs/cut-protocol.md, "Proof").
import { equal, sum, type Tally } from '../overlay/tally.js'
import type { PortLatch } from '../overlay/slice-net.js'
import type { HostShare } from './inventory.js'

export interface Findings { orphans: string[]; losses: string[]; notCovered: string[] }

/** Judges the latches, logs and drops of all hosts of one cut. Port names for people come from `nameOf`. */
export function judgeCut(shares: HostShare[], nameOf: (port: number) => string): Findings {
  const latches = new Map<number, PortLatch>()
  for (const share of shares) for (const vm of share.vms) for (const latch of vm.cut.latches) latches.set(latch.port, latch)
  const findings: Findings = { orphans: [], losses: [], notCovered: [] }
  for (const receiver of latches.values()) {
    if (receiver.witness === 'none') findings.notCovered.push(`${nameOf(receiver.port)}: its device has no counting base in common with the switch`)
    if (receiver.witness === 'tx-differs') findings.losses.push(`${nameOf(receiver.port)}: its device sent another number of frames than were read from it`)
    for (const sender of latches.values()) {
      if (sender !== receiver) judgeChannel(sender, receiver, shares, findings, nameOf)
    }
  }
  for (const share of shares) {
    for (const vm of share.vms) {
      if (!vm.cut.drained) findings.notCovered.push(`${vm.spec.clientId}: it had not taken all frames sent to it (NIC overflow)`)
    }
  }
  return findings
}

function judgeChannel(
  sender: PortLatch, receiver: PortLatch, shares: HostShare[], findings: Findings, nameOf: (port: number) => string,
): void {
  const name = `${nameOf(sender.port)} -> ${nameOf(receiver.port)}`
  const before = receiver.channels.find((c) => c.from === sender.port)
  if ((before?.highest ?? 0) > sender.sent) {
    findings.orphans.push(`${name}: frame ${before!.highest} was received, only ${sender.sent} were sent`)
  }
  const born = sender.born.find((b) => b.to === receiver.port)?.tally
  if (!born) return // not on one LAN
  const onChannel = <T extends { to: number; from: number }>(x: T) => x.to === receiver.port && x.from === sender.port
  const recorded = shares.flatMap((s) => s.log.recorded.filter(onChannel).map((r) => r.tally))
  const dropped = shares.flatMap((s) => s.log.drops.filter(onChannel))
  const fates: Tally = sum(...(before ? [before.delivered] : []), ...recorded, ...dropped.map((d) => d.tally))
  if (!equal(born, fates)) {
    findings.losses.push(`${name}: ${born.n} frames were sent before the cut, ${fates.n} are accounted for`)
  }
  for (const drop of dropped.filter((d) => d.kind === 'orphan')) {
    findings.losses.push(`${name}: ${drop.tally.n} frames of a later epoch were dropped`)
  }
}
