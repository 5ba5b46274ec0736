// What an operator sees: slices, slivers, and who has them.
import type { Command } from 'commander'
import { parseUrn } from '../../base/urn.js'
import type { Answer } from '../slice/command.js'
import { localTime, size, table } from '../slice/printing.js'
import type { SliceTools } from '../slice/tools.js'
import { allSlices, asOperator, oneSlice, operatorCommand, type OperatorFlags, type SliceSeen } from './connection.js'

const sliverHead = ['SLIVER', 'SLICE', 'NODE', 'STATE', 'HOST', 'MEMORY', 'PORT', 'END', '']
const personHead = ['USER', 'SLICES', 'NODES', 'MEMORY', 'SNAPSHOTS', 'ACCOUNTS ON NODES OF']

const nameOf = (urn: string): string => parseUrn(urn)?.name ?? urn
const firstEnd = (slice: SliceSeen): string => slice.slivers.map((s) => s.expires).sort()[0] ?? ''
const counted = (texts: string[]): string => [...new Set(texts)].sort().map((t) => `${texts.filter((x) => x === t).length} ${t}`).join(', ')

function rowOf(s: SliceSeen): string[] {
  const remarks = [...s.shutdown ? ['shut down'] : [], ...s.operation === '' ? [] : [`${s.operation} under way`]]
  return [
    nameOf(s.urn), nameOf(s.creator), String(s.slivers.length), counted(s.slivers.map((v) => v.state)),
    s.snapshots > 0 ? `${s.snapshots}, ${size(s.snapshotBytes)}` : '-', firstEnd(s) === '' ? '-' : localTime(firstEnd(s)), remarks.join(', '),
  ]
}

export function slicesCommand(tools: SliceTools): Command {
  return operatorCommand(tools, 'slices', { description: 'every slice of the aggregate, whosever it is (for its operator)', example: 'violin slices --json' })
    .action((flags: OperatorFlags) => asOperator(tools, flags, async (am): Promise<Answer> => {
      const slices = await allSlices(am)
      return {
        json: { slices: slices.map((s) => ({ ...s, expires: firstEnd(s) })) },
        lines: slices.length === 0 ? ['there are no slices'] : table(['SLICE', 'CREATOR', 'NODES', 'STATES', 'SNAPSHOTS', 'FIRST END', ''], slices.map(rowOf)),
      }
    }))
}

export function sliversCommand(tools: SliceTools): Command {
  return operatorCommand(tools, 'slivers', { description: 'every sliver of the aggregate, or of one slice (for its operator)', example: 'violin slivers exp1' })
    .argument('[slice]', 'name or URN of a slice')
    .action((wanted: string | undefined, flags: OperatorFlags) => asOperator(tools, flags, async (am): Promise<Answer> => {
      const slices = await allSlices(am)
      const chosen = wanted === undefined ? slices : [oneSlice(slices, wanted)]
      const slivers = chosen.flatMap((slice) => slice.slivers.map((sliver) => ({ slice: slice.urn, creator: slice.creator, ...sliver })))
      return {
        json: { slivers },
        lines: slivers.length === 0 ? ['there are no slivers'] : table(sliverHead, slivers.map((s) => [
          nameOf(s.urn), nameOf(s.slice), s.node, s.allocation === 'geni_provisioned' ? s.state : s.allocation, s.host, `${s.memoryMiB} MiB`,
          String(s.loginPort), localTime(s.expires), s.error || s.says,
        ])),
      }
    }))
}

interface Person { urn: string; slices: string[]; nodes: number; memoryMiB: number; snapshotBytes: number; accounts: string[] }

export function whoCommand(tools: SliceTools): Command {
  return operatorCommand(tools, 'who', { description: 'who has slices here, or accounts on their nodes (for the operator)', example: 'violin who' })
    .action((flags: OperatorFlags) => asOperator(tools, flags, async (am): Promise<Answer> => {
      const people = peopleOf(await allSlices(am))
      return {
        json: { people },
        lines: people.length === 0 ? ['nobody has anything here'] : table(personHead, people.map((p) => [
          p.urn, p.slices.map(nameOf).join(', ') || '-', String(p.nodes), `${p.memoryMiB} MiB`, size(p.snapshotBytes),
          p.accounts.map(nameOf).join(', ') || '-',
        ])),
      }
    }))
}

/** Creators with what their slices take, and all others who may log in somewhere. */
export function peopleOf(slices: SliceSeen[]): Person[] {
  const people = new Map<string, Person>()
  const person = (urn: string): Person => {
    let found = people.get(urn)
    if (!found) people.set(urn, found = { urn, slices: [], nodes: 0, memoryMiB: 0, snapshotBytes: 0, accounts: [] })
    return found
  }
  for (const slice of slices) {
    const creator = person(slice.creator)
    creator.slices.push(slice.urn)
    creator.nodes += slice.slivers.length
    creator.memoryMiB += slice.slivers.reduce((sum, s) => sum + s.memoryMiB, 0)
    creator.snapshotBytes += slice.snapshotBytes
    for (const user of new Set(slice.slivers.flatMap((s) => s.users))) person(user).accounts.push(slice.urn)
  }
  return [...people.values()].sort((a, b) => (a.urn < b.urn ? -1 : 1))
}
