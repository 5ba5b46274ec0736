// A sliver as its host must know it. Pure.
import type { SliceRecord } from './slice.js'
import type { Sliver } from './sliver.js'
import type { VmSpec } from './vm-spec.js'

export function vmSpecOf(slice: SliceRecord, sliver: Sliver): VmSpec {
  const { node } = sliver
  return {
    vm: sliver.id, slice: slice.uuid, clientId: sliver.clientId, memoryMiB: node.memoryMiB, cpus: node.cpus, diskMiB: node.diskMiB,
    image: node.image, loginPort: sliver.loginPort, logins: sliver.logins, execute: node.execute,
    ...(node.install === undefined ? {} : { install: node.install }), ...(node.disk === undefined ? {} : { disk: node.disk }),
    ...(node.diskFrom === undefined ? {} : { diskFrom: node.diskFrom }),
    ...(node.watchdogMs === undefined ? {} : { watchdogMs: node.watchdogMs }),
    nics: sliver.nics.map((n) => ({
      port: n.port, name: n.clientId, lan: n.lan, mac: n.mac, ip: n.ip, prefixLength: n.prefixLength,
      ...(n.shapes === undefined ? {} : { shapes: n.shapes }), ...(n.mtu === undefined ? {} : { mtu: n.mtu }),
    })),
    neighbours: slice.slivers.flatMap((s) => s.nics.map((n) => ({ name: s.clientId, ip: n.ip }))),
  }
}
