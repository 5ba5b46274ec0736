// The command line: a table of commands. Only this file reads the environment, and errors become sentences here.
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command, CommanderError } from 'commander'
import { certsCommand } from './commands/certs.js'
import { completionCommand } from './commands/completion.js'
import { doctorCommand } from './commands/doctor.js'
import { demoCommand } from './commands/demo.js'
import { sliceCommand } from './commands/slice.js'
import { statusCommand } from './commands/status.js'
import { testCommand } from './commands/test.js'
import { upCommand } from './commands/up.js'
import { notAsked, verifyCommand } from './commands/verify.js'
import { consoleCommand, eventsCommand } from './slice/telling.js'
import { expireCommand, shutdownCommand } from './operator/acting.js'
import { slicesCommand, sliversCommand, whoCommand } from './operator/telling.js'
import { exitOf, sentenceOf } from './slice/errors.js'
import { realTools } from './slice/tools.js'
import type { Surroundings } from './surroundings.js'

/** As the AM API counts. */
const badArguments = 1
const failed = 2
const program = resolve(import.meta.dirname, '..')
const root = resolve(program, '..')
const stateHome = process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state')
const at: Surroundings = {
  root, program,
  imageFolder: process.env['VIOLIN_IMAGE'] ?? join(root, 'build', 'image'),
  stateFolder: process.env['VIOLIN_STATE'] ?? join(stateHome, 'violin'),
  software: (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version,
  env: Object.fromEntries(Object.entries(process.env).filter((e): e is [string, string] => e[1] !== undefined)),
}

// Somebody who reads no more (head), or a full disk below a log, ends nothing: `up` has VMs to look after.
process.stdout.on('error', (error: NodeJS.ErrnoException) => { if (error.code !== 'EPIPE') process.exitCode = failed })
process.stderr.on('error', () => undefined)

const tools = realTools(at)
const violin: Command = new Command('violin')
  .description('A GENI aggregate manager whose slices can be snapshotted, suspended, resumed and rolled back as a whole, live.')
  .version(at.software)
  .addCommand(demoCommand(at))
  .addCommand(upCommand(at))
  .addCommand(sliceCommand(tools))
  .addCommand(statusCommand(tools))
  .addCommand(verifyCommand(tools))
  .addCommand(slicesCommand(tools))
  .addCommand(sliversCommand(tools))
  .addCommand(whoCommand(tools))
  .addCommand(shutdownCommand(tools))
  .addCommand(expireCommand(tools))
  .addCommand(eventsCommand(tools)) // these two also by the short name: they are what is asked for in a hurry
  .addCommand(consoleCommand(tools))
  .addCommand(testCommand(at))
  .addCommand(doctorCommand(at))
  .addCommand(certsCommand({ defaultDir: join(at.stateFolder, 'federation') }))
  .addCommand(completionCommand(() => violin))
violin.command('image').description('build the guest image (done already when you read this)')
  .option('--with <name>', 'one more image, with this software of the distribution too (images/with); VIOLIN_IMAGE=FOLDER violin up boots it',
    (name: string, before?: string[]) => [...before ?? [], name])
  .action(({ with: names }: { with?: string[] }) => {
    process.stdout.write(`the guest image is in ${names ? join(root, 'build', `image-${names.join('-')}`) : at.imageFolder}\n`)
  })
throwInsteadOfExit(violin)

try {
  await violin.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode !== 0 && process.argv[2] === 'verify' ? notAsked : error.exitCode
    const sentence = error.message.replace(/^error: /, '')
    if (error.exitCode !== 0 && process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ error: sentence, code: badArguments })}\n`)
  } else {
    process.stderr.write(`violin: ${sentenceOf(error) ?? (error as Error).stack ?? String(error)}\n`)
    process.exitCode = exitOf(error)
  }
}

function throwInsteadOfExit(command: Command): void {
  command.exitOverride()
  for (const below of command.commands) throwInsteadOfExit(below)
}
