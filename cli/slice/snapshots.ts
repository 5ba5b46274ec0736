// violin slice list, report, snapshot, suspend, resume, rollback, delete-snapshot.
import type { Command } from 'commander'
import { Failure, Refusal } from '../../base/errors.js'
import { text, type Struct } from '../demo/slice-client.js'
import { catalogueLines, pauseText, reportLines, rowOf, type SnapshotRow } from './catalogue.js'
import { onSlice, sliceSubcommand, type Answer, type Flags } from './command.js'
import { size } from './printing.js'
import type { Session } from './session.js'
import type { SliceTools } from './tools.js'

interface Named { name?: string; note?: string }

const nameOptions = (command: Command): Command => command
  .option('--name <name>', 'name of the new snapshot: up to 64 letters, digits, dots, hyphens and underscores')
  .option('--note <text>', 'a remark that is kept with it, up to 500 characters')

const wireOf = ({ name, note }: Named): Struct =>
  ({ ...(name !== undefined ? { violin_name: name } : {}), ...(note !== undefined ? { violin_note: note } : {}) })

export function listCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'list', { description: 'the snapshots of the slice', example: 'violin slice list --slice myslice' })
    .action((flags: Flags) => onSlice(tools, flags, async (session) => {
      const snapshots = (await session.client.snapshots()).map(rowOf)
      const none = `the slice ${session.name} has no snapshot yet: ${session.command('snapshot')} takes one`
      return { json: { slice: session.name, snapshots }, lines: snapshots.length > 0 ? catalogueLines(snapshots) : [none] }
    }))
}

export function reportCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'report', {
    description: 'what a snapshot has cost: pauses, frames held and recorded, bytes, time', example: 'violin slice report before-upgrade',
  })
    .argument('[snapshot]', 'id, name or URN (default: the latest)')
    .action((wanted: string | undefined, flags: Flags) => onSlice(tools, flags, async (session) => {
      const rows = (await session.client.snapshots()).map(rowOf)
      const row = wanted === undefined ? rows.at(-1) : rows.find((r) => [r.id, r.name, r.urn].includes(wanted))
      if (!row) {
        const what = wanted === undefined ? 'no snapshot yet' : `no snapshot ${wanted}`
        throw new Refusal('not-found', `the slice ${session.name} has ${what}: ${session.command('list')} shows what there is`)
      }
      const named = (id: string) => rows.find((r) => r.id === id)?.name || id
      return { json: { slice: session.name, snapshot: row }, lines: reportLines(row, named) }
    }))
}

export function snapshotCommand(tools: SliceTools): Command {
  return nameOptions(sliceSubcommand(tools, 'snapshot', {
    description: 'take a snapshot of the running slice, all nodes and their network at one instant',
    example: 'violin slice snapshot --name before-upgrade --note "all nodes at 1.2"',
  }))
    .action((flags: Flags & Named) => onSlice(tools, flags, async (session) => {
      const snapshot = await taken(session, 'the snapshot', 'violin_snapshot', flags)
      return { json: { slice: session.name, snapshot }, lines: [`took ${nameOf(snapshot)}: ${size(snapshot.bytes)}, longest pause ${pauseText(snapshot)}`] }
    }))
}

export function suspendCommand(tools: SliceTools): Command {
  return nameOptions(sliceSubcommand(tools, 'suspend', {
    description: 'take a snapshot and end the VMs: the slice sleeps and needs no memory', example: 'violin slice suspend --note "over the weekend"',
  }))
    .action((flags: Flags & Named) => onSlice(tools, flags, async (session) => {
      const snapshot = await taken(session, 'the suspension', 'violin_suspend', flags)
      return { json: { slice: session.name, snapshot }, lines: [`suspended with ${nameOf(snapshot)}; to wake it: ${session.command('resume')}`] }
    }))
}

export function resumeCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'resume', { description: 'wake a suspended slice', example: 'violin slice resume' })
    .action((flags: Flags) => onSlice(tools, flags, (session) => restored(session, 'the resumption', 'violin_resume', {})))
}

export function rollbackCommand(tools: SliceTools): Command {
  return nameOptions(sliceSubcommand(tools, 'rollback', {
    description: 'bring the slice back to a snapshot; what it did since is lost, unless --snapshot-first keeps it',
    example: 'violin slice rollback before-upgrade --snapshot-first --note "the failed upgrade"',
  }))
    .argument('[snapshot]', 'id, name or URN (default: the latest)')
    .option('--snapshot-first', 'take a snapshot of the present before; --name and --note are for that one')
    .action((wanted: string | undefined, flags: Flags & Named & { snapshotFirst?: boolean }) => onSlice(tools, flags, (session) =>
      restored(session, 'the rollback', 'violin_rollback', {
        ...wireOf(flags), ...(wanted !== undefined ? { violin_snapshot: wanted } : {}), ...(flags.snapshotFirst ? { violin_snapshot_first: true } : {}),
      })))
}

export function deleteSnapshotCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'delete-snapshot', {
    description: 'delete one snapshot; others do not need it', example: 'violin slice delete-snapshot before-upgrade',
  })
    .argument('<snapshot>', 'id, name or URN')
    .action((wanted: string, flags: Flags) => onSlice(tools, flags, async (session) => {
      const answered = await session.perform(`the deletion of ${wanted}`, 'violin_delete', { violin_snapshot: wanted })
      const urn = text(answered[0] ?? {}, 'violin_snapshot')
      return { json: { slice: session.name, deleted: { urn } }, lines: [`deleted the snapshot ${wanted}`] }
    }))
}

async function taken(session: Session, doing: string, action: string, named: Named): Promise<SnapshotRow> {
  const answered = await session.perform(doing, action, wireOf(named))
  return snapshotOf(session, text(answered[0] ?? {}, 'violin_snapshot'))
}

/** What the list says of a snapshot that was just taken. */
async function snapshotOf(session: Session, urn: string): Promise<SnapshotRow> {
  const found = (await session.client.snapshots()).map(rowOf).find((s) => s.urn === urn)
  if (!found) throw new Failure('failed', `the snapshot ${urn} is not in the list of the slice: ${session.command('list')}`)
  return found
}

async function restored(session: Session, doing: string, action: string, options: Struct): Promise<Answer> {
  const [first] = await session.perform(doing, action, options)
  const slivers = await session.client.status()
  const kept = text(first ?? {}, 'violin_snapshot_first')
  const keptRow = kept === '' ? undefined : await snapshotOf(session, kept)
  const says = slivers[0]?.resourceStatus ?? ''
  return {
    json: { slice: session.name, snapshot: text(first ?? {}, 'violin_snapshot'), ...(keptRow ? { kept: keptRow } : {}), says },
    lines: [...(keptRow ? [`kept what was before as ${nameOf(keptRow)}`] : []), says],
  }
}

const nameOf = (row: SnapshotRow): string => `snapshot ${row.name === '' ? row.id : `${row.name} (${row.id})`}`
