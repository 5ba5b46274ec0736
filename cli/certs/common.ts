// What the commands of `violin certs` share: options and output.
import { readFileSync } from 'node:fs'
import { InvalidArgumentError, type Command } from 'commander'
import { Refusal } from '../../base/errors.js'

export const dayMs = 24 * 3600_000

export interface Common { dir: string; json?: true }

/** The options that all of them have. */
export function common(command: Command, defaultDir: string): Command {
  return command
    .option('--dir <folder>', 'folder of the federation', defaultDir)
    .option('--json', 'print one JSON object instead of text')
}

/** A number of days from the command line. */
export function days(text: string): number {
  const n = Number(text)
  if (!(n > 0 && n <= 3650)) throw new InvalidArgumentError('give a number of days, like 7 or 0.5.')
  return n
}

/** The lines for people, or the object for programs. */
export function print(options: Common, object: object, lines: string[]): void {
  process.stdout.write(options.json ? `${JSON.stringify(object)}\n` : `${lines.join('\n')}\n`)
}

/** What a file holds that a user has named. */
export function readNamed(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    throw new Refusal('not-found', `cannot read ${file}`, { cause })
  }
}
