// As much of a shell as a simulated guest needs: several commands in one text, words with quotes, comments. No variables,
// no redirection: what asks for more meets a command that says so.

export interface Answer { code: number; out: string; err: string }

interface Command { words: string[]; onlyAfterSuccess: boolean }

// A quoted or plain piece of a word, a comment, a separator, or a blank.
const piece = /'([^']*)'?|"([^"]*)"?|(&&)|([;\n])|([ \t\r]+)|((?:[^'"; \t\r\n&]|&(?!&))+)/gy

/** Runs all commands of a text, one after the other; the code is the last one's. */
export function runScript(text: string, run: (words: string[]) => Answer): Answer {
  const all: Answer = { code: 0, out: '', err: '' }
  for (const { words, onlyAfterSuccess } of split(text)) {
    if (onlyAfterSuccess && all.code !== 0) continue
    const { code, out, err } = run(words)
    all.code = code
    all.out += out
    all.err += err
  }
  return all
}

function split(text: string): Command[] {
  const commands: Command[] = []
  let words: string[] = []
  let word: string | undefined
  let onlyAfterSuccess = false
  let comment = false
  const endWord = () => {
    if (word !== undefined) words.push(word)
    word = undefined
  }
  const endCommand = (andThen: boolean) => {
    endWord()
    if (words.length > 0) commands.push({ words, onlyAfterSuccess })
    words = []
    onlyAfterSuccess = andThen
  }
  for (const [whole, single, double, and, end, blank, plain] of text.matchAll(piece)) {
    if (comment && whole !== '\n') continue
    comment = plain?.startsWith('#') === true && word === undefined
    if (comment) continue
    if (and ?? end) endCommand(and !== undefined)
    else if (blank) endWord()
    else word = (word ?? '') + (single ?? double ?? plain ?? '')
  }
  endCommand(false)
  return commands
}
