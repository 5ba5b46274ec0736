// What users may have fetched for them: files below places that the operator names (`up --sources`). A host fetches with
// rights and from a network that the user has not, so nothing is fetched without. Pure; hosts/fetch.ts fetches.

/** A file to fetch, and the digest that it must have, where its author says: `https://h/f.tgz#sha256=0123...`. */
export interface Source { url: string; sha256?: string }
/** One that is nothing else than what its author has meant, however often and whenever it is fetched. */
export interface DigestedSource extends Source { sha256: string }

export type DiskFormat = 'qcow2' | 'raw'
/** How a disk image says what it is: by its name and nothing else. What is in it was written by who knows whom, and is not asked. */
export const diskFormatOf = (name: string): DiskFormat | undefined => {
  const [, ending] = /\.([a-z0-9]+)$/i.exec(name) ?? []
  return ({ qcow2: 'qcow2', raw: 'raw', img: 'raw' } as const)[ending?.toLowerCase() ?? '']
}

/** A place of the operator, as it is compared: `https://HOST/PATH/` or `file:///PATH/`. Undefined when the text is none. */
export function readPlace(text: string): string | undefined {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined
  if (!url || !['https:', 'file:'].includes(url.protocol) || url.username !== '') return undefined
  if (url.search !== '' || url.hash !== '' || url.pathname.includes('%')) return undefined
  return url.href.endsWith('/') ? url.href : `${url.href}/`
}

/** The source that `text` names, or why it is none that may be fetched. */
export function readSource(text: string, places: readonly string[]): Source | string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) return 'which is no URL'
  const [, sha256] = /^#sha256=([0-9a-f]{64})$/i.exec(url.hash) ?? []
  if (url.hash !== '' && sha256 === undefined) return 'whose digest is not #sha256= and 64 hexadecimal digits'
  url.hash = ''
  // a percent could hide a slash or dots from the comparison and not from who serves it
  const isBelow = url.username === '' && !url.pathname.includes('%') && places.some((place) => url.href.startsWith(place) && url.href.length > place.length)
  if (places.length === 0) return 'and this aggregate fetches nothing: its operator has named no places (up --sources)'
  if (!isBelow) return `which is not below ${places.join(' or ')}`
  return { url: url.href, ...sha256 === undefined ? {} : { sha256: sha256.toLowerCase() } }
}
