// violin slice start, stop, restart: of all nodes or of some.
import type { Command } from 'commander'
import { onSlice, sliceSubcommand, type Flags } from './command.js'
import { type Session } from './session.js'
import type { SliceTools } from './tools.js'

interface Power { name: string; action: string; description: string; done: string; boots: boolean }

const kinds: Power[] = [
  { name: 'start', action: 'geni_start', description: 'boot nodes that are stopped, and wait until one can log in', done: 'up', boots: true },
  { name: 'stop', action: 'geni_stop', description: 'end the VMs of nodes without saving their memory; their disks stay', done: 'stopped', boots: false },
  { name: 'restart', action: 'geni_restart', description: 'boot nodes anew, as by their reset button', done: 'up again', boots: true },
]

export function powerCommands(tools: SliceTools): Command[] {
  return kinds.map((kind) => sliceSubcommand(tools, kind.name, { description: kind.description, example: `violin slice ${kind.name} a b` })
    .argument('[node...]', 'which nodes (default: all)')
    .action((names: string[], flags: Flags) => onSlice(tools, flags, (session) => switchPower(session, kind, names))))
}

async function switchPower(session: Session, { name, action, done, boots }: Power, names: string[]) {
  const nodes = await session.nodesNamed(names)
  const slivers = names.length > 0 ? nodes.map((n) => n.sliver) : undefined
  const doing = `the ${name} of ${names.join(', ') || session.name}`
  await session.perform(doing, action, {}, slivers)
  if (boots) await session.waitUntilReady(doing, slivers)
  const which = nodes.map((n) => n.clientId)
  return { json: { slice: session.name, nodes: which, done }, lines: [`${which.join(', ')}: ${done}`] }
}
