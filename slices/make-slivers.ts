// From a topology to slivers: names, addresses and ports that nobody else has. Pure but for the dice.
import { token, type Random } from '../base/random.js'
import { rfc3339 } from '../base/time.js'
import { makeUrn } from '../base/urn.js'
import { Refusal } from '../base/errors.js'
import type { Node, Topology } from '../rspec/topology.js'
import type { Sliver, SliverNic } from './sliver.js'

export interface SliverParts {
  topology: Topology
  hostOf: Map<string, string>
  authority: string
  allocationIndex: number
  /** Port numbers begin here: they are never used twice in a slice. */
  nextPort: number
  /** Login ports that other slivers have. */
  takenPorts: Set<number>
  random: Random
  expires: number
}

const firstLoginPort = 22_000
const lastLoginPort = 29_999

export function makeSlivers(parts: SliverParts): { slivers: Sliver[]; nextPort: number } {
  let port = parts.nextPort
  const linkOf = new Map(parts.topology.links.flatMap((link) => link.interfaces.map((i) => [i, link])))
  const slivers = parts.topology.nodes.map((node) => {
    const id = `v-${token(parts.random, 6)}`
    const nics: SliverNic[] = node.interfaces.filter((i) => linkOf.has(i.clientId)).map((i) => {
      const mac = freshMac(parts.random, port)
      const { clientId: lan, mtu } = linkOf.get(i.clientId)!
      return { port: port++, clientId: i.clientId, lan, mac, ip: i.ip, prefixLength: i.prefixLength, ...(mtu === undefined ? {} : { mtu }) }
    })
    return sliverOf(node, id, nics, parts)
  })
  shapeNics(slivers.flatMap((sliver) => sliver.nics), parts.topology)
  return { slivers, nextPort: port }
}

/** The receiving port shapes what comes to it: a frame that waits for its time is at the VM whose cut decides about it. */
function shapeNics(nics: SliverNic[], { links }: Topology): void {
  const nicOf = new Map(nics.map((nic) => [nic.clientId, nic]))
  for (const { from, to, ...shape } of links.flatMap((link) => link.shapes ?? [])) {
    const nic = nicOf.get(to)!
    nic.shapes = [...nic.shapes ?? [], { from: nicOf.get(from)!.port, ...shape }]
  }
}

function sliverOf(node: Node, id: string, nics: SliverNic[], parts: SliverParts): Sliver {
  return {
    id, urn: makeUrn(parts.authority, 'sliver', id), clientId: node.clientId, allocationIndex: parts.allocationIndex,
    allocation: 'geni_allocated', operational: 'geni_pending_allocation', error: '', resourceStatus: '',
    expires: rfc3339(parts.expires), host: parts.hostOf.get(node.clientId)!, node, nics, loginPort: freePort(parts), logins: [],
  }
}

/**
 * QEMU's own prefix with the local bit's meaning, then chance, then the port's number: it is never used twice in a slice,
 * so no two NICs of a slice share an address. The high bit keeps clear of the management NIC's 52:54:00.
 */
function freshMac(random: Random, port: number): string {
  const tail = Buffer.alloc(4)
  random.bytes(2).copy(tail)
  tail[0]! |= 0x80
  tail.writeUInt16BE(port % 0x1_0000, 2)
  return ['52', '54', ...tail.toString('hex').match(/../g)!].join(':')
}

function freePort({ takenPorts, random }: SliverParts): number {
  const count = lastLoginPort - firstLoginPort + 1
  const begin = random.bytes(2).readUInt16BE(0) % count
  for (let i = 0; i < count; i++) {
    const port = firstLoginPort + ((begin + i) % count)
    if (takenPorts.has(port)) continue
    takenPorts.add(port)
    return port
  }
  throw new Refusal('too-big', 'every port for management logins is taken: delete some slivers')
}
