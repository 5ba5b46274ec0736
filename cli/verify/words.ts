// What `violin verify` has found, in words for people and as data for programs.
import { checkNames, type CheckName, type Verdict } from '../../snapshots/verify.js'
import { parseUrn } from '../../base/urn.js'
import { size } from '../slice/printing.js'

/** What has happened to frames that were dropped, by the name it has in the inventory. */
const fates: Record<string, string> = {
  loss: 'lost by links as asked', rateTail: 'too many for a slow link', delayTail: 'too many in flight on a link',
  queueTail: 'too many for a node that did not read', orphan: 'dropped by an earlier snapshot in mode drop',
}

export function verdictLines(verdict: Verdict): string[] {
  const { checks, inventory } = verdict
  const lines = [headOf(verdict)]
  if (inventory) {
    const { created, members, mode, kind, k, run } = inventory
    const nodes = members.map((m) => m.clientId).join(', ')
    lines.push(`  ${created}, nodes ${nodes}, mode ${mode}${kind === 'suspend' ? ' (suspension)' : ''}, epoch ${k} of run ${run}`)
  }
  for (const name of checkNames) {
    const { judged, problems } = checks[name]
    const label = `  ${name.padEnd(11)} `
    if (problems.length > 0) lines.push(`${label}NO`, ...problems.map((what) => `    - ${what}`))
    else lines.push(label + (judged ? `yes: ${why(name, verdict)}` : 'not judged: without an inventory that can be believed nothing can be said'))
  }
  if (verdict.merged.length > 0) {
    lines.push(`  merged      disk layers of ${verdict.merged.join(', ')}, since then: that they hold the same is the host's word, and not signed`)
  }
  if (verdict.notCovered.length > 0) lines.push('  not covered', ...verdict.notCovered.map((what) => `    - ${what}`))
  lines.push(`  ${verdict.ok ? 'ok' : 'NOT OK'}`)
  return lines
}

export function verdictJson(verdict: Verdict): object {
  const { inventory, checks } = verdict
  return {
    ok: verdict.ok, folder: verdict.folder,
    ...(inventory ? {
      id: inventory.id, name: inventory.name, slice: inventory.slice.urn, created: inventory.created, mode: inventory.mode, kind: inventory.kind,
      run: inventory.run, epoch: inventory.k, parent: inventory.parent, nodes: inventory.members.map((m) => m.clientId),
    } : {}),
    digest: verdict.digest, certificate: verdict.certificate, files: verdict.files, bytes: verdict.bytes,
    ...Object.fromEntries(checkNames.map((name) => [name, { ok: checks[name].judged && checks[name].problems.length === 0, ...checks[name] }])),
    frames: sums(verdict), channels: verdict.channels, merged: verdict.merged, notCovered: verdict.notCovered,
  }
}

function headOf({ inventory, folder }: Verdict): string {
  if (!inventory) return `snapshot in ${folder}`
  const slice = parseUrn(inventory.slice.urn)?.name ?? inventory.slice.urn
  return `snapshot ${inventory.name === '' ? inventory.id : `${inventory.name} (${inventory.id})`} of the slice ${slice}`
}

function why(name: CheckName, verdict: Verdict): string {
  const channels = verdict.channels.length
  switch (name) {
    case 'complete': return `${verdict.files} files, ${size(verdict.bytes)}, each as long as it was; every node and every port is there`
    case 'untampered': {
      const { inventory, certificate } = verdict
      return `every digest is right, nothing was added, and ${inventory?.am ?? ''} has signed (certificate ${certificate.slice(0, 16)}...)`
    }
    case 'consistent': return `no node had received a frame that was not yet sent, on ${channels} channel${channels === 1 ? '' : 's'}`
    case 'lossless': return losslessText(verdict)
  }
}

function sums({ channels }: Verdict): { sent: number; received: number; recorded: number; dropped: Record<string, number> } {
  const total = { sent: 0, received: 0, recorded: 0, dropped: {} as Record<string, number> }
  for (const c of channels) {
    total.sent += c.sent
    total.received += c.received
    total.recorded += c.recorded
    for (const [kind, n] of Object.entries(c.dropped)) total.dropped[kind] = (total.dropped[kind] ?? 0) + n
  }
  return total
}

function losslessText(verdict: Verdict): string {
  const { sent, received, recorded, dropped } = sums(verdict)
  const drops = Object.entries(dropped).map(([kind, n]) => `, ${n} ${fates[kind] ?? `dropped (${kind})`}`).join('')
  const latches = verdict.inventory?.hosts.flatMap((h) => h.vms.flatMap((vm) => vm.cut.latches)) ?? []
  const agree = latches.filter((latch) => latch.witness === 'exact').length
  return `of ${sent} frames between nodes before the cut ${received} were received, ${recorded} in transit and recorded${drops}; ` +
    `${agree} of ${latches.length} devices have counted the same`
}
