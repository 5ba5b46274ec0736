// What nodes and links of a request have in common: whose they are, their names, and how a refusal names them.
import { Refusal, type RefusalCode } from '../base/errors.js'
import { parseUrn, sameUrn } from '../base/urn.js'
import { rspecNs } from './names.js'
import { attribute, childrenOf, shown, type XmlElement } from './xml.js'

/** A refusal that says where: `line 7: <node> "a" has no client_id`. */
export function refuse(element: XmlElement, what: string, code: RefusalCode = 'bad-arguments'): Refusal {
  const id = attribute(element, 'client_id')
  const name = id === undefined ? '' : ` "${id.slice(0, 64)}"`
  return new Refusal(code, `line ${element.line}: ${shown(element)}${name} ${what}`)
}

/** Every component manager that nodes and links of the document name. */
export function managersOf(root: XmlElement): string[] {
  return [
    ...childrenOf(root, rspecNs, 'node').map((node) => attribute(node, 'component_manager_id')),
    ...childrenOf(root, rspecNs, 'link').flatMap((link) => linkManagers(link)),
  ].filter((urn) => urn !== undefined && urn !== '').map((urn) => urn!)
}

export function linkManagers(link: XmlElement): string[] {
  return childrenOf(link, rspecNs, 'component_manager').map((manager) => attribute(manager, 'name') ?? '')
}

/** Is the node for us? Without a manager it is, if the document names no other. */
export function ownsNode(node: XmlElement, componentManager: string, managers: string[]): boolean {
  const named = attribute(node, 'component_manager_id')
  if (named !== undefined && named !== '') return isUs(named, componentManager)
  return managers.every((manager) => isUs(manager, componentManager))
}

/** An aggregate is called `+authority+am` or `+authority+cm`: tools mix them up. */
export function isUs(urn: string, componentManager: string): boolean {
  if (sameUrn(urn, componentManager)) return true
  const a = parseUrn(urn)
  const b = parseUrn(componentManager)
  return a?.type === 'authority' && b !== undefined && sameUrn(a.authority, b.authority) && /^(am|cm)$/i.test(a.name)
}

const clientIdForm = /^[A-Za-z0-9][A-Za-z0-9._:+~-]{0,127}$/

/** The client_id, unchanged. */
export function readClientId(element: XmlElement): string {
  const id = attribute(element, 'client_id')
  if (id === undefined || id === '') throw refuse(element, 'has no client_id')
  if (!clientIdForm.test(id)) throw refuse(element, 'has a client_id that is not made of letters, digits and . _ : + ~ - (128 at most)')
  return id
}

/** Refuses children in the RSpec's own namespace that the element does not have: they are typing errors. */
export function checkChildren(element: XmlElement, known: readonly string[], unsupported: readonly string[]): void {
  for (const child of childrenOf(element, rspecNs)) {
    if (unsupported.includes(child.name)) throw refuse(element, `asks for <${child.name}>, which is not supported`, 'unsupported')
    if (!known.includes(child.name)) throw refuse(child, `cannot stand in ${shown(element)}`)
  }
}
