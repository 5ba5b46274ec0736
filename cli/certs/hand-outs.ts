// The commands of `violin certs` for what is given out of a federation beside users and slices: tools, what users sign, CRLs, PKCS#12.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { writeDurably } from '../../base/durable.js'
import { Refusal } from '../../base/errors.js'
import { realRandom, token } from '../../base/random.js'
import { realClock } from '../../base/time.js'
import { certificateFiles, delegateSlice, issueTool, letToolSpeak, pkcs12Of, revoke } from '../../certs/hand-outs.js'
import type { IssueTools } from '../../certs/issue.js'
import { common, dayMs, days, print, readNamed, type Common } from './common.js'

const tools: IssueTools = { clock: realClock, random: realRandom }

/** The subcommands, in the order in which they are listed. */
export function handOutCommands(defaultDir: string): Command[] {
  return [toolCommand, delegateCommand, speaksForCommand, crlCommand, pkcs12Command].map((make) => make(defaultDir))
}

function toolCommand(defaultDir: string): Command {
  return common(new Command('tool'), defaultDir)
    .description('issue a certificate and a key for a tool that speaks for users, such as a portal')
    .argument('<name>', 'up to 32 of a-z, 0-9 and _')
    .action(async (name: string, options: Common) => {
      const tool = await issueTool(options.dir, name, tools)
      print(options, tool, [`made ${tool.urn}`, `  certificate  ${tool.certificate}`, `  key          ${tool.key}`])
    })
}

interface DelegateFlags extends Common { from: string; to: string; credential?: string; privilege?: string[]; days?: number; keep?: true }

function delegateCommand(defaultDir: string): Command {
  return common(new Command('delegate'), defaultDir)
    .description('hand on the credential of a user for a slice to another user')
    .argument('<slice>', 'name of the slice')
    .requiredOption('--from <user>', 'whose credential it is; that user signs')
    .requiredOption('--to <user>', 'a user of the federation, or a PEM file with the certificate of somebody else')
    .option('--credential <file>', 'hand on this credential: one that --from got from somebody else')
    .option('--privilege <name...>', 'only these; all that may be handed on when not given')
    .option('--days <n>', 'how long it is good, at most as long as the one it comes from', days)
    .option('--keep', 'may not be handed on again')
    .action(async (slice: string, { from, to, credential, privilege, days: n, keep, ...options }: DelegateFlags) => {
      const made = await delegateSlice(options.dir, {
        slice, from, to, ...(credential ? { input: credential } : {}), ...(privilege ? { privileges: privilege } : {}),
        ...(n !== undefined ? { lifeMs: n * dayMs } : {}), ...(keep ? { keep } : {}),
      }, tools)
      print(options, { ...made, slice, from }, [`made a credential of ${made.urn} for ${slice}, handed on by ${from}`, `  credential   ${made.credential}`])
    })
}

function speaksForCommand(defaultDir: string): Command {
  return common(new Command('speaks-for'), defaultDir)
    .description('let a tool speak for a user: it calls with its own certificate and the option geni_speaking_for')
    .argument('<tool>', 'name of a tool of the federation, or a PEM file with its certificate')
    .requiredOption('--user <name>', 'for whom; that user signs')
    .option('--days <n>', 'how long', days, 30)
    .option('--old-form', 'a credential of type speaksfor, as ProtoGENI had them, in place of ABAC')
    .action(async (tool: string, { user, days: n, oldForm, ...options }: Common & { user: string; days: number; oldForm?: true }) => {
      const made = await letToolSpeak(options.dir, { user, tool, lifeMs: n * dayMs, oldForm: oldForm ?? false }, tools)
      print(options, { ...made, user }, [`${made.urn} may speak for ${user}`, `  credential   ${made.credential}`])
    })
}

interface CrlFlags extends Common { user: string[]; tool: string[]; slice: string[]; certificate: string[] }

function crlCommand(defaultDir: string): Command {
  return common(new Command('crl'), defaultDir)
    .description('revoke certificates of the federation; without any, only renew its lists of revoked ones')
    .option('--user <name...>', 'certificates of these users', [])
    .option('--tool <name...>', 'of these tools', [])
    .option('--slice <name...>', 'of these slices', [])
    .option('--certificate <pem...>', 'or these files', [])
    .addHelpText('after', '\nThe lists are good for 30 days. An aggregate that uses this federation reads them a second later; for others copy them'
      + '\ninto the folder of their --trust. There is no way back: issue a new certificate instead.')
    .action(async ({ user, tool, slice, certificate, ...options }: CrlFlags) => {
      const named = await certificateFiles(options.dir, { users: user, tools: tool, slices: slice })
      const made = await revoke(options.dir, { certificates: [...named, ...certificate] }, tools)
      print(options, made, [...made.revoked.map((urn) => `revoked ${urn}`), 'lists of revoked certificates:', ...made.crls.map((file) => `  ${file}`)])
    })
}

function pkcs12Command(defaultDir: string): Command {
  return common(new Command('pkcs12'), defaultDir)
    .description('write key and certificates of a user as one file for browsers and jFed')
    .argument('<user>', 'name of the user')
    .option('--out <file>', 'where to (default: USER.p12 in the current folder)')
    .option('--password-file <file>', 'its first line is the password; without it one is made and printed')
    .action(async (user: string, { out, passwordFile, ...options }: Common & { out?: string; passwordFile?: string }) => {
      const file = resolve(out ?? `${user}.p12`)
      if (existsSync(file)) throw new Refusal('exists', `${file} exists already; remove it or give another --out`)
      const password = passwordFile === undefined ? token(realRandom) : readNamed(passwordFile).toString('utf8').split(/\r?\n/)[0]!
      if (password === '') throw new Refusal('bad-arguments', `the first line of ${passwordFile ?? ''} is empty; write the password there`)
      await writeDurably(file, await pkcs12Of(options.dir, user, password, tools))
      const shown = passwordFile === undefined ? { password } : {}
      print(options, { file, ...shown }, [`wrote ${file}`, ...(passwordFile === undefined ? [`  password     ${password}`] : [])])
    })
}
