// What an operator does to slices of others: an emergency stop, and the end of a lease.
import type { Command } from 'commander'
import { Refusal } from '../../base/errors.js'
import type { Answer } from '../slice/command.js'
import type { SliceTools } from '../slice/tools.js'
import { allSlices, asOperator, oneSlice, operatorCommand, type OperatorFlags } from './connection.js'

export function shutdownCommand(tools: SliceTools): Command {
  return operatorCommand(tools, 'shutdown', {
    description: 'stop a slice at once: nothing of it runs any more, only operators may act on it, disks and snapshots are kept',
    example: 'violin shutdown exp1',
  }).argument('<slice>', 'its name or URN')
    .action((wanted: string, flags: OperatorFlags) => asOperator(tools, flags, async (am): Promise<Answer> => {
      const { urn, shutdown } = oneSlice(await allSlices(am), wanted)
      if (!shutdown) await am.geni('Shutdown', [urn, [], {}])
      const line = `${urn} ${shutdown ? 'was shut down before' : 'is shut down: violin expire removes it'}`
      return { json: { slice: urn, shutdown: true, before: shutdown }, lines: [line] }
    }))
}

export function expireCommand(tools: SliceTools): Command {
  return operatorCommand(tools, 'expire', {
    description: 'end the lease of a slice now: its nodes go, as at the end of any lease its snapshots wait for its user',
    example: 'violin expire exp1 --node b',
  }).argument('<slice>', 'its name or URN')
    .option('--node <client_id...>', 'only these nodes')
    .action((wanted: string, flags: OperatorFlags & { node?: string[] }) => asOperator(tools, flags, async (am): Promise<Answer> => {
      const slice = oneSlice(await allSlices(am), wanted)
      const nodes = flags.node ?? slice.slivers.map((s) => s.node)
      const unknown = nodes.filter((n) => !slice.slivers.some((s) => s.node === n))
      if (unknown.length > 0) {
        throw new Refusal('not-found', `${slice.urn} has no node ${unknown.join(', ')}: it has ${slice.slivers.map((s) => s.node).join(', ')}`)
      }
      const urns = flags.node ? slice.slivers.filter((s) => nodes.includes(s.node)).map((s) => s.urn) : [slice.urn]
      await am.geni('violin_expire', [urns, {}])
      return { json: { slice: slice.urn, nodes }, lines: [`the lease of ${nodes.join(', ')} of ${slice.urn} has ended; the nodes go in a few seconds`] }
    }))
}
