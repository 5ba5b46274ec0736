// The <link>s of a request: LANs between interfaces of our nodes. Fills in the addresses of all interfaces.
import { assignAddresses, type Addressed } from './address.js'
import { rspecNs } from './names.js'
import { checkChildren, isUs, linkManagers, readClientId, refuse } from './request-parts.js'
import type { RequestedNode } from './request-node.js'
import { attribute, childrenOf, type XmlElement } from './xml.js'
import { readMtu, readShapes } from './request-shapes.js'
import type { Link } from './topology.js'

interface Lan { element: XmlElement; clientId: string; interfaces: Addressed[] }

const linkTypes = ['lan', 'vlan']

/** The links that are ours to build. `nodes` get their addressed interfaces. */
export function readLinks(root: XmlElement, componentManager: string, nodes: RequestedNode[], foreign: XmlElement[]): Link[] {
  const ours = new Map(nodes.flatMap((node) => node.requested.map((one) => [one.clientId, one])))
  const others = new Set(foreign.flatMap((node) => childrenOf(node, rspecNs, 'interface')).map((one) => attribute(one, 'client_id')))
  const lans: Lan[] = []
  const names = new Set<string>()
  for (const element of childrenOf(root, rspecNs, 'link')) {
    const managers = linkManagers(element)
    if (managers.length > 0 && !managers.some((manager) => isUs(manager, componentManager))) continue
    const members = references(element)
    if (members.length > 0 && members.every((id) => others.has(id) && !ours.has(id))) continue
    if (managers.some((manager) => !isUs(manager, componentManager)) || members.some((id) => others.has(id) && !ours.has(id))) {
      throw refuse(element, 'joins nodes of several aggregates, which is not supported', 'unsupported')
    }
    const lan = readLan(element, members, ours)
    if (names.has(lan.clientId)) throw refuse(element, `is the second link with client_id="${lan.clientId}"`)
    names.add(lan.clientId)
    lans.push(lan)
  }
  checkMembership(lans, nodes)
  for (const lan of lans) checkAddresses(lan)
  assignAddresses(lans)
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

function checkAddresses({ element, interfaces }: Lan): void {
  const seen = new Map<string, string>()
  for (const { clientId, address } of interfaces) {
    if (!address) continue
    const twin = seen.get(address.ip)
    if (twin !== undefined) throw refuse(element, `has the address ${address.ip} twice, at "${twin}" and at "${clientId}"`)
    seen.set(address.ip, clientId)
  }
}
