// Changes that know what XML is: elements go, come twice, change places, names, attributes and values, are put into one
// another, or are replaced by elements of other documents. Most results are well-formed, so that they reach what lies behind
// the parser.
import type { Dice } from './dice.js'
import { awkward, mutateText } from './mutate-text.js'

interface Span { name: string; start: number; end: number; /** Where its content is; of an empty element both are `end`. */ inner: [number, number] }

const tag = /<(\/?)([A-Za-z_][\w:.-]*)((?:\s[^<>]*?)?)(\/?)>/g
const attribute = /\s([A-Za-z_][\w:.-]*)="([^"]*)"/g

/** Every element of a text that is more or less XML. */
export function elementsOf(text: string): Span[] {
  const spans: Span[] = []
  const open: { name: string; start: number; content: number }[] = []
  for (const m of text.matchAll(tag)) {
    const end = m.index + m[0].length
    if (m[4] === '/') spans.push({ name: m[2]!, start: m.index, end, inner: [end, end] })
    else if (m[1] === '') open.push({ name: m[2]!, start: m.index, content: end })
    else {
      const begun = open.pop()
      if (begun) spans.push({ name: begun.name, start: begun.start, end, inner: [begun.content, m.index] })
    }
  }
  return spans
}

/** One change; `others` are documents whose elements may turn up in this one. */
export function mutateXml(dice: Dice, text: string, others: readonly string[]): string {
  const spans = elementsOf(text)
  if (spans.length === 0) return mutateText(dice, text)
  const one = dice.pick(spans)
  const two = dice.pick(spans)
  const put = (span: { start: number; end: number }, piece: string) => text.slice(0, span.start) + piece + text.slice(span.end)
  const whole = (span: Span) => text.slice(span.start, span.end)
  const inside = (span: Span) => ({ start: span.inner[0], end: span.inner[1] })
  const nested = (depth: number) => put(one, `<${one.name}>`.repeat(depth) + whole(one) + `</${one.name}>`.repeat(depth))
  const ways: (() => string)[] = [
    () => put(one, ''),
    () => put(one, whole(one).repeat(2)),
    () => put(one, whole(two)),
    () => put({ start: one.end, end: one.end }, whole(two)),
    () => put({ start: one.inner[0], end: one.inner[0] }, whole(two)),
    () => put(inside(one), dice.pick(awkward)),
    () => put(inside(one), escaped(dice.pick(awkward))),
    () => put(inside(one), mutateText(dice, text.slice(...one.inner))),
    () => put(inside(one), ''),
    () => put(one, text.slice(...one.inner)),
    () => nested(1 + dice.below(3)),
    () => nested(dice.pick([70, 300, 3_000])),
    () => put(one, whole(one).repeat(dice.pick([10, 100, 1_000])).slice(0, 2_000_000)),
    () => put(one, renamed(whole(one), one.name, dice.pick([two.name, `x:${one.name}`, one.name.toUpperCase(), '__proto__', 'constructor']))),
    () => put(one, spoiled(dice, whole(one), one.name)),
    () => put({ start: one.inner[0], end: one.inner[0] }, dice.pick(['<!-- c -->', '<?p i?>', '<![CDATA[x]]>', '&lt;', '&#65;', '\u0001', '<!DOCTYPE a>', ' ', 'x'])),
    () => put({ start: 0, end: 0 }, dice.pick(['<!DOCTYPE a [<!ENTITY xxe SYSTEM "file:///etc/passwd">]>', '\ufeff', ' ', '<?xml version="1.1"?>', '<!-- c -->'])),
    () => put({ start: one.inner[0], end: one.inner[0] }, dense(1 + dice.below(16), dice.pick([10, 1_000, 4_000]))),
    () => {
      const other = dice.pick([...others, text])
      const foreign = elementsOf(other)
      return foreign.length === 0 ? put(one, other) : put(one, ((s: Span) => other.slice(s.start, s.end))(dice.pick(foreign)))
    },
  ]
  return dice.pick(ways)()
}

/** The signed part stays in the document, somewhere else, and another one with other values stands where it was. */
export function wrapSignature(dice: Dice, text: string): string {
  const spans = elementsOf(text)
  const signed = spans.find((s) => s.name === 'credential')
  if (!signed) return mutateText(dice, text)
  const original = text.slice(signed.start, signed.end)
  const forged = dice.pick([
    () => original.replaceAll('+exp1', '+bobs'), () => original.replaceAll('+user+alice', '+user+carol'), () => original.replaceAll('+user+bob', '+user+carol'),
    () => original.replace(/<expires>[^<]*/, '<expires>2036-01-01T00:00:00Z'), () => original.replaceAll('<name>info', '<name>*'),
  ])().replace('xml:id="ref0"', dice.pick(['xml:id="ref0"', 'xml:id="ref1"', 'Id="ref0"', '']))
  const rest = (piece: string) => text.slice(0, signed.start) + piece + text.slice(signed.end)
  return dice.pick([
    () => rest(forged),
    () => rest(forged + original),
    () => rest(original + forged),
    () => rest(forged.replace('</credential>', `${original}</credential>`)),
    () => rest(forged).replace('</Signature>', `<Object>${original}</Object></Signature>`),
    () => rest(forged).replace('<signatures>', `<x>${original}</x><signatures>`),
    () => rest(forged).replace('</signed-credential>', `${original}</signed-credential>`),
  ])()
}

/** Many names in scope for many elements: small for what it asks of whoever looks at all of them. */
function dense(levels: number, leaves: number): string {
  const names = (level: number) => Array.from({ length: 15 }, (_, i) => `xmlns:z${level}_${i}="urn:z${i}"`).join(' ')
  const nested = Array.from({ length: levels }, (_, level) => level)
  return `${nested.map((level) => `<z${level} ${names(level)}>`).join('')}${'<y/>'.repeat(leaves)}${nested.reverse().map((level) => `</z${level}>`).join('')}`
}

function renamed(element: string, from: string, to: string): string {
  const opened = element.replace(`<${from}`, () => `<${to}`)
  const close = `</${from}>`
  return opened.endsWith(close) ? `${opened.slice(0, -close.length)}</${to}>` : opened
}

function spoiled(dice: Dice, element: string, name: string): string {
  const open = /^<[^>]*>/.exec(element)?.[0] ?? ''
  const found = [...open.matchAll(attribute)]
  const value = escaped(dice.pick(awkward)).replaceAll('"', '&quot;')
  if (found.length === 0 || dice.chance(20)) return element.replace(`<${name}`, () => `<${name} ${dice.pick(['xmlns', 'xml:id', 'Id', 'client_id', 'xmlns:x', 'type'])}="${value}"`)
  const [whole, key] = dice.pick(found)
  const changed = dice.pick(['', ` ${key!}="${value}"`, `${whole}${whole}`, ` ${key!}='${value}'`, ` ${key!}=${value}`])
  return open.replace(whole, () => changed) + element.slice(open.length)
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
