// A request RSpec becomes a typed topology, or a refusal that names line and element. Extensions that we do not know
// are none of our business and stay in the manifest; what we know and cannot do is refused, never ignored.
import { printable } from '../base/ascii.js'
import { Refusal } from '../base/errors.js'
import { limits as systemLimits } from '../base/limits.js'
import { checkViolinElements, readPolicy } from './checkpoint.js'
import type { Address } from './address.js'
import type { RequestDisk } from './request-image.js'
import { isForeignLink, readLinks } from './request-links.js'
import { readNode } from './request-node.js'
import { managersOf, ownsNode, refuse } from './request-parts.js'
import { checkSchema } from './request-schema.js'
import { rspecNs } from './names.js'
import { attribute, childrenOf, shown, standardXmlLimits, withXml, type XmlElement } from './xml.js'
import type { Node, Topology } from './topology.js'

export interface RequestOptions {
  /** URN of this aggregate. */
  componentManager: string
  /** Names of the disk images that hosts have. */
  images: readonly string[]
  /** Disk images that the caller may use. */
  disks?: readonly RequestDisk[]
  /** What a node without <disk_image> gets. */
  defaultImage: string
  /** Addresses that the slice's other nodes have: no node gets them again, nor any other of their networks. */
  taken?: readonly Address[]
  /** Places that users may have archives fetched from; none by default. */
  sources?: readonly string[]
  limits?: Partial<RequestLimits>
}

export interface RequestLimits { bytes: number; nodes: number; interfacesPerNode: number }

const standard: RequestLimits = { bytes: systemLimits.rspecBytes, nodes: systemLimits.nodesPerSlice, interfacesPerNode: 8 }

/**
 * The topology that `xml` asks of this aggregate. Nodes and links of other managers are left out. Throws nothing but
 * refusals: 'bad-arguments', 'bad-version', 'unsupported', 'not-found' (unknown image; no node for us) or 'too-big'.
 */
export function parseRequest(xml: string, options: RequestOptions): Topology {
  const bounds = { ...standard, ...options.limits }
  try {
    return withXml(xml, 'the RSpec', (root) => readRequest(root, options, bounds), { ...standardXmlLimits, bytes: bounds.bytes })
  } catch (error) {
    // Values from the request may be in any sentence, and sentences leave the aggregate as ASCII.
    if (error instanceof Refusal) throw new Refusal(error.code, printable(error.message), { cause: error.cause })
    throw error
  }
}

function readRequest(root: XmlElement, options: RequestOptions, bounds: RequestLimits): Topology {
  checkRoot(root)
  const managers = managersOf(root)
  const ours: XmlElement[] = []
  const foreign: XmlElement[] = []
  for (const node of childrenOf(root, rspecNs, 'node')) {
    (ownsNode(node, options.componentManager, managers) ? ours : foreign).push(node)
  }
  if (ours.length === 0) {
    if (foreign.length === 0) throw new Refusal('bad-arguments', 'the RSpec has no node')
    throw new Refusal('not-found', `the RSpec has no node for ${options.componentManager}`)
  }
  if (ours.length > bounds.nodes) throw new Refusal('too-big', `the RSpec has ${ours.length} nodes for this aggregate; at most ${bounds.nodes} fit`)
  checkTopLevel(root)
  const foreignLinks = childrenOf(root, rspecNs, 'link').filter((link) => isForeignLink(link, options.componentManager))
  checkSchema(root, (element) => [...foreign, ...foreignLinks].some((one) => one.isSameNode(element)))
  checkExtensions(root, foreign)
  const policy = readPolicy(root)
  const nodes = ours.map((node) => readNode(node, options, bounds.interfacesPerNode))
  refuseTwins(ours, 'node')
  refuseTwins(ours.flatMap((node) => childrenOf(node, rspecNs, 'interface')), 'interface')
  const links = readLinks(root, options, nodes, foreign)
  return { nodes: nodes.map(({ requested: _, element: _element, ...node }): Node => node), links, ...policy && { policy } }
}

function checkRoot(root: XmlElement): void {
  if (root.name !== 'rspec') throw refuse(root, 'is not the root of an RSpec; <rspec> is')
  if (root.namespaceUri !== rspecNs) {
    throw new Refusal('bad-version', `the RSpec is in the namespace "${root.namespaceUri.slice(0, 100)}"; only ${rspecNs} is supported`)
  }
  const type = attribute(root, 'type')
  if (type !== 'request') throw refuse(root, type === undefined ? 'has no type; it must be "request"' : `has type="${type.slice(0, 40)}"; it must be "request"`)
}

function checkTopLevel(root: XmlElement): void {
  for (const child of childrenOf(root, rspecNs)) {
    if (child.name !== 'node' && child.name !== 'link') throw refuse(child, `cannot stand in ${shown(root)}`)
  }
}

/** Ours is to judge what is in our namespace, but not inside nodes that another manager will read. */
function checkExtensions(root: XmlElement, foreign: XmlElement[]): void {
  checkViolinElements(root, (element) => foreign.some((node) => node.isSameNode(element)))
}

function refuseTwins(elements: XmlElement[], kind: string): void {
  const seen = new Set<string>()
  for (const element of elements) {
    const id = attribute(element, 'client_id')!
    if (seen.has(id)) throw refuse(element, `is the second ${kind} with client_id="${id}"`)
    seen.add(id)
  }
}
