// Credentials are hostile XML until their signature has been checked. Every look at one goes through this file, so that
// the refusals (DOCTYPE, doubled ids, depth, size, hidden comments) and the freeing of libxml2's memory are in one
// place.
import {
  ParseOption, XmlCData, XmlComment, XmlDocument, XmlElement, XmlText, XmlC14NMode, type XmlTreeNode,
} from 'libxml2-wasm'
import { Refusal } from '../base/errors.js'
import { limits } from '../base/limits.js'

export type { XmlElement } from 'libxml2-wasm'

/** A credential nests to about 6; a chain of delegations adds 1 for each link. */
const depthLimit = 32
/** A credential has about 60 nodes; C14N takes quadratic time in attributes of one element. */
const nodeLimit = 5_000
/** C14N looks at all namespaces for each node, some microseconds each. A chain of five delegations has 600 nodes and 20 namespaces. */
const workLimit = 40_000
const attributeLimit = 32

export const forbidden = (why: string, options?: ErrorOptions) => new Refusal('forbidden', why, options)

/** Parses `xml`, checks its shape, gives its root to `use` and frees the document. Nodes must not outlive `use`. */
export function withXml<T>(xml: string | Buffer, use: (root: XmlElement) => T): T {
  const bytes = typeof xml === 'string' ? Buffer.from(xml, 'utf8') : xml
  if (bytes.length > limits.credentialBytes) {
    throw forbidden(`the credential has ${bytes.length} bytes; at most ${limits.credentialBytes} are read`)
  }
  if (/<!(?:DOCTYPE|ENTITY)/i.test(bytes.toString('latin1'))) {
    throw forbidden('the credential has a DOCTYPE or entities; credentials must have neither')
  }
  const document = parse(bytes)
  try {
    if (document.dtd !== null) throw forbidden('the credential has a DOCTYPE; credentials must have none')
    checkShape(document.root)
    return use(document.root)
  } finally {
    document.dispose()
  }
}

function parse(bytes: Buffer): XmlDocument {
  try {
    return XmlDocument.fromBuffer(bytes, {
      encoding: 'utf-8', option: ParseOption.XML_PARSE_NONET | ParseOption.XML_PARSE_NO_XXE,
    })
  } catch (cause) {
    const line = cause instanceof Error ? cause.message.trim().split('\n')[0] ?? '' : ''
    throw forbidden(`the credential is not well-formed XML: ${line}`)
  }
}

/** Refuses what no issuer writes and what attacks are made of. One pass, bounded. */
function checkShape(root: XmlElement): void {
  const ids = new Set<string>()
  let nodes = 0
  let spaces = 0
  const visit = (element: XmlElement, depth: number): void => {
    if (depth > depthLimit) throw forbidden(`the credential nests deeper than ${depthLimit} elements`)
    checkAttributes(element, ids)
    spaces += Object.keys(element.nsDeclarations).length
    let text = false
    let comment = false
    for (let child = element.firstChild; child !== null; child = child.next) {
      if (++nodes > nodeLimit) throw forbidden(`the credential has more than ${nodeLimit} nodes`)
      if (child instanceof XmlElement) visit(child, depth + 1)
      else if (child instanceof XmlComment) comment = true
      else if (child instanceof XmlText || child instanceof XmlCData) text ||= child.content.trim() !== ''
      else throw forbidden(`the credential has a node that is not element, text or comment in <${element.name}>`)
    }
    if (text && comment) throw forbidden(`there is a comment inside the value of <${element.name}>`)
  }
  visit(root, 1)
  if (nodes * spaces > workLimit) throw forbidden(`the credential has ${nodes} nodes and ${spaces} namespaces, which takes too long to verify`)
}

function checkAttributes(element: XmlElement, ids: Set<string>): void {
  const attributes = element.attrs
  if (attributes.length > attributeLimit || Object.keys(element.nsDeclarations).length > attributeLimit) {
    throw forbidden(`<${element.name}> has more than ${attributeLimit} attributes`)
  }
  for (const attribute of attributes) {
    // Id, ID and id count too: some verifier somewhere resolves references by them.
    if (attribute.name.toLowerCase() !== 'id') continue
    if (ids.has(attribute.value)) throw forbidden(`the id "${attribute.value}" is used twice in the credential`)
    ids.add(attribute.value)
  }
}

/** Canonical XML 1.0, inclusive, without comments, of one element: the octets that issuers sign. */
export function canonical(element: XmlElement): Buffer {
  const chunks: Buffer[] = []
  try {
    element.canonicalize({
      write: (chunk) => {
        chunks.push(Buffer.from(chunk)) // a copy: the chunk lies in wasm memory that is used again
        return chunk.length
      },
      close: () => true,
    }, { mode: XmlC14NMode.XML_C14N_1_0, withComments: false })
  } catch (cause) {
    // of namespaces that are no absolute URIs, for one: C14N forbids them, the parser does not
    throw forbidden(`<${element.name}> of the credential has no canonical form`, { cause })
  }
  return Buffer.concat(chunks)
}

export function elementsOf(parent: XmlElement): XmlElement[] {
  const found: XmlElement[] = []
  for (let child: XmlTreeNode | null = parent.firstChild; child !== null; child = child.next) {
    if (child instanceof XmlElement) found.push(child)
  }
  return found
}

export function isNamed(element: XmlElement, name: string, namespace = ''): boolean {
  return element.name === name && element.namespaceUri === namespace
}

/** All children with this name. */
export function childrenOf(parent: XmlElement, name: string, namespace = ''): XmlElement[] {
  return elementsOf(parent).filter((child) => isNamed(child, name, namespace))
}

/** The one child with this name. */
export function onlyChild(parent: XmlElement, name: string, namespace = ''): XmlElement {
  const found = childrenOf(parent, name, namespace)
  if (found.length !== 1) throw forbidden(`<${parent.name}> has ${found.length} <${name}>, there must be exactly one`)
  return found[0]!
}

/** The children of `parent`, which must be exactly these, in this order. */
export function exactChildren(parent: XmlElement, names: readonly string[], namespace: string): XmlElement[] {
  const found = elementsOf(parent)
  if (found.length !== names.length || !found.every((child, i) => isNamed(child, names[i]!, namespace))) {
    const have = found.length === 0 ? 'nothing' : found.map((child) => child.name).join(', ')
    throw forbidden(`<${parent.name}> must hold exactly ${names.join(', ')}, and holds ${have.slice(0, 300)}`)
  }
  return found
}

/** The text of an element that holds nothing else, trimmed. */
export function textOf(element: XmlElement): string {
  if (elementsOf(element).length > 0) throw forbidden(`<${element.name}> holds elements where only text belongs`)
  return element.content.trim()
}

/** The value of an attribute without namespace, or of xml:id with prefix 'xml'. */
export function attribute(element: XmlElement, name: string, prefix?: 'xml'): string | undefined {
  return (prefix === undefined ? element.attr(name) : element.attr(name, prefix))?.value
}
