// `violin certs`: a federation of one's own, without a clearinghouse. Prints paths, since the next thing that its user
// does is to give them to Omni or to another program.
import { Command } from 'commander'
import { realRandom } from '../../base/random.js'
import { realClock, rfc3339 } from '../../base/time.js'
import { common, dayMs, days, print, type Common } from '../certs/common.js'
import { handOutCommands } from '../certs/hand-outs.js'
import { showCommand } from '../certs/show.js'
import { createFederation, issueSlice, issueUser, type IssueTools } from '../../certs/issue.js'

const tools: IssueTools = { clock: realClock, random: realRandom }

/** The `certs` command with its subcommands. `defaultDir` is where the federation lies when --dir is not given. */
export function certsCommand({ defaultDir }: { defaultDir: string }): Command {
  const certs = new Command('certs')
    .description('make a test federation: authorities, users, slices and their credentials; explain what others have issued')
    .addHelpText('after', `
A federation has a root to trust (ca.pem), a slice and a member authority, and a certificate for the aggregate.
Its keys are not encrypted: use it for tests and demonstrations.

Example:
  violin certs init --authority lab.example.org --host am.lab.example.org
  violin certs user alice
  violin certs slice exp1 --user alice --days 7
  violin certs show their-credential.xml --trust /etc/violin/roots`)
  certs.addCommand(initCommand(defaultDir))
  certs.addCommand(userCommand(defaultDir))
  certs.addCommand(sliceCommand(defaultDir))
  for (const command of handOutCommands(defaultDir)) certs.addCommand(command)
  certs.addCommand(showCommand(defaultDir))
  return certs
}

function initCommand(defaultDir: string): Command {
  return common(new Command('init'), defaultDir)
    .description('make the authorities and the certificate of the aggregate')
    .option('--authority <name>', 'name of the authority, the middle part of every URN', 'violin.local')
    .option('--host <name...>', 'DNS names or addresses of the aggregate, besides localhost and 127.0.0.1', [])
    .action(async (options: Common & { authority: string; host: string[] }) => {
      const { authority, host: hostnames } = options
      const made = await createFederation(options.dir, { ...tools, authority, hostnames })
      print(options, made, [
        `made the federation ${made.authority} in ${made.dir}`,
        `  trust        ${made.trust}`,
        `  aggregate    ${made.am.certificate}`,
        `  its key      ${made.am.key}`,
        `  its names    ${made.hostnames.join(', ')}`,
      ])
    })
}

function userCommand(defaultDir: string): Command {
  return common(new Command('user'), defaultDir)
    .description('issue a certificate, a key and a user credential')
    .argument('<name>', 'up to 32 of a-z, 0-9 and _')
    .action(async (name: string, options: Common) => {
      const user = await issueUser(options.dir, name, tools)
      print(options, user, [
        `made ${user.urn}`,
        `  certificate  ${user.certificate}`,
        `  key          ${user.key}`,
        `  credential   ${user.credential}`,
      ])
    })
}

function sliceCommand(defaultDir: string): Command {
  return common(new Command('slice'), defaultDir)
    .description('make a slice, or give another user or more time to one that exists')
    .argument('<name>', 'up to 19 letters, digits and -')
    .requiredOption('--user <name>', 'who gets the credential')
    .option('--days <n>', 'how long the credential is good', days, 7)
    .action(async (name: string, options: Common & { user: string; days: number }) => {
      const slice = await issueSlice(options.dir, options.user, name, { ...tools, lifeMs: options.days * dayMs })
      const expires = rfc3339(slice.expires)
      print(options, { ...slice, expires }, [
        `made a credential of ${slice.user} for ${slice.urn}`,
        `  credential   ${slice.credential}`,
        `  expires      ${expires}`,
      ])
    })
}
