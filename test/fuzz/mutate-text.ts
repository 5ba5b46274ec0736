// Changes that know nothing of what the text means, and the values that programs tend to stumble over.
import type { Dice } from './dice.js'

export const awkward: readonly string[] = [
  '', ' ', '0', '-1', '1', '2147483647', '2147483648', '-2147483649', '9007199254740993', '1e309', 'NaN', 'true', 'null', '\u0000', '\u0001', '\ufffe', '\ud800',
  '\u212a', '\u0130', '\u00e9', '\u{1f600}', '\r\n', '%00', '%s%n', '../../../../etc/passwd', '/dev/zero', 'file:///etc/passwd', 'http://127.0.0.1:1/', '${jndi:x}',
  '__proto__', 'constructor', 'toString', 'hasOwnProperty', '*', '?', '*\r\n$4\r\nPING', 'urn:publicid:IDN+lab.example+slice+bobs',
  'urn:publicid:IDN+lab.example+slice+exp1', 'urn:publicid:IDN+lab.example+user+bob', 'urn:publicid:IDN+lab.example+authority+sa', 'urn:publicid:IDN+x+slice+', 'urn:publicid:IDN',
  'urn:publicid:IDN+lab.example+slice+exp1,urn:publicid:IDN+lab.example+slice+bobs', 'URN:PUBLICID:IDN+LAB.EXAMPLE+SLICE+EXP1',
  '2026-02-30T00:00:00Z', '1970-01-01T00:00:00Z', '9999-12-31T23:59:60Z', '+275760-09-13T00:00:00Z', '0000-00-00', 'PT5S', 'P1000000Y', 'PT0.0000001S',
  '<', '>', '&', '"', "'", ']]>', '<!--', '-->', '<![CDATA[x]]>', '&lt;', '&#0;', '&#x10ffff;', '&#xd800;', '&x;', '&xxe;', '<?x y?>', '<!DOCTYPE a [<!ENTITY x "y">]>',
  'x'.repeat(300), 'x'.repeat(70_000), '&amp;'.repeat(2_000), '\u00e9'.repeat(5_000),
]

/** One change of characters anywhere. */
export function mutateText(dice: Dice, text: string): string {
  const at = dice.below(text.length + 1)
  const length = dice.below(dice.chance(20) ? 2_000 : 12)
  const [before, piece, after] = [text.slice(0, at), text.slice(at, at + length), text.slice(at + length)]
  const ways: (() => string)[] = [
    () => before + after,
    () => before + piece + piece + after,
    () => before + dice.pick(awkward) + piece + after,
    () => before + dice.pick(awkward) + after,
    () => before + String.fromCharCode(dice.below(dice.chance(50) ? 128 : 65_536)) + piece.slice(1) + after,
    () => before + Array.from(piece).reverse().join('') + after,
    () => before + flipCase(piece) + after,
    () => text.slice(0, at),
    () => text.slice(at),
  ]
  return dice.pick(ways)()
}

/** One change of bytes anywhere. */
export function mutateBytes(dice: Dice, bytes: Buffer): Buffer {
  const at = dice.below(bytes.length + 1)
  const length = dice.below(dice.chance(10) ? 4_000 : 8)
  const junk = Buffer.from(Array.from({ length: 1 + dice.below(8) }, () => dice.below(256)))
  const ways: (() => Buffer)[] = [
    () => Buffer.concat([bytes.subarray(0, at), junk, bytes.subarray(at + junk.length)]),
    () => Buffer.concat([bytes.subarray(0, at), junk, bytes.subarray(at)]),
    () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]),
    () => bytes.subarray(0, at),
    () => {
      const copy = Buffer.from(bytes)
      if (copy.length > 0) copy[at % copy.length]! ^= 1 << dice.below(8)
      return copy
    },
    () => Buffer.concat([bytes, bytes]),
  ]
  return dice.pick(ways)()
}

function flipCase(text: string): string {
  return Array.from(text).map((c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())).join('')
}
