// Amounts of bytes as people write and read them: suffixes of 1024.

const suffixes = ['', 'K', 'M', 'G', 'T']
const form = /^(\d{1,15})([KMGT]?)(?:i?B)?$/i

/** Bytes of `512M`, `20GiB` or a plain count of `unit`s; undefined when the text is none of these, or beyond what can be counted. */
export function parseSize(text: string, unit = 1): number | undefined {
  const m = form.exec(text.trim())
  if (!m) return undefined
  const bytes = Number(m[1]) * (m[2] === '' ? unit : 1024 ** suffixes.indexOf(m[2]!.toUpperCase()))
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** `3 GiB`, `1.5 GiB`, `700 bytes`: one digit after the point at most, rounded down, so that what is left is never told too large. */
export function shownSize(bytes: number): string {
  let power = 0
  while (power < suffixes.length - 1 && bytes >= 1024 ** (power + 1)) power++
  return power === 0 ? `${Math.floor(bytes)} bytes` : `${Math.floor((bytes / 1024 ** power) * 10) / 10} ${suffixes[power]!}iB`
}
