// What may stand in a request RSpec, as the schema of version 3 says, for what is ours to build. A word that nobody knows would be
// ignored, and its author would get less than was asked for; so it is refused, with the line and the nearest word that is known.
// Elements and attributes of other namespaces are extensions and nobody's business here.
import { printable } from '../base/ascii.js'
import { rspecNs } from './names.js'
import { refuse } from './request-parts.js'
import { attribute, elementsIn, nameOf, nodesIn, shown, XmlComment, XmlElement } from './xml.js'

/** Attributes of each element. Those that only manifests have are there too: a manifest is often made into the next request. */
const attributes: Record<string, readonly string[]> = {
  rspec: ['type', 'generated', 'generated_by', 'expires', 'valid_until'],
  node: [
    'client_id', 'component_id', 'component_manager_id', 'component_manager_uuid', 'component_name', 'component_uuid', 'exclusive', 'colocate', 'sliver_id',
    'sliver_uuid', 'virtual_id', 'virtualization_type',
  ],
  link: ['client_id', 'component_id', 'component_name', 'component_manager_id', 'sliver_id', 'virtual_id', 'vlantag'],
  sliver_type: ['name', 'default'],
  disk_image: ['name', 'os', 'version', 'description', 'url', 'default'],
  hardware_type: ['name'],
  location: ['country', 'longitude', 'latitude'],
  services: [],
  execute: ['shell', 'command'],
  install: ['url', 'install_path', 'file_type'],
  login: ['authentication', 'hostname', 'port', 'username'],
  host: ['name', 'ipv4'],
  interface: ['client_id', 'component_id', 'component_name', 'sliver_id', 'mac_address', 'role', 'public_ipv4', 'vlantag'],
  ip: ['address', 'netmask', 'type', 'mac_address'],
  interface_ref: [
    'client_id', 'component_id', 'component_node_id', 'component_interface_id', 'sliver_id', 'virtual_node_id', 'virtual_interface_id', 'vlantag',
  ],
  property: ['source_id', 'dest_id', 'capacity', 'latency', 'packet_loss'],
  link_type: ['name', 'class'],
  component_manager: ['name'],
}
/** Attributes that must be there, beside client_id, which has sentences of its own. */
const required: Record<string, readonly string[]> = { sliver_type: ['name'], interface_ref: ['client_id'], link_type: ['name'], component_manager: ['name'] }
const booleans: readonly (readonly [element: string, attribute: string])[] = [['node', 'exclusive']]

/** Refuses what the schema does not have in `element` and below. Before: names of children are looked at elsewhere. */
export function checkSchema(element: XmlElement, skip: (element: XmlElement) => boolean): void {
  checkAttributes(element)
  checkText(element)
  for (const child of elementsIn(element)) if (child.namespaceUri === rspecNs && !skip(child)) checkSchema(child, skip)
}

function checkAttributes(element: XmlElement): void {
  const known = Object.hasOwn(attributes, element.name) ? attributes[element.name] : undefined
  if (!known) return // refused by whoever reads its parent
  for (const { name, namespaceUri } of element.attrs) {
    if (namespaceUri !== '' || known.includes(name)) continue
    const meant = nearest(name, known)
    throw refuse(element, `has an attribute ${printable(name.slice(0, 40))}, which it does not know${meant === undefined ? '' : `; is ${meant} meant?`}`)
  }
  for (const name of required[element.name] ?? []) if (attribute(element, name) === undefined) throw refuse(element, `has no ${name}`)
  for (const [name, key] of booleans) {
    const value = name === element.name ? attribute(element, key)?.trim() : undefined
    if (value !== undefined && !['true', 'false', '1', '0', ''].includes(value)) {
      throw refuse(element, `has ${key}="${value.slice(0, 40)}"; it must be "true" or "false"`)
    }
  }
}

/** No element of the schema has text: it is a line that lost its tag. */
function checkText(element: XmlElement): void {
  for (const node of nodesIn(element)) {
    if (node instanceof XmlElement || node instanceof XmlComment || nameOf(node) !== '') continue
    const text = node.content.trim()
    if (text !== '') throw refuse(element, `has the text "${text.slice(0, 40)}", and no text can stand in ${shown(element)}`)
  }
}

/** The known word that one slip or two make of `word`. */
function nearest(word: string, known: readonly string[]): string | undefined {
  return [...known].map((name) => ({ name, off: distance(word.toLowerCase(), name) })).filter(({ off }) => off <= 2).sort((a, b) => a.off - b.off)[0]?.name
}

function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}
