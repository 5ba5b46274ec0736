// violin slice policy: shows the checkpoint policy of the slice, or sets another.
import type { Command } from 'commander'
import { text, type Struct } from '../demo/slice-client.js'
import { onSlice, sliceSubcommand, type Flags } from './command.js'
import { readNamed } from './federation-files.js'
import type { SliceTools } from './tools.js'

export function policyCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'policy', {
    description: 'show what the slice does by itself: snapshots in an interval, recovery; or set it from a file',
    example: `violin slice policy
  violin slice policy policy.xml
  echo '<rspec_checkpoint xmlns="urn:geni-violin:rspec:ext:checkpoint:1" interval="PT10M"/>' | violin slice policy -`,
  })
    .argument('[file]', 'an <rspec_checkpoint> element or a request that has one; - reads it from standard input')
    .action((file: string | undefined, flags: Flags) => onSlice(tools, flags, async (session) => {
      const options: Struct = file === undefined ? {} : { violin_policy: file === '-' ? await tools.stdin() : readNamed(file, 'the policy') }
      const [first] = await session.client.action('violin_set_policy', options)
      const policy = text(first ?? {}, 'violin_policy')
      const line = policy === '' ? `the slice ${session.name} has no policy: it takes snapshots when it is told to` : policy
      return { json: { slice: session.name, policy }, lines: [line] }
    }))
}
