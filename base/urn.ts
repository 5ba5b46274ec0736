// GENI URNs: urn:publicid:IDN+authority+type+name. Authority and, for slices, the name compare without case.

export interface Urn { authority: string; type: string; name: string }

const form = /^urn:publicid:IDN\+([A-Za-z0-9.:_-]+)\+([A-Za-z]+)\+([^+\s,"<>\p{Cc}]{1,256})$/u

/** The parts of a URN, or undefined when the text is not one. */
export function parseUrn(text: string): Urn | undefined {
  const m = text.length <= 1024 ? form.exec(text) : null
  return m ? { authority: m[1]!, type: m[2]!, name: m[3]! } : undefined
}

export function makeUrn(authority: string, type: string, name: string): string {
  return `urn:publicid:IDN+${authority}+${type}+${name}`
}

/** One spelling for each URN, for keys and comparison. */
export function sameUrn(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}

/** Is `authority` (a:b:c, wide to narrow) the same as `over` or below it? Component by component, never by substring. */
export function isWithinAuthority(authority: string, over: string): boolean {
  const inner = authority.toLowerCase().split(':')
  const outer = over.toLowerCase().split(':')
  return outer.length <= inner.length && outer.every((part, i) => part === inner[i])
}
