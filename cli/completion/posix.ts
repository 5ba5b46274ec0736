// What bash and zsh have in common: tables as functions, and a walk over the words before the cursor.
import { everyCommand, type CommandShape, type Kind } from './tree.js'

const kindText = (kind: Kind): string => (kind.is === 'words' ? `words ${kind.words.join(' ')}` : kind.is)
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

function lookup(name: string, arms: [string, string][]): string {
  const lines = arms.map(([key, value]) => `    ${quote(key)}) echo ${quote(value)} ;;`)
  return `${name}() {\n  case "$1" in\n${lines.join('\n')}\n  esac\n}`
}

/** Functions that say what there is; keys are paths, with an option or a position after them. */
function tables(root: CommandShape): string {
  const all = everyCommand(root)
  return [
    lookup('__violin_commands', all.filter((c) => c.commands.length > 0).map((c) => [c.path, c.commands.map((b) => b.name).join(' ')])),
    lookup('__violin_options', all.map((c) => [c.path, c.options.flatMap((o) => o.names).join(' ')])),
    lookup('__violin_value', all.flatMap((c) => c.options.flatMap((o) =>
      (o.value ? o.names.map((name): [string, string] => [`${c.path} ${name}`, kindText(o.value!)]) : [])))),
    lookup('__violin_argument', all.flatMap((c) => c.values.map((kind, i): [string, string] => [`${c.path} ${i + 1}`, kindText(kind)]))),
  ].join('\n')
}

/** Sets `at` (the command), `wants` (what the word at the cursor is to be). `current` is that word. */
const walk = `__violin_walk() {
  local word position=1 ended= pending=
  at=
  for word; do
    if [ -n "$ended" ]; then position=$((position + 1))
    elif [ "$word" = -- ]; then ended=1
    elif [ "$word" = '=' ]; then : # bash makes three words of --option=value
    elif [ -n "$pending" ]; then pending=
    else
      case "$word" in
        --*=*) ;;
        -*) pending=$(__violin_value "$at $word") ;;
        *)
          case " $(__violin_commands "$at") " in
            *" $word "*) at="$at $word" ;;
            *) position=$((position + 1)) ;;
          esac ;;
      esac
    fi
  done
  if [ -n "$pending" ]; then wants=$pending
  else
    case "$ended$current" in
      -*) wants="words $(__violin_options "$at")" ;;
      *)
        wants=$(__violin_commands "$at")
        if [ -n "$wants" ]; then wants="words $wants"; else wants=$(__violin_argument "$at $position"); fi ;;
    esac
  fi
}`

export const posixPart = (root: CommandShape): string => `${tables(root)}\n${walk}`
