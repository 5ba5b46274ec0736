// violin slice status, events, console: they tell and change nothing.
import { InvalidArgumentError, type Command } from 'commander'
import { sameUrn } from '../../base/urn.js'
import { text, type Struct } from '../demo/slice-client.js'
import { onSlice, sliceSubcommand, type Answer, type Flags } from './command.js'
import { loginOf } from './login.js'
import { localTime, table } from './printing.js'
import type { Session } from './session.js'
import type { SliceTools } from './tools.js'

export function statusCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'status', {
    description: 'the nodes of the slice: states, logins, what goes on', example: 'violin slice status --slice myslice',
  })
    .action((flags: Flags) => onSlice(tools, flags, status))
}

async function status(session: Session): Promise<Answer> {
  const [slivers, manifest] = await Promise.all([session.client.status(), session.nodes()])
  const nodes = slivers.map((s) => {
    const node = manifest.find((n) => sameUrn(n.sliver, s.urn))
    const login = node && loginOf(node, session.access)
    return {
      name: node?.clientId ?? s.urn, urn: s.urn, allocation: s.allocation, state: s.operational, error: s.error, says: s.resourceStatus, expires: s.expires,
      ...(login ? { login } : {}),
    }
  })
  const ends = nodes.map((n) => n.expires).sort()[0] ?? ''
  return {
    json: { slice: session.name, urn: session.access.sliceUrn, expires: ends, nodes },
    lines: [
      `slice ${session.name}, until ${localTime(ends)}`,
      ...table(['NODE', 'STATE', 'LOGIN', 'WHAT'], nodes.map((n) =>
        [n.name, n.state, n.login ? `${n.login.username}@${n.login.host}:${n.login.port}` : '-', n.error || n.says])),
    ],
  }
}

export function eventsCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'events', { description: 'what has happened to the slice, oldest first', example: 'violin slice events --count 50' })
    .option('--count <n>', 'how many, counted from the newest', count)
    .action((flags: Flags & { count?: number }) => onSlice(tools, flags, async (session) => {
      const slivers = await session.client.action('violin_events', flags.count === undefined ? {} : { violin_count: flags.count })
      const told = (slivers.find((s) => Array.isArray(s['violin_events']))?.['violin_events'] ?? []) as Struct[]
      const events = told.map(eventOf)
      const rows = events.map((e) => [localTime(e.at), e.kind, e.node, shortWho(e.who), e.text])
      return { json: { slice: session.name, events }, lines: events.length > 0 ? table(['AT', 'KIND', 'NODE', 'WHO', 'WHAT'], rows) : ['no events yet'] }
    }))
}

const eventOf = (e: Struct) =>
  ({ at: text(e, 'at'), kind: text(e, 'kind'), text: text(e, 'text'), op: text(e, 'op'), who: text(e, 'who'), node: text(e, 'node') })

/** The last part of a URN is enough for a table. */
const shortWho = (who: string): string => who.split('+').at(-1)!

export function consoleCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'console', { description: 'the last output of the consoles of nodes', example: 'violin slice console a --bytes 4000' })
    .argument('[node]', 'which node (default: all)')
    .option('--bytes <n>', 'how much of each', count)
    .action((name: string | undefined, flags: Flags & { bytes?: number }) => onSlice(tools, flags, async (session) => {
      const nodes = await session.nodesNamed(name === undefined ? [] : [name])
      const options: Struct = flags.bytes === undefined ? {} : { violin_bytes: flags.bytes }
      const slivers = await session.client.action('violin_console', options, name === undefined ? undefined : nodes.map((n) => n.sliver))
      const consoles = nodes.map((n) => {
        const sliver = slivers.find((s) => sameUrn(text(s, 'geni_sliver_urn'), n.sliver))
        return { node: n.clientId, console: text(sliver ?? {}, 'violin_console') }
      })
      return {
        json: { slice: session.name, consoles },
        lines: consoles.flatMap((c) => [...(consoles.length > 1 ? [`==> ${c.node} <==`] : []), c.console.trimEnd()]),
      }
    }))
}

function count(value: string): number {
  const n = Number(value)
  if (/^\d{1,8}$/.test(value) && n > 0) return n
  throw new InvalidArgumentError('give a number from 1 up.')
}
