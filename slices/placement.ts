// Which host gets which VM: the one with most free memory, unless the request names one. Nodes that have no choice go
// first, then the large ones: else a small one takes the only place that a later one could have. Pure.
import type { Node } from '../rspec/topology.js'
import type { HostRecord } from './slice-store.js'

/** What QEMU takes beside the guest's memory (hosts/capacity.ts promises the same). */
const overheadMiB = 96

export type Placement = { placed: true; hostOf: Map<string, string> } | { placed: false; why: string }

export function placeVms({ nodes, hosts }: { nodes: Node[]; hosts: HostRecord[] }): Placement {
  const free = new Map(hosts.filter((h) => h.alive).map((h) => [h.host, h.memoryFreeMiB]))
  const hostOf = new Map<string, string>()
  for (const node of [...nodes].sort(byChoice)) {
    const wanted = wantedHost(node)
    if (wanted !== undefined && !free.has(wanted)) {
      const why = hosts.some((h) => h.host === wanted) ? 'is not up at present: try again later' : 'is not a host of this aggregate'
      return { placed: false, why: `node ${node.clientId} asks for ${node.componentId!}, which ${why}` }
    }
    const [host, room] = [...free].filter(([name]) => wanted === undefined || name === wanted).sort(([, a], [, b]) => b - a)[0] ?? []
    const need = node.memoryMiB + overheadMiB
    if (host === undefined || room! < need) {
      const left = host === undefined ? 'no host is up' : `${host} has ${Math.max(0, room!)} MiB left`
      return { placed: false, why: `node ${node.clientId} needs ${need} MiB of memory, ${left}: ask for fewer or smaller nodes` }
    }
    free.set(host, room! - need)
    hostOf.set(node.clientId, host)
  }
  return { placed: true, hostOf }
}

const wantedHost = (node: Node): string | undefined => node.componentId?.split('+').at(-1)

/** Nodes that name their host before the others, then by memory; equal ones stay in the order of the request. */
function byChoice(a: Node, b: Node): number {
  return Number(wantedHost(b) !== undefined) - Number(wantedHost(a) !== undefined) || b.memoryMiB - a.memoryMiB
}
