// `violin verify`: is a snapshot what it claims to be? Asked of its files alone; no aggregate need run.
import { Command } from 'commander'
import { explain } from '../../base/errors.js'
import { verifySnapshot } from '../../snapshots/verify.js'
import { numberOf, sentenceOf } from '../slice/errors.js'
import { harmless } from '../slice/printing.js'
import type { SliceTools } from '../slice/tools.js'
import { certificatesOf, disksOf, foldersOf, type VerifyFlags } from '../verify/find.js'
import { verdictJson, verdictLines } from '../verify/words.js'

const notOk = 1
/** Nothing could be asked: wrong arguments, no such snapshot, no certificate. */
export const notAsked = 2

export function verifyCommand(tools: SliceTools): Command {
  return new Command('verify')
    .description('check snapshots offline: complete, untampered, consistent, lossless, and what is not covered')
    .argument('[snapshot...]', 'id, name or URN, or the folder of a snapshot (default: all of the aggregate)')
    .option('--state <dir>', 'state folder of the aggregate: its snapshots, disk layers and certificate', tools.stateFolder)
    .option('--certificate <file...>', 'certificate of the aggregate (default: that of the state folder); several when it was renewed')
    .option('--layers <dir>', 'folder of the disk layers (default: beside the snapshot, else that of the state folder)')
    .option('--expect <digest>', 'the digest of its inventory, as it was told when it was taken')
    .option('--json', 'one JSON object on stdout, errors too: {"error": ..., "code": ...}')
    .addHelpText('after', `
It reads every byte and changes nothing; the aggregate may be up or not. docs/verify.md says what it proves.
Exit 0: all are ok. 1: one is not. 2: wrong arguments, or nothing there to verify.

Example:
  violin verify before-upgrade
  violin verify /backup/s-1f00/ --certificate am.pem --layers /backup/layers`)
    .action((words: string[], flags: VerifyFlags) => answered(tools, flags, async () => {
      const certificates = certificatesOf(flags)
      const folders = await foldersOf(words, flags)
      const verdicts = []
      for (const folder of folders) {
        const disks = disksOf(folder, flags)
        const begun = tools.clock.monotonic()
        const verdict = await verifySnapshot({ folder, certificates, disks, ...(flags.expect !== undefined ? { expected: flags.expect } : {}) })
        verdicts.push({ ...verdictJson(verdict), seconds: Math.round(tools.clock.monotonic() - begun) / 1000 })
        if (!verdict.ok) tools.exit(notOk)
        if (!flags.json) tools.out(verdictLines(verdict).map((line) => `${harmless(line)}\n`).join(''))
      }
      if (flags.json) tools.out(`${JSON.stringify({ ok: verdicts.every((v) => (v as { ok?: boolean }).ok), snapshots: verdicts })}\n`)
    }))
}

async function answered(tools: SliceTools, flags: VerifyFlags, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    const sentence = sentenceOf(error)
    if (sentence === undefined) throw error
    if (flags.json) tools.out(`${JSON.stringify({ error: sentence, code: numberOf(error) })}\n`)
    else tools.err.write(`violin: ${explain(error)}\n`)
    tools.exit(notAsked)
  }
}
