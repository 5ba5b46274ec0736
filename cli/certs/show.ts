// `violin certs show`: what a file says, and whether an aggregate would accept it.
import { existsSync } from 'node:fs'
import { Command, Option } from 'commander'
import { Refusal } from '../../base/errors.js'
import { realClock } from '../../base/time.js'
import { openFederation } from '../../certs/issue.js'
import { show } from '../../certs/show.js'
import { loadTrust } from '../../certs/trust-folder.js'
import { hasFederation } from '../slice/federation-files.js'
import { common, print, readNamed, type Common } from './common.js'

interface ShowFlags extends Common { trust?: string[]; acceptSha1?: true }

export function showCommand(defaultDir: string): Command {
  return common(new Command('show'), defaultDir)
    .description('explain certificates, credentials and CRLs, and say whether an aggregate would accept them and why not')
    .argument('<file...>')
    .option('--trust <pem...>', 'the files and folders that the aggregate trusts (default: the root and the CRLs of the federation)')
    .addOption(new Option('--accept-sha1', 'as for an aggregate with this switch'))
    .addHelpText('after', '\nWhat is shown of a credential is what it says; only "accepted" means that it is true. The exit code is 0 when all'
      + '\nfiles are accepted, 3 when one is not.')
    .action(async (files: string[], { trust, acceptSha1, ...options }: ShowFlags) => {
      const store = loadTrust(trust ?? await trustOfFederation(options.dir), { acceptSha1: acceptSha1 ?? false })
      for (const file of files) {
        const shown = named(file, () => show(readNamed(file), store, realClock.now()))
        if (!shown.accepted) process.exitCode = 3
        const lines = shown.facts.map(([name, value]) => `  ${name.padEnd(14)} ${value}`)
        print(options, { file, ...shown }, [`${file}: a ${shown.kind}, ${shown.accepted ? 'accepted' : 'NOT accepted'}: ${shown.why}`, ...lines])
      }
    })
}

async function trustOfFederation(dir: string): Promise<string[]> {
  if (!hasFederation(dir)) throw new Refusal('not-found', `there is no federation at ${dir}: say by --trust what the aggregate trusts`)
  const { trust, crls } = await openFederation(dir)
  return existsSync(crls) ? [trust, crls] : [trust]
}

function named<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (!(cause instanceof Refusal)) throw cause
    throw new Refusal(cause.code, file, { cause })
  }
}
