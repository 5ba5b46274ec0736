// What all commands on a slice have in common: their options, how they find the aggregate, and how answers and errors are
// printed: for people, or (--json) one object on stdout.
import { Command } from 'commander'
import { Failure } from '../../base/errors.js'
import { SliceClient } from '../demo/slice-client.js'
import { findAccess, type Access, type AccessFlags } from './access.js'
import { exitOf, numberOf, sentenceOf } from './errors.js'
import { readNamed } from './federation-files.js'
import { harmless } from './printing.js'
import { Session } from './session.js'
import type { SliceTools } from './tools.js'

export interface Flags extends AccessFlags { json?: boolean }
/** What a command has to say, in both forms. */
export interface Answer { json: object; lines: string[] }

/** A command on a slice with the options that all of them have, an example in its help. */
export function sliceSubcommand(tools: SliceTools, name: string, about: { description: string; example: string; sliceOption?: boolean }): Command {
  const command = new Command(name).description(about.description)
  if (about.sliceOption !== false) command.option('--slice <name>', 'the slice (default: the only one of the user)')
  return command
    .option('--user <name>', 'a user of the local test federation (default: the only one)')
    .option('--state <dir>', 'state folder of the aggregate on this machine, with its test federation', tools.stateFolder)
    .option('--am <url>', 'the aggregate (default: the one that is up on the state folder)')
    .option('--key <file>', 'with --cert, --ca and --credential: a user of another federation')
    .option('--cert <file>', 'certificate of the user, with its chain')
    .option('--ca <file>', 'roots that have signed the certificate of the aggregate')
    .option('--credential <file>', 'credential of the user for the slice')
    .option('--json', 'one JSON object on stdout, errors too: {"error": ..., "code": ...}')
    .addHelpText('after', `\nExample:\n  ${about.example}`)
}

/** Finds the slice, does the work, prints what it answers. `found` supplies access in another way than by the options. */
export async function onSlice(
  tools: SliceTools, flags: Flags, work: (session: Session) => Promise<Answer | undefined>, found?: () => Promise<Access>,
): Promise<void> {
  await printed(tools, flags, async () => {
    const access = found ? await found() : findAccess(flags, tools.clock.now())
    const am = connected(tools, access)
    try {
      return await work(new Session(access, new SliceClient(am, access.sliceUrn, access.credentialXml, tools.clock), tools))
    } catch (error) {
      throw nobodyThere(error, access)
    } finally {
      am.close()
    }
  })
}

export function connected(tools: SliceTools, access: Access) {
  return tools.connect({
    url: access.url, key: readNamed(access.keyFile, 'the key'), cert: readNamed(access.certFile, 'the certificate'), ca: readNamed(access.caFile, '--ca'),
  })
}

/** Prints an answer; with --json errors as well, else they go to whoever called us. */
export async function printed(tools: SliceTools, flags: { json?: boolean }, work: () => Promise<Answer | undefined>): Promise<void> {
  try {
    const answer = await work()
    if (answer && flags.json) tools.out(`${JSON.stringify(answer.json)}\n`)
    else if (answer) tools.out(answer.lines.map((line) => `${harmless(line)}\n`).join(''))
  } catch (error) {
    const sentence = sentenceOf(error)
    if (!flags.json || sentence === undefined) throw error
    tools.out(`${JSON.stringify({ error: sentence, code: numberOf(error) })}\n`)
    tools.exit(exitOf(error))
  }
}

function nobodyThere(error: unknown, access: Access): unknown {
  const refused = error instanceof Failure && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED'
  if (!refused) return error
  const mend = access.local ? `: start it with violin up --state ${access.local.state}` : ''
  return new Failure('failed', `no aggregate answers at ${access.url}${mend}`)
}
