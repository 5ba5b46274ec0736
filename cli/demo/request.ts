// The request of the demo: the example RSpec for three nodes, or one of the same shape for another number.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export function demoRequest(root: string, nodes: number): string {
  const three = readFileSync(join(root, 'examples', 'three-nodes.rspec'), 'utf8')
  if (nodes === 3) return three
  const name = (i: number) => `n${i + 1}`
  const every = (part: (name: string) => string) => Array.from({ length: nodes }, (_, i) => part(name(i))).join('\n')
  const node = /\s*<node client_id="a"[^]*?<\/node>/.exec(three)![0]
  const head = three.slice(0, three.indexOf(node))
  return `${head}
${every((n) => node.replaceAll('"a"', `"${n}"`).replaceAll('"a:if0"', `"${n}:if0"`))}
  <link client_id="lan0">
${every((n) => `    <interface_ref client_id="${n}:if0"/>`)}
    <link_type name="lan"/>
  </link>
</rspec>
`
}
