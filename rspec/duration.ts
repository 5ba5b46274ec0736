// xs:duration, as far as it has a fixed length: a month has none, so it is refused.

const form = /^P(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?$/

/** Milliseconds, rounded to whole ones; undefined when the text is no duration of days, hours, minutes and seconds. */
export function parseDuration(text: string): number | undefined {
  const m = /\d[DHMS]$/.test(text) ? form.exec(text) : null
  if (!m) return undefined
  const [days, hours, minutes, seconds] = [m[1], m[2], m[3], m[4]].map((part) => Number(part ?? 0)) as [number, number, number, number]
  return Math.round((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000)
}

/** The shortest xs:duration of so many milliseconds, in seconds where nothing larger fits. */
export function formatDuration(ms: number): string {
  for (const [unit, size] of [['D', 86_400_000], ['H', 3_600_000], ['M', 60_000]] as const) {
    if (ms >= size && ms % size === 0) return unit === 'D' ? `P${ms / size}D` : `PT${ms / size}${unit}`
  }
  return `PT${ms / 1000}S`
}
