// A call and what may become of it: other values in place of its parameters, other XML in its strings, other elements and
// bytes in its body.
import type { Value } from '../../am-plugin/xmlrpc/value.js'
import type { Dice } from './dice.js'
import { awkward, mutateBytes, mutateText } from './mutate-text.js'
import { mutateXml, wrapSignature } from './mutate-xml.js'

export interface SeedCall { method: string; params: Value[] }

/** The body of `seed` with one to four changes. `pool`: XML that may be mixed in. */
export function mutatedBody(dice: Dice, seed: SeedCall, pool: readonly string[]): Buffer {
  let call = structuredClone(seed)
  const inXml = (text: string) => (dice.chance(15) ? wrapSignature(dice, text) : dice.chance(80) ? mutateXml(dice, text, pool) : mutateText(dice, text))
  for (let n = 1 + dice.below(2); n > 0; n--) {
    call = dice.chance(65) && hasXml(call.params) ? changeXml(dice, call, inXml) : { ...call, params: listOf(changeValue(dice, call.params)) }
  }
  const body = encodeLoosely(call)
  const how = dice.below(8) // most go as they are, so that they reach what lies behind the parser
  if (how === 0) return Buffer.from(mutateXml(dice, body, pool), 'utf8')
  if (how === 1) return mutateBytes(dice, Buffer.from(body, 'utf8'))
  return Buffer.from(dice.chance(4) ? mutateText(dice, body) : body, 'utf8')
}

const listOf = (value: Value): Value[] => (Array.isArray(value) ? value : [value])

const isXml = (value: Value): value is string => typeof value === 'string' && value.includes('<')

function hasXml(value: Value): boolean {
  if (typeof value !== 'object') return isXml(value)
  return Object.values(value).some(hasXml)
}

/** One of the XML texts in the parameters is changed. */
function changeXml(dice: Dice, call: SeedCall, change: (text: string) => string): SeedCall {
  let seen = 0
  const count = (value: Value): number => (typeof value === 'object' ? Object.values(value).reduce<number>((n, v) => n + count(v), 0) : isXml(value) ? 1 : 0)
  const chosen = dice.below(count(call.params))
  const walk = (value: Value): Value => {
    if (Array.isArray(value)) return value.map(walk)
    if (typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, walk(v)]))
    return isXml(value) && seen++ === chosen ? change(value) : value
  }
  return { ...call, params: walk(call.params) as Value[] }
}

/** One value somewhere in the tree becomes another one. */
function changeValue(dice: Dice, value: Value): Value {
  if (Array.isArray(value) && value.length > 0 && dice.chance(75)) {
    const i = dice.below(value.length)
    const ways: (() => Value[])[] = [
      () => value.map((v, n) => (n === i ? changeValue(dice, v) : v)), () => value.map((v, n) => (n === i ? changeValue(dice, v) : v)),
      () => value.filter((_, n) => n !== i), () => [...value, value[i]!], () => [...value].reverse(), () => Array<Value>(dice.pick([21, 200, 20_000])).fill(''),
    ]
    return dice.pick(ways)()
  }
  if (typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length > 0 && dice.chance(75)) {
    const key = dice.pick(Object.keys(value))
    const { [key]: chosen, ...rest } = value
    return dice.pick<() => Value>([
      () => ({ ...value, [key]: changeValue(dice, chosen!) }), () => ({ ...value, [key]: changeValue(dice, chosen!) }), () => rest,
      () => ({ ...rest, [dice.pick(awkward).slice(0, 60)]: chosen! }), () => ({ ...value, [dice.pick(knownOptions)]: changeValue(dice, '') }),
    ])()
  }
  return dice.pick<() => Value>([
    () => dice.pick(awkward), () => dice.pick(awkward), () => dice.below(2 ** 31) - 2 ** 30, () => dice.chance(50), () => [], () => ({}), () => [value], () => ({ x: value }),
    () => nest(value, dice.pick([3, 15, 40])), () => (typeof value === 'string' ? mutateText(dice, value) : ''), () => ({ geni_type: 'geni_sfa', geni_version: '3', geni_value: '' }),
  ])()
}

const knownOptions = [
  'geni_best_effort', 'geni_compressed', 'geni_rspec_version', 'geni_users', 'geni_end_time', 'geni_extend_alap', 'geni_available', 'geni_slice_urn', 'geni_speaking_for',
  'violin_snapshot', 'violin_name', 'violin_policy', 'violin_count', 'violin_bytes', 'violin_operation', 'violin_kind', 'violin_note',
]

function nest(value: Value, depth: number): Value {
  let at = value
  for (let i = 0; i < depth; i++) at = [at]
  return at
}

/** As our encoder, but for what it would refuse: characters that XML forbids are sent as they are. */
export function encodeLoosely({ method, params }: SeedCall): string {
  return `<?xml version="1.0"?>\n<methodCall><methodName>${escaped(method)}</methodName><params>${params.map((p) => `<param>${encoded(p)}</param>`).join('')}</params></methodCall>\n`
}

function encoded(value: Value): string {
  if (typeof value === 'string') return `<value><string>${escaped(value)}</string></value>`
  if (typeof value === 'boolean') return `<value><boolean>${value ? 1 : 0}</boolean></value>`
  if (typeof value === 'number') return `<value><int>${value}</int></value>`
  if (Array.isArray(value)) return `<value><array><data>${value.map(encoded).join('')}</data></array></value>`
  return `<value><struct>${Object.entries(value).map(([k, v]) => `<member><name>${escaped(k)}</name>${encoded(v)}</member>`).join('')}</struct></value>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
