// `violin status`: the whole aggregate of a state folder on one screen, for whoever runs it.
import { existsSync, readFileSync } from 'node:fs'
import { Command } from 'commander'
import { Refusal } from '../../base/errors.js'
import { printed, type Answer } from '../slice/command.js'
import { localTime, size, table } from '../slice/printing.js'
import type { SliceTools } from '../slice/tools.js'
import { allProcesses, partsOf, type Part, type Process } from '../status/processes.js'
import { slicesOf, type SliceStatus } from '../status/slices.js'
import { spaceOf, type Space } from '../status/space.js'
import { layoutOf } from '../up/layout.js'

interface Flags { state: string; json?: boolean }

export function statusCommand(tools: SliceTools, processes: () => Process[] = allProcesses): Command {
  return new Command('status')
    .description('the whole aggregate on this machine: processes, space, slices with their nodes and snapshots')
    .option('--state <dir>', 'its state folder', tools.stateFolder)
    .option('--json', 'one JSON object on stdout, errors too: {"error": ..., "code": ...}')
    .addHelpText('after', `
Slices are those of users of the test federation in the state folder. Exit 0: every process runs. 1: not so.

Example:
  violin status
  violin status --json`)
    .action((flags: Flags) => printed(tools, flags, () => aggregateStatus(tools, flags, processes())))
}

async function aggregateStatus(tools: SliceTools, flags: Flags, processes: Process[]): Promise<Answer> {
  const layout = layoutOf(flags.state)
  if (!existsSync(layout.state)) throw new Refusal('not-found', `there is no state folder ${layout.state}: violin up makes one, or choose another with --state`)
  const url = existsSync(layout.url) ? readFileSync(layout.url, 'utf8').trim() : ''
  const parts = partsOf(layout, processes)
  const up = url !== '' && parts.every((p) => p.pid > 0)
  const [space, slices] = await Promise.all([spaceOf(layout), up ? slicesOf(tools, flags) : []])
  if (!up) tools.exit(1)
  return {
    json: { state: layout.state, up, url, processes: Object.fromEntries(parts.map((p) => [p.name, p.pid])), space, slices },
    lines: linesOf(layout.state, up ? url : '', parts, space, slices),
  }
}

function linesOf(state: string, url: string, parts: Part[], space: Space, slices: SliceStatus[]): string[] {
  const running = parts.map((p) => `${p.name} ${p.pid > 0 ? p.pid : 'does not run'}`).join(', ')
  return [
    url === '' ? `no aggregate is up on ${state}: violin up --state ${state}` : `aggregate  ${url}`,
    `state      ${state}`,
    `processes  ${running}`,
    `space      ${size(space.total)} used: snapshots ${size(space.snapshots)}, disks ${size(space.disks)}; ${size(space.free)} free`,
    '',
    ...(slices.length > 0 ? slicesTable(slices) : [url === '' ? 'slices are told by an aggregate that is up' : 'no slices yet: violin slice create NAME FILE']),
  ]
}

function slicesTable(slices: SliceStatus[]): string[] {
  return table(['SLICE', 'USER', 'NODES', 'SNAPSHOTS', 'LAST', 'LONGEST PAUSE', 'WHAT'], slices.map((s) => [
    s.slice, s.user, s.nodes.map((n) => `${n.name} ${n.state}`).join(', ') || '-',
    s.snapshots > 0 ? `${s.snapshots}, ${size(s.bytes)}` : '-', s.last ? `${localTime(s.last.created)} ${s.last.name || s.last.id}` : '-',
    s.longestPauseMs > 0 ? `${s.longestPauseMs.toFixed(1)} ms` : '-',
    s.error || [...new Set(s.nodes.map((n) => n.says))].filter((t) => t !== '').join('; '),
  ]))
}
