// Loads the product's own files into the simulation: modules asked for with `?world=NAME` form a graph of their own, in which files,
// sockets, timers and chance are those of the simulated world, and in which the source of a named file may be changed (a deliberate
// defect). Nothing of the product is copied, and nothing in it knows of this. Runs in the thread of Node's module hooks.
import { readFile } from 'node:fs/promises'
import { fileURLToPath, URL } from 'node:url'
import ts from 'typescript'

const root = new URL('../../', import.meta.url).href
const world = new URL('./world/', import.meta.url).href
/** What the product asks for, and what it gets here: by the name of a module of Node, or by the path of a file of ours. */
const stands = {
  'node:fs/promises': 'modules/fs-promises.ts',
  'node:fs': 'modules/fs.ts',
  'node:net': 'modules/net.ts',
  'node:os': 'modules/os.ts',
  'node:timers/promises': 'modules/timers-promises.ts',
  'base/rpc.ts': 'modules/rpc.ts',
  'hosts/hypervisor/process.ts': 'modules/process.ts',
  'base/priority.ts': 'modules/priority.ts',
  'base/fault-points.ts': 'modules/fault-points.ts',
  'overlay/socket-queues.ts': 'modules/socket-queues.ts',
  'hosts/hypervisor/qemu/descriptors.ts': 'modules/descriptors.ts',
}
const globals = `import { setTimeout, clearTimeout, setInterval, clearInterval, process } from '${world}modules/globals.ts';`
/** By name: the changes of source that this graph has. */
const defects = new Map()

export async function initialize({ port }) {
  port.on('message', ({ name, changes }) => {
    defects.set(name, changes)
    port.postMessage(name)
  })
  port.unref()
}

export async function resolve(specifier, context, next) {
  const graph = context.parentURL && new URL(context.parentURL).searchParams.get('world')
  if (!graph) return next(specifier, context)
  if (specifier === 'node:crypto' && context.parentURL.includes('/base/random.ts')) return next(`${world}modules/crypto.ts`, context)
  if (stands[specifier]) return next(`${world}${stands[specifier]}`, context)
  if (!specifier.startsWith('.')) return next(specifier, context)
  const url = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL.replace(/\?.*$/, '')).href
  const stand = stands[url.slice(root.length)]
  return stand ? next(`${world}${stand}`, context) : { url: `${url}?world=${graph}`, shortCircuit: true }
}

export async function load(url, context, next) {
  const graph = url.startsWith(root) && new URL(url).searchParams.get('world')
  if (!graph) return next(url, context)
  const file = fileURLToPath(url.replace(/\?.*$/, ''))
  const path = url.replace(/\?.*$/, '').slice(root.length)
  let text = await readFile(file, 'utf8')
  for (const change of (defects.get(graph) ?? []).filter((c) => c.file === path)) {
    if (text.split(change.find).length !== 2) throw new Error(`${path} has not exactly one place that reads: ${change.find}`)
    text = text.replace(change.find, () => change.put)
  }
  const { outputText } = ts.transpileModule(text, {
    fileName: file,
    compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true, inlineSourceMap: true, inlineSources: true },
  })
  return { format: 'module', source: globals + outputText, shortCircuit: true }
}
