// Several requests become one document with a root of our own. Each child of the old roots is written in its canonical
// form, which carries the namespaces that it stood in, so that it means the same under the new root.
import { Refusal } from '../base/errors.js'
import { rspecNs, userNs, violinNs, xsiNs } from './names.js'
import { childrenOf, escapeXml, nameOf, nodesIn, withXml, XmlComment, XmlElement } from './xml.js'

const ownAttributes = new Set(['type', 'expires', 'generated', 'generated_by'])
const ownPrefixes = new Set(['', 'xml', 'xsi'])
const ownLocations = new Map([
  [rspecNs, 'http://www.geni.net/resources/rspec/3/manifest.xsd'],
  [userNs, 'http://www.geni.net/resources/rspec/ext/user/1/manifest.xsd'],
])

/** One manifest document with everything that stood in the requests; of several policies only the last. */
export function mergeRequests(requests: readonly string[], expires: string): string {
  const declared = new Map<string, string>()
  const attributes = new Map<string, string>()
  const locations = new Map(ownLocations)
  const parts = requests.map((request) => withXml(request, 'the RSpec', (root) => {
    if (root.name !== 'rspec' || root.namespaceUri !== rspecNs) throw new Refusal('bad-arguments', 'the RSpec is no GENI 3 RSpec')
    readRoot(root, declared, attributes, locations)
    const policies = childrenOf(root, violinNs, 'rspec_checkpoint')
    return { content: contentOf(root), policies: policies.map((policy) => canonical(policy)) }
  }))
  const lastWithPolicy = parts.findLastIndex((part) => part.policies.length > 0)
  const content = parts.map((part, i) =>
    i === lastWithPolicy ? part.content : part.policies.reduce((text, policy) => text.replace(policy, () => ''), part.content)).join('')
  const head = [
    ...[...declared].map(([prefix, uri]) => ` xmlns:${prefix}="${escapeXml(uri)}"`),
    ` type="manifest" expires="${escapeXml(expires)}" generated_by="geni-violin"`,
    ` xsi:schemaLocation="${escapeXml([...locations].flat().join(' '))}"`,
    ...[...attributes].map(([name, value]) => ` ${name}="${escapeXml(value)}"`),
  ].join('')
  return `<rspec xmlns="${rspecNs}" xmlns:xsi="${xsiNs}"${head}>${content}</rspec>`
}

/** Prefixes, attributes of others and schema locations of a root; the first request that has a name has it. */
function readRoot(root: XmlElement, declared: Map<string, string>, attributes: Map<string, string>, locations: Map<string, string>): void {
  for (const [prefix, uri] of Object.entries(root.nsDeclarations)) {
    if (!ownPrefixes.has(prefix) && !declared.has(prefix)) declared.set(prefix, uri)
  }
  for (const { name, prefix, namespaceUri, value } of root.attrs) {
    if (namespaceUri === xsiNs) {
      if (name === 'schemaLocation') readLocations(value, locations)
    } else if (namespaceUri === '') {
      if (!ownAttributes.has(name) && !attributes.has(name)) attributes.set(name, value)
    } else if (prefix === 'xml' || declared.get(prefix) === namespaceUri) {
      if (!attributes.has(`${prefix}:${name}`)) attributes.set(`${prefix}:${name}`, value)
    }
  }
}

function readLocations(value: string, locations: Map<string, string>): void {
  const words = value.split(/\s+/).filter((word) => word !== '')
  for (let i = 0; i + 1 < words.length; i += 2) if (!locations.has(words[i]!)) locations.set(words[i]!, words[i + 1]!)
}

function contentOf(root: XmlElement): string {
  return nodesIn(root).map((node) => {
    if (node instanceof XmlElement) return canonical(node)
    const name = nameOf(node)
    if (name !== '') return `<?${name} ${node.content}?>`
    return node instanceof XmlComment ? `<!--${node.content}-->` : escapeXml(node.content)
  }).join('')
}

/** The element with every namespace that it stands in. One in no namespace says so: our root has a default one. */
function canonical(element: XmlElement): string {
  const text = element.canonicalizeToString({ withComments: true })
  const start = `<${element.name}`
  return element.namespaceUri === '' && text.startsWith(start) ? `${start} xmlns=""${text.slice(start.length)}` : text
}
