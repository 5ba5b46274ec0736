// Everything that leaves the aggregate is ASCII: old GENI clients break on the rest.

/** `text` with everything that is not printable ASCII, tab or newline turned into '?': for messages about bad input. */
export function printable(text: string): string {
  return text.replace(/[^\t\n\x20-\x7e]/gu, '?')
}
