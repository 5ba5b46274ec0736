// violin slice ssh: a login on a node with the user's own key, by the ssh of this machine.
import type { Command } from 'commander'
import { Failure, Refusal } from '../../base/errors.js'
import { onSlice, sliceSubcommand, type Answer, type Flags } from './command.js'
import { loginOf, sshWords } from './login.js'
import type { Session } from './session.js'
import type { SliceTools } from './tools.js'

export function sshCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'ssh', {
    description: 'log in on a node, or run a command there; with --json only the words of the command are printed',
    example: 'violin slice ssh a\n  violin slice ssh a -- uname -a',
  })
    .argument('<node>', 'which node')
    .argument('[command...]', 'what to run there, after --')
    .option('--identity <file>', 'private key (default: the one of the user)')
    .action(async (node: string, command: string[], flags: Flags & { identity?: string }) => {
      await onSlice(tools, flags, (session) => login(session, node, command, flags))
    })
}

async function login(session: Session, name: string, command: string[], flags: Flags & { identity?: string }): Promise<Answer | undefined> {
  const [node] = await session.nodesNamed([name])
  const own = node && loginOf(node, session.access)
  if (!node || !own) {
    const others = node?.logins.map((l) => l.username).join(', ')
    throw new Refusal('not-found', `${name} has no login of ${session.access.userUrn}: ${others ? `it has ${others}` : 'it is not provisioned yet'}`)
  }
  const words = [...sshWords(own, flags.identity ?? session.access.keyFile), ...(command.length > 0 ? ['--', ...command] : [])]
  if (flags.json) return { json: { slice: session.name, node: name, command: ['ssh', ...words] }, lines: [] }
  session.tools.exit(await session.tools.run('ssh', words).catch((error: unknown) => { throw withoutSsh(error) }))
  return undefined
}

function withoutSsh(error: unknown): unknown {
  const missing = error instanceof Failure && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT'
  return missing ? new Failure('failed', 'ssh is not installed: apt-get install openssh-client') : error
}
