// The only caller of libxml2: RSpecs in and out. In: no document type, so no entities and no files; bounded size and
// depth; ASCII names. Out: ASCII. Documents live in WebAssembly memory and are given back whatever happens.
import { ParseOption, XmlComment, XmlDocument, XmlElement, XmlParseError, XmlXPath, type XmlNode } from 'libxml2-wasm'
import { printable } from '../base/ascii.js'
import { Refusal } from '../base/errors.js'
import { limits } from '../base/limits.js'

export { XmlComment, XmlElement }

export interface XmlLimits { bytes: number; depth: number; elements: number }
/** Twenty thousand elements: an advertisement of a thousand hosts. */
export const standardXmlLimits: XmlLimits = { bytes: limits.rspecBytes, depth: limits.xmlDepth, elements: 20_000 }

/** CDATA becomes text, because a CDATA section cannot hold the character references that ASCII needs. */
const options: ParseOption = [
  ParseOption.XML_PARSE_NONET, ParseOption.XML_PARSE_NO_XXE, ParseOption.XML_PARSE_NO_SYS_CATALOG,
  ParseOption.XML_PARSE_BIG_LINES, ParseOption.XML_PARSE_NOCDATA, ParseOption.XML_PARSE_NSCLEAN,
].reduce((all, one) => all | one)

const allElements = XmlXPath.compile('//*')
const childElements = XmlXPath.compile('*')
const childNodes = XmlXPath.compile('node()')
const nodeName = XmlXPath.compile('name()')
const nodeDepth = XmlXPath.compile('count(ancestor::*)')
const asciiNames = /^[\x21-\x7e]+$/
/** Blank space, comments and instructions may stand before a document type; none of them may hold one. */
const prolog = /^(?:\s+|<\?[^]*?\?>|<!--[^]*?-->)/

/** Parses `text`, hands its root to `use`, and frees the document. Refuses with 'bad-arguments' or 'too-big'. */
export function withXml<T>(text: string, what: string, use: (root: XmlElement) => T, bounds = standardXmlLimits): T {
  const document = parse(text, what, bounds)
  try {
    checkShape(document, what, bounds)
    return use(document.root)
  } finally {
    document.dispose()
  }
}

/** The whole document of `element` as ASCII text, without encoding declaration (lxml refuses one in decoded text). */
export function documentText(element: XmlElement): string {
  return `<?xml version="1.0"?>\n${element.doc.toString({ format: false, noDeclaration: true, encoding: 'ascii' })}`
}

/** The element's children in a namespace, of one name or of all. */
export function childrenOf(element: XmlElement, ns: string, name?: string): XmlElement[] {
  return elementsIn(element).filter((child) => child.namespaceUri === ns && (name === undefined || child.name === name))
}

export function elementsIn(element: XmlElement): XmlElement[] {
  return onlyElements(element.find(childElements))
}

export function allElementsOf(element: XmlElement): XmlElement[] {
  return onlyElements(element.find(allElements))
}

function onlyElements(nodes: XmlNode[]): XmlElement[] {
  return nodes.filter((node) => node instanceof XmlElement)
}

export function nodesIn(element: XmlElement): XmlNode[] {
  return element.find(childNodes)
}

/** The name of any node: also of a processing instruction, which has no property for it. */
export function nameOf(node: XmlNode): string {
  return node.eval(nodeName) as string
}

/** An attribute without namespace; undefined when it is not there. */
export function attribute(element: XmlElement, name: string): string | undefined {
  return element.attr(name)?.value
}

/** Sets an attribute without namespace. The library's own setter would put a second one beside one that is there. */
export function setAttribute(element: XmlElement, name: string, value: string | number): void {
  element.attr(name)?.remove()
  element.setAttr(name, String(value))
}

/** `<name>` with its prefix, as its author wrote it, for messages. */
export function shown(element: XmlElement): string {
  return `<${printable(element.prefix === '' ? element.name : `${element.prefix}:${element.name}`)}>`
}

/** A child in the namespace of `parent` itself, whatever prefix that has. */
export function addChild(parent: XmlElement, name: string, attributes: Record<string, string | number | undefined> = {}): XmlElement {
  const child = parent.prefix === '' ? parent.addElement(name) : parent.addElement(name, parent.prefix)
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) setAttribute(child, key, value)
  return child
}

/** Text for an XML document that is put together as text: ASCII, what XML forbids replaced by '?'. */
export function escapeXml(text: string): string {
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Cs}/gu, '?') // eslint-disable-line no-control-regex
    .replace(/[&<>"'\t\n\r\x7f-\u{10ffff}]/gu, (c) => `&#${c.codePointAt(0)!};`)
}

function parse(text: string, what: string, bounds: XmlLimits): XmlDocument {
  if (text.length > bounds.bytes || Buffer.byteLength(text) > bounds.bytes) {
    throw new Refusal('too-big', `${what} is larger than ${bounds.bytes} bytes`)
  }
  const source = text.trimStart() // blank space or a byte order mark before the declaration does no harm
  if (source === '') throw new Refusal('bad-arguments', `${what} is empty`)
  if (hasDocumentType(source)) throw new Refusal('bad-arguments', `${what} has a DOCTYPE, which is not allowed`)
  try {
    return XmlDocument.fromString(source, { option: options, encoding: 'utf-8' })
  } catch (error) {
    const detail = error instanceof XmlParseError ? error.details[0] : undefined
    const reason = detail ? `: line ${detail.line}: ${printable(detail.message.trim().slice(0, 160))}` : ''
    throw new Refusal('bad-arguments', `${what} is not well-formed XML${reason}`)
  }
}

function hasDocumentType(source: string): boolean {
  let rest = source
  for (let m = prolog.exec(rest); m; m = prolog.exec(rest)) rest = rest.slice(m[0].length)
  return rest.startsWith('<!DOCTYPE')
}

function checkShape(document: XmlDocument, what: string, bounds: XmlLimits): void {
  if (document.dtd) throw new Refusal('bad-arguments', `${what} has a DOCTYPE, which is not allowed`)
  const elements = allElementsOf(document.root)
  if (elements.length > bounds.elements) throw new Refusal('bad-arguments', `${what} has more than ${bounds.elements} elements`)
  for (const element of elements) {
    if ((element.eval(nodeDepth) as number) >= bounds.depth) {
      throw new Refusal('bad-arguments', `${what}: line ${element.line}: elements are nested deeper than ${bounds.depth}`)
    }
    const names = [element.name, element.prefix, ...element.attrs.map((a) => a.prefix + a.name)].join('')
    if (!asciiNames.test(names)) throw new Refusal('bad-arguments', `${what}: line ${element.line}: the name of an element or attribute is not ASCII`)
  }
}
