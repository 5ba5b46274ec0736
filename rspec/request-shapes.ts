// What a <link> asks of its directions: <property>, and the MTU of our extension.
import { readCount } from './checkpoint.js'
import { rspecNs, violinNs } from './names.js'
import { refuse } from './request-parts.js'
import { attribute, childrenOf, type XmlElement } from './xml.js'
import type { LinkShape } from './topology.js'

/** [least, most] of each property. Less capacity than a modem's, or more latency than a few orbits, is a typing error. */
const bounds = { capacity: [8, 10_000_000], latency: [0, 10_000], packet_loss: [0, 1] } as const
const units = { capacity: ' kbit/s', latency: ' ms', packet_loss: '' } as const
const numberForm = /^\+?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?$/
/** IPv4 asks for the least; more than the most does not fit into the receive buffers of our guests' network cards. */
const mtus = { least: 576, most: 1500 }

/** One entry for each direction of the link that is shaped at all. `members` are the client_ids of its interfaces. */
export function readShapes(link: XmlElement, members: string[]): LinkShape[] {
  const shapes = new Map<string, LinkShape>()
  for (const property of childrenOf(link, rspecNs, 'property')) {
    const shape = readProperty(link, property)
    for (const [from, to] of directions(link, property, members)) {
      const name = `${from} ${to}`
      if (shapes.has(name)) throw refuse(link, `has two properties for the direction from "${from}" to "${to}"`)
      shapes.set(name, { from, to, ...shape })
    }
  }
  return [...shapes.values()].filter((shape) => Object.keys(shape).length > 2)
}

export function readMtu(link: XmlElement): number | undefined {
  const [element, twin] = childrenOf(link, violinNs, 'link')
  if (twin) throw refuse(link, 'has more than one <violin:link>')
  const mtu = element ? readCount(element, 'mtu') : undefined
  if (mtu !== undefined && (mtu < mtus.least || mtu > mtus.most)) {
    throw refuse(link, `has mtu="${mtu}"; it must be from ${mtus.least} to ${mtus.most}`)
  }
  return mtu
}

/** Without ends a property is for all directions of its link. */
function directions(link: XmlElement, property: XmlElement, members: string[]): [string, string][] {
  const from = given(property, 'source_id')
  const to = given(property, 'dest_id')
  if (from === undefined && to === undefined) {
    return members.flatMap((one) => members.filter((other) => other !== one).map((other): [string, string] => [one, other]))
  }
  if (from === undefined || to === undefined) {
    const half = from === undefined ? 'dest_id and without source_id' : 'source_id and without dest_id'
    throw refuse(link, `has a property with ${half}; give both, or none for all directions`)
  }
  for (const end of [from, to]) {
    if (!members.includes(end)) throw refuse(link, `has a property for the interface "${end.slice(0, 64)}", which is not on this link`)
  }
  if (from === to) throw refuse(link, `has a property from the interface "${from}" to itself`)
  return [[from, to]]
}

function readProperty(link: XmlElement, property: XmlElement): Omit<LinkShape, 'from' | 'to'> {
  const read = (name: keyof typeof bounds): number | undefined => {
    const text = given(property, name)
    if (text === undefined) return undefined
    const value = numberForm.test(text) ? Number(text) : NaN
    const [least, most] = bounds[name]
    if (value >= least && value <= most) return value
    throw refuse(link, `has ${name}="${text.slice(0, 40)}"; it must be a number from ${least} to ${most}${units[name]}`)
  }
  const [capacityKbps, latencyMs, loss] = [read('capacity'), read('latency'), read('packet_loss')]
  return { ...capacityKbps !== undefined && { capacityKbps }, ...latencyMs && { latencyMs }, ...loss && { loss } }
}

/** Tools write empty attributes where they mean none. */
function given(property: XmlElement, name: string): string | undefined {
  return attribute(property, name)?.trim() || undefined
}
