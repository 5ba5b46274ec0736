// The <link>s of a request: LANs between interfaces of our nodes. Fills in the addresses of all interfaces.
import { assignAddresses, formatNetmask, networkOf, overlap, type Address, type Addressed } from './address.js'
import { rspecNs } from './names.js'
import { checkChildren, isUs, linkManagers, readClientId, refuse } from './request-parts.js'
import type { RequestedNode } from './request-node.js'
import { attribute, childrenOf, type XmlElement } from './xml.js'
import { readMtu, readShapes } from './request-shapes.js'
import type { Link } from './topology.js'

interface Lan { element: XmlElement; clientId: string; interfaces: Addressed[] }

const linkTypes = ['lan', 'vlan']

/** Of the guest's network card for logins: a LAN with these addresses could not be told from it. */
const management: Address = { ip: '10.0.2.15', prefixLength: 24 }

interface LinkOptions { componentManager: string; taken?: readonly Address[] }

/** Does the link name managers, and us not among them? */
export function isForeignLink(link: XmlElement, componentManager: string): boolean {
  const managers = linkManagers(link)
  return managers.length > 0 && !managers.some((manager) => isUs(manager, componentManager))
}

/** The links that are ours to build. `nodes` get their addressed interfaces. */
export function readLinks(root: XmlElement, { componentManager, taken = [] }: LinkOptions, nodes: RequestedNode[], foreign: XmlElement[]): Link[] {
  const ours = new Map(nodes.flatMap((node) => node.requested.map((one) => [one.clientId, one])))
  const others = new Set(foreign.flatMap((node) => childrenOf(node, rspecNs, 'interface')).map((one) => attribute(one, 'client_id')))
  const lans: Lan[] = []
  const names = new Set<string>()
  for (const element of childrenOf(root, rspecNs, 'link')) {
    if (isForeignLink(element, componentManager)) continue
    const managers = linkManagers(element)
    const members = references(element)
    if (members.length > 0 && members.every((id) => others.has(id) && !ours.has(id))) continue
    if (managers.some((manager) => !isUs(manager, componentManager)) || members.some((id) => others.has(id) && !ours.has(id))) {
      throw refuse(element, 'joins nodes of several aggregates, and this one has no links to others', 'no-vlan')
    }
    const lan = readLan(element, members, ours)
    if (names.has(lan.clientId)) throw refuse(element, `is the second link with client_id="${lan.clientId}"`)
    names.add(lan.clientId)
    lans.push(lan)
  }
  checkMembership(lans, nodes)
  for (const lan of lans) checkAddresses(lan)
  checkBetween(lans, nodes, taken)
  assignAddresses(lans, taken)
  for (const node of nodes) node.interfaces = node.requested.map(({ clientId, address }) => ({ clientId, ...address! }))
  return lans.map(linkOf)
}

function linkOf({ element, clientId, interfaces }: Lan): Link {
  const members = interfaces.map((one) => one.clientId)
  const shapes = readShapes(element, members)
  const mtu = readMtu(element)
  return { clientId, interfaces: members, ...shapes.length > 0 && { shapes }, ...mtu !== undefined && { mtu } }
}

function references(link: XmlElement): string[] {
  return childrenOf(link, rspecNs, 'interface_ref').map((reference) => attribute(reference, 'client_id') ?? '')
}

function readLan(element: XmlElement, members: string[], ours: Map<string, Addressed>): Lan {
  const clientId = readClientId(element)
  checkChildren(element, ['component_manager', 'interface_ref', 'property', 'link_type'], ['component_hop'])
  for (const type of childrenOf(element, rspecNs, 'link_type')) {
    const name = attribute(type, 'name') ?? ''
    if (!linkTypes.includes(name.toLowerCase())) {
      throw refuse(element, `has the link_type "${name.slice(0, 40)}"; there are: ${linkTypes.join(', ')}`, 'unsupported')
    }
  }
  if (members.length < 2) throw refuse(element, `joins ${members.length} interface${members.length === 1 ? '' : 's'}; a LAN has two or more`)
  const interfaces = members.map((id) => {
    const one = ours.get(id)
    if (!one) throw refuse(element, `refers to the interface "${id.slice(0, 64)}", which no node has`)
    return one
  })
  return { element, clientId, interfaces }
}

function checkMembership(lans: Lan[], nodes: RequestedNode[]): void {
  const on = new Map<Addressed, string>()
  for (const lan of lans) {
    for (const one of lan.interfaces) {
      const before = on.get(one)
      if (before === lan.clientId) throw refuse(lan.element, `names the interface "${one.clientId}" twice`)
      if (before !== undefined) throw refuse(lan.element, `names the interface "${one.clientId}", which is on the link "${before}" already`)
      on.set(one, lan.clientId)
    }
  }
  for (const node of nodes) {
    const loose = node.requested.find((one) => !on.has(one))
    if (loose) throw refuse(node.element, `has the interface "${loose.clientId}", which is on no link; put it on one or leave it out`)
  }
}

/** All on one LAN are in one network, each with an address of its own. */
function checkAddresses({ element, interfaces }: Lan): void {
  const given = interfaces.flatMap(({ clientId, address }) => (address ? [{ clientId, address }] : []))
  const [first] = given
  for (const { clientId, address } of given) {
    if (overlap(networkOf(address), networkOf(management))) {
      throw refuse(element, `has the address ${address.ip} at "${clientId}", which is in the network that nodes have for logins, 10.0.2.0/24`)
    }
    const same = address.prefixLength === first!.address.prefixLength && networkOf(address).base === networkOf(first!.address).base
    if (!same) {
      const shown = (one: Address) => `${one.ip} with the netmask ${formatNetmask(one.prefixLength)}`
      throw refuse(element, `has ${shown(first!.address)} at "${first!.clientId}" and ${shown(address)} at "${clientId}"; all on a link are in one network`)
    }
  }
}

/** No address twice in a slice, and no node with two interfaces in one network: it could not tell where to send. */
function checkBetween(lans: Lan[], nodes: RequestedNode[], taken: readonly Address[]): void {
  const seen = new Map(taken.map(({ ip }) => [ip, 'another node of the slice']))
  for (const { element, interfaces } of lans) {
    for (const { clientId, address } of interfaces) {
      if (!address) continue
      const twin = seen.get(address.ip)
      if (twin !== undefined) throw refuse(element, `has the address ${address.ip} at "${clientId}", which ${twin} has, too`)
      seen.set(address.ip, `"${clientId}"`)
    }
  }
  const lanOf = new Map(lans.flatMap((lan) => lan.interfaces.map((one) => [one, lan])))
  for (const node of nodes) {
    const ends = node.requested.map((one) => ({ one, network: lanOf.get(one)!.interfaces.find(({ address }) => address)?.address }))
    for (const [i, { one, network }] of ends.entries()) {
      const twin = network && ends.slice(0, i).find((end) => end.network && overlap(networkOf(end.network), networkOf(network)))
      if (twin) throw refuse(node.element, `has "${twin.one.clientId}" and "${one.clientId}" in networks that overlap, ${network.ip} and ${twin.network!.ip}`)
    }
  }
}
