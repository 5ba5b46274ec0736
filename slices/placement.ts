// Which host gets which VM: the one with most free memory, unless the request names one. Nodes that have no choice go
// first, then the large ones: else a small one takes the only place that a later one could have. Pure.
import type { Node } from '../rspec/topology.js'
import { sameName } from './disk-image.js'
import type { HostRecord } from './slice-store.js'
import type { SliceRecord } from './slice.js'

/** What QEMU takes beside the guest's memory (hosts/capacity.ts promises the same). */
const overheadMiB = 96
/** What a host must have left to be available: room for one node that asks for no size. */
const smallestMiB = 128 + overheadMiB

export type Placement = { placed: true; hostOf: Map<string, string> } | { placed: false; why: string }

export function placeVms({ nodes, hosts }: { nodes: Node[]; hosts: HostRecord[] }): Placement {
  const free = new Map(hosts.filter((h) => h.alive).map((h) => [h.host, h.memoryFreeMiB]))
  const hostOf = new Map<string, string>()
  for (const node of [...nodes].sort(byChoice)) {
    const wanted = wantedHost(node)
    const has = (name: string) => node.disk === undefined || hosts.some((h) => h.host === name && hasImage(h, node.disk!))
    if (wanted !== undefined && free.has(wanted) && !has(wanted)) {
      const why = `node ${node.clientId} asks for ${node.componentId!}, where the disk image ${node.disk!} is not: ask for another host, or for none`
      return { placed: false, why }
    }
    if (wanted !== undefined && !free.has(wanted)) {
      const why = hosts.some((h) => h.host === wanted) ? 'is not up at present: try again later' : 'is not a host of this aggregate'
      return { placed: false, why: `node ${node.clientId} asks for ${node.componentId!}, which ${why}` }
    }
    const [host, room] = [...free].filter(([name]) => (wanted === undefined || name === wanted) && has(name)).sort(([, a], [, b]) => b - a)[0] ?? []
    const need = node.memoryMiB + overheadMiB
    if (host === undefined || room! < need) {
      const missing = node.disk === undefined ? 'no host is up' : `no host that has the disk image ${node.disk} is up`
      const left = host === undefined ? missing : `${host} has ${Math.max(0, room!)} MiB left`
      return { placed: false, why: `node ${node.clientId} needs ${need} MiB of memory, ${left}: ask for fewer or smaller nodes` }
    }
    free.set(host, room! - need)
    hostOf.set(node.clientId, host)
  }
  return { placed: true, hostOf }
}

/** The hosts less what is promised: allocated, or so newly provisioned that the host has not counted it yet. */
export function hostsLessPromised(hosts: HostRecord[], slices: SliceRecord[]): HostRecord[] {
  const promised = new Map<string, number>()
  for (const slice of slices) {
    for (const sliver of slice.slivers) {
      const isNew = slice.operation?.kind === 'provision' && sliver.allocation === 'geni_provisioned' &&
        ['geni_notready', 'geni_configuring'].includes(sliver.operational)
      if (sliver.allocation !== 'geni_allocated' && !isNew) continue
      promised.set(sliver.host, (promised.get(sliver.host) ?? 0) + sliver.node.memoryMiB + overheadMiB)
    }
  }
  return hosts.map((host) => ({ ...host, memoryFreeMiB: host.memoryFreeMiB - (promised.get(host.host) ?? 0) }))
}

/** Is there room for one more node? */
export const isAvailable = (host: HostRecord): boolean => host.alive && host.memoryFreeMiB >= smallestMiB

const wantedHost = (node: Node): string | undefined => node.componentId?.split('+').at(-1)

const hasImage = (host: HostRecord, name: string): boolean =>
  (host.diskImages ?? []).some((image) => image.state === 'ready' && sameName(image.name, name))

/** Nodes that name their host before the others, then by memory; equal ones stay in the order of the request. */
function byChoice(a: Node, b: Node): number {
  return Number(wantedHost(b) !== undefined) - Number(wantedHost(a) !== undefined) || b.memoryMiB - a.memoryMiB
}
