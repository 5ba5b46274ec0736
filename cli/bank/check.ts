// The verdict over a whole slice: each VM alone looks healthy after a bad snapshot, and only all reports side by side show
// a message that was lost between two VMs, came twice, or was received by one though the other never sent it.
import type { BankChannel, NamedReport } from './report.js'

export interface BankCheck {
  coinsExpected: number
  coinsFound: number
  lost: number
  duplicated: number
  orphans: number
  tcpBroken: number
  diskMismatch: number
  ok: boolean
  findings: string[]
}

type Range = [number, number]

const coinsEach = 1_000_000
const size = ([from, to]: Range) => to - from + 1
const total = (ranges: Range[]) => ranges.reduce((sum, r) => sum + size(r), 0)

/** Judges the reports of all VMs of a slice, taken when the bank was stopped and nothing was in flight. */
export function checkBank(reports: NamedReport[]): BankCheck {
  const sum: BankCheck = {
    coinsExpected: reports.length * coinsEach, coinsFound: reports.reduce((n, r) => n + r.report.coins, 0),
    lost: 0, duplicated: 0, orphans: 0, tcpBroken: 0, diskMismatch: 0, ok: false, findings: [],
  }
  const byIndex = completeSet(reports, sum.findings)
  if (byIndex) {
    for (const from of byIndex) for (const to of byIndex) if (from !== to) checkChannel(from, to, sum)
    for (const from of byIndex) checkStream(from, byIndex[(from.report.index + 1) % byIndex.length]!, sum)
  }
  for (const one of reports) checkAlone(one, sum)
  if (sum.coinsFound !== sum.coinsExpected) sum.findings.push(`coins: ${sum.coinsFound} found, ${sum.coinsExpected} expected`)
  sum.ok = sum.findings.length === 0
  return sum
}

/** The reports in the order of their index; undefined, with findings, when they are not one of each VM of one slice. */
function completeSet(reports: NamedReport[], findings: string[]): NamedReport[] | undefined {
  const first = reports[0]
  if (!first) findings.push('there are no reports to check')
  const before = findings.length
  for (const { name, report } of reports) {
    if (String(report.peers) !== String(first!.report.peers)) findings.push(`${name} has other peers than ${first!.name}`)
  }
  if (!first || findings.length > before) return undefined
  for (const [i, address] of first.report.peers.entries()) {
    const names = reports.filter((r) => r.report.index === i).map((r) => r.name)
    if (names.length === 0) findings.push(`there is no report of the VM with address ${address}`)
    if (names.length > 1) findings.push(`${names.join(' and ')} both say that they are ${address}`)
  }
  return findings.length > before ? undefined : reports.toSorted((a, b) => a.report.index - b.report.index)
}

function checkChannel(from: NamedReport, to: NamedReport, sum: BankCheck): void {
  const sent = channelWith(from, to.report.index)?.sent
  const got = channelWith(to, from.report.index)
  const name = `${from.name} -> ${to.name}`
  if (sent === undefined || !got) {
    sum.findings.push(`${name}: the reports do not tell of this channel`)
    return
  }
  const orphans = orphanRanges(sent, got)
  const listed = lostRanges(sent, got)
  // The list of gaps is bounded and the count is not: what is lost beyond the list is known by number only.
  const lost = Math.max(total(listed), sent - (got.received - total(orphans)))
  for (const range of listed) sum.findings.push(`${name}: ${messages(range)} lost (${size(range)})`)
  if (lost > total(listed)) sum.findings.push(`${name}: ${lost - total(listed)} more messages lost, in gaps too many to list`)
  for (const range of orphans) sum.findings.push(`${name}: ${messages(range)} received but never sent (orphan)`)
  nameAll(name, got.orphaned, got.orphanedCount, 'received before being sent (orphan)', sum.findings)
  nameAll(name, got.doubled, got.doubledCount, 'doubled', sum.findings)
  if (got.early > 0) sum.findings.push(`${name}: ${got.early} messages out of order`)
  sum.lost += lost
  sum.orphans += total(orphans) + got.orphanedCount
  sum.duplicated += got.doubledCount
}

const channelWith = (one: NamedReport, peer: number) => one.report.channels.find((c) => c.peer === peer)
const messages = ([from, to]: Range) => (from === to ? `message ${from}` : `messages ${from}-${to}`)

/** One finding for each run of numbers, and one for those that the bounded list has no room for. */
function nameAll(name: string, listed: number[], count: number, what: string, findings: string[]): void {
  const ranges: Range[] = []
  for (const number of [...new Set(listed)].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last && last[1] + 1 === number) last[1] = number
    else ranges.push([number, number])
  }
  for (const range of ranges) findings.push(`${name}: ${messages(range)} ${what}`)
  if (count > listed.length) findings.push(`${name}: ${count - listed.length} more messages ${what}, too many to list`)
}

function lostRanges(sent: number, got: BankChannel): Range[] {
  const gaps = got.missing.map(([from, to]): Range => [from, Math.min(to, sent)])
  return [...gaps, [got.last + 1, sent] satisfies Range].filter(([from, to]) => from <= to)
}

/** What was received of the numbers after `sent`: all up to `last` but for the gaps. */
function orphanRanges(sent: number, got: BankChannel): Range[] {
  const ranges: Range[] = []
  let next = sent + 1
  for (const [from, to] of got.missing.toSorted((a, b) => a[0] - b[0])) {
    if (from > next) ranges.push([next, from - 1])
    next = Math.max(next, to + 1)
  }
  if (got.last >= next) ranges.push([next, got.last])
  return ranges
}

function checkStream(from: NamedReport, to: NamedReport, sum: BankCheck): void {
  if (from === to || from.report.tcp.sent === to.report.tcp.received) return
  sum.tcpBroken++
  const counts = `${from.report.tcp.sent} records sent, ${to.report.tcp.received} received`
  sum.findings.push(`${from.name} -> ${to.name}: TCP stream not whole, ${counts}`)
}

function checkAlone({ name, report }: NamedReport, sum: BankCheck): void {
  const { tcp, disk } = report
  if (report.state === 'waiting') sum.findings.push(`${name}: the bank has not begun, so there is nothing to check`)
  if (tcp.broken > 0) sum.findings.push(`${name}: TCP broken ${tcp.broken} times: ${tcp.errors.join('; ')}`)
  sum.tcpBroken += tcp.broken
  if (!disk.ok || (disk.onDisk !== disk.done && disk.onDisk !== disk.intent)) {
    sum.diskMismatch++
    const found = disk.onDisk < 0 ? 'cannot be read or is torn' : `is ${disk.onDisk}`
    sum.findings.push(`${name}: the counter on the disk ${found}, in memory ${disk.done} are written and ${disk.intent} begun`)
  }
  if (report.rcvbufErrors > 0) {
    sum.findings.push(`${name}: the guest itself dropped ${report.rcvbufErrors} datagrams for want of buffer (RcvbufErrors)`)
  }
}
