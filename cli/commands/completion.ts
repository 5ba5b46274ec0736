// `violin completion`: the script that lets a shell complete our commands.
import { Argument, Command } from 'commander'
import { completionScript, shells, type Shell } from '../completion/scripts.js'
import { shapeOf } from '../completion/tree.js'

/** `violin` is the whole command line, this command included. */
export function completionCommand(violin: () => Command): Command {
  return new Command('completion')
    .description('print a script that lets the shell complete commands, options and files')
    .addArgument(new Argument('<shell>', 'which shell').choices(shells))
    .addHelpText('after', `
Example:
  source <(violin completion bash)        # in ~/.bashrc; for zsh the same with zsh, after compinit
  violin completion fish | source         # in ~/.config/fish/config.fish`)
    .action((shell: Shell) => { process.stdout.write(completionScript(shell, shapeOf(violin()))) })
}
