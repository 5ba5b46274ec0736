// The commands, options and arguments of the command line, as completion needs them: taken from its own definition, so that
// nothing has to be told twice.
import type { Argument, Command, Option } from 'commander'

/** What may stand for a value. `any`: only the user knows. */
export type Kind = { is: 'file' | 'folder' | 'any' } | { is: 'words'; words: string[] }
export interface OptionShape { names: string[]; description: string; value: Kind | undefined }
export interface CommandShape {
  name: string
  /** From the root, with a blank before each name: '' for the root, ' slice list'. */
  path: string
  description: string
  commands: CommandShape[]
  options: OptionShape[]
  /** By position. */
  values: Kind[]
}

/** The last part of a placeholder like <file> or <pem...> that stands for a name in the file system. */
const files = new Set(['file', 'pem', 'rspec'])
const folders = new Set(['dir', 'folder'])

export function shapeOf(command: Command, path = ''): CommandShape {
  const options = command.options.filter((o) => !o.hidden).map(optionShape)
  return {
    name: command.name(), path, description: command.description(),
    commands: command.commands.map((below) => shapeOf(below, `${path} ${below.name()}`)),
    options: [...options, { names: ['--help', '-h'], description: 'display help for command', value: undefined }],
    values: command.registeredArguments.map((argument: Argument) => kindOf(argument.name(), argument.argChoices)),
  }
}

/** All commands, the root first. */
export const everyCommand = (shape: CommandShape): CommandShape[] => [shape, ...shape.commands.flatMap(everyCommand)]

function optionShape(option: Option): OptionShape {
  const placeholder = /[<[]([^>\].]+)/.exec(option.flags)?.[1]
  return {
    names: [option.long, option.short].filter((name) => name !== undefined), description: option.description,
    value: placeholder === undefined ? undefined : kindOf(placeholder, option.argChoices),
  }
}

function kindOf(name: string, choices: readonly string[] | undefined): Kind {
  if (choices) return { is: 'words', words: [...choices] }
  return { is: files.has(name) ? 'file' : folders.has(name) ? 'folder' : 'any' }
}
