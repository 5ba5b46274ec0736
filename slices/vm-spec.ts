// What a host must know to make one VM. Everything here is decided by the aggregate; the host adds pids and paths.
import type { DigestedSource } from '../base/source.js'
import type { InboundShape } from '../overlay/slice-net.js'
import type { ExecuteService, InstallService, Login } from '../rspec/topology.js'

export interface NicSpec {
  /** The port's number, unique in the slice for ever: the `source port` of every frame it sends. */
  port: number
  /** client_id of the interface. */
  name: string
  /** client_id of the link, the LAN this port is on. */
  lan: string
  mac: string
  ip: string
  prefixLength: number
  /** The switch is told of them whenever it is told of the port: after a restore and after its own restart as well. */
  shapes?: InboundShape[]
  /** What the guest sets; 1500 when absent. */
  mtu?: number
}

export interface VmSpec {
  /** The sliver's id: [a-z0-9-]+, unique at this aggregate, good as a file name. */
  vm: string
  /** UUID of the slice. */
  slice: string
  /** client_id of the node: its host name inside. */
  clientId: string
  memoryMiB: number
  cpus: number
  diskMiB: number
  /** It has hung when its login does not answer for so long; undefined: nobody looks. */
  watchdogMs?: number
  image: string
  /** Name of the disk image that its disk begins as; undefined: it begins empty. */
  disk?: string
  /** It begins as this one, which the host has fetched before; not with `disk`. The disk is as large as that, if diskMiB is less. */
  diskFrom?: DigestedSource
  nics: NicSpec[]
  /** Where the management login answers, on the host's address. */
  loginPort: number
  logins: Login[]
  /** /etc/hosts of the guest: every node of the slice by each of its addresses. */
  neighbours: { name: string; ip: string }[]
  execute: ExecuteService[]
  install?: InstallService[]
}
