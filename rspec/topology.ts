// The typed topology of a request: what everybody below the XML shares. Pure data.
import type { DigestedSource, Source } from '../base/source.js'

/** A policy of periodic snapshots, from <violin:rspec_checkpoint>. Durations in ms. */
export interface CheckpointPolicy {
  /** Undefined: no snapshots by themselves. */
  intervalMs?: number
  /** Newest policy snapshots to keep. */
  keep: number
  /** Policy snapshots that are older go, but for the newest one. */
  maxAgeMs?: number
  /** What all policy snapshots of the slice may have together. The newest one stays, however large. */
  maxBytes?: number
  /** A snapshot during which some VM would stand longer than this is aborted. */
  maxPauseMs?: number
  /** When a VM dies: nothing (undefined), or the whole slice is rolled back, suspended or stopped. */
  onFailure?: 'continue' | 'rollback' | 'suspend' | 'fail'
  /** Recoveries in a row before it is given up. */
  retries?: number
}

export interface Login { urn: string; name: string; keys: string[] }
/** An archive to unpack in the node before anything is executed. */
export interface InstallService extends Source { path: string }
export interface ExecuteService { shell: string; command: string }

export interface Interface {
  clientId: string
  /** Given, or assigned at Allocate. */
  ip: string
  prefixLength: number
}

export interface Node {
  clientId: string
  sliverType: string
  /** Name of a local image: the last part of the disk_image URN, or the default image. */
  image: string
  /** Name of the disk image that its disk begins as, where the request asks for one. */
  disk?: string
  /** Where the disk that its disk begins as is fetched from; not with `disk`. Then diskMiB is the least that it has. */
  diskFrom?: DigestedSource
  memoryMiB: number
  cpus: number
  diskMiB: number
  /** It has hung when its login does not answer for so long; undefined: nobody looks. */
  watchdogMs?: number
  /** component_id asked for, if any. */
  componentId?: string
  execute: ExecuteService[]
  install?: InstallService[]
  interfaces: Interface[]
}

/** One direction of a link: `from` and `to` are client_ids of interfaces. What is absent is not limited. */
export interface LinkShape {
  from: string
  to: string
  /** kbit/s */
  capacityKbps?: number
  latencyMs?: number
  /** The part of frames that is lost: 0 to 1. */
  loss?: number
}

export interface Link {
  clientId: string
  /** client_ids of the interfaces on this LAN, in the order of the request. */
  interfaces: string[]
  /** The directions that are shaped. */
  shapes?: LinkShape[]
  /** Of its interfaces, where the request says. */
  mtu?: number
}

export interface Topology {
  nodes: Node[]
  links: Link[]
  policy?: CheckpointPolicy
}
