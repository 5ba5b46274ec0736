// Completion scripts for bash, zsh and fish, made from the definition of the command line.
import { posixPart } from './posix.js'
import { everyCommand, type CommandShape, type OptionShape } from './tree.js'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

export function completionScript(shell: Shell, root: CommandShape): string {
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](root)
}

function bashScript(root: CommandShape): string {
  return `# bash completion of violin: source <(violin completion bash)
${posixPart(root)}
_violin() {
  local at wants current=\${COMP_WORDS[COMP_CWORD]}
  if [ "$current" = '=' ]; then current=; fi
  __violin_walk "\${COMP_WORDS[@]:1:COMP_CWORD-1}"
  COMPREPLY=()
  case "$wants" in
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    words*) mapfile -t COMPREPLY < <(compgen -W "\${wants#words}" -- "$current") ;;
  esac
}
complete -F _violin violin
`
}

function zshScript(root: CommandShape): string {
  return `#compdef violin
# zsh completion of violin: source <(violin completion zsh), after compinit
${posixPart(root)}
_violin() {
  local at wants current=$words[CURRENT]
  __violin_walk "\${(@)words[2,CURRENT-1]}"
  if [[ $current == --*=* ]]; then
    wants=$(__violin_value "$at \${current%%=*}")
    compset -P '*='
  fi
  case "$wants" in
    file) _files ;;
    folder) _files -/ ;;
    words*) compadd -- \${=wants#words} ;;
  esac
}
compdef _violin violin
`
}

function fishScript(root: CommandShape): string {
  const all = everyCommand(root)
  const paths = all.filter((c) => c.path !== '').map((c) => quote(c.path)).join(' ')
  return `# fish completion of violin: violin completion fish | source
function __violin_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    if contains -- "$at $word" ${paths}
      set at "$at $word"
    end
  end
  test "$at" = "$argv[1]"
end
complete -c violin -f
${all.flatMap(fishLines).join('\n')}
`
}

function fishLines(command: CommandShape): string[] {
  const here = `complete -c violin -n ${quote(`__violin_at ${quote(command.path)}`)}`
  return [
    ...command.commands.map((below) => `${here} -a ${below.name} -d ${quote(below.description)}`),
    ...command.options.map((option) => `${here} ${fishOption(option)} -d ${quote(option.description)}`),
    ...command.values.flatMap((kind) => (kind.is === 'file' ? [`${here} -F`] : kind.is === 'words' ? [`${here} -a ${quote(kind.words.join(' '))}`] : [])),
  ]
}

function fishOption({ names, value }: OptionShape): string {
  const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`)).join(' ')
  if (!value) return flags
  if (value.is === 'file') return `${flags} -r -F`
  if (value.is === 'folder') return `${flags} -x -a '(__fish_complete_directories)'`
  return value.is === 'words' ? `${flags} -x -a ${quote(value.words.join(' '))}` : `${flags} -x`
}

/** For fish: a quote is escaped inside of quotes. */
const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
