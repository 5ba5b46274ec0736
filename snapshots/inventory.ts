// The inventory: what a snapshot is made of, signed as the exact bytes that are on disk. Canonical JSON, so that the same
// snapshot always has the same bytes.
import type { Form } from '../base/records.js'
import type { ClosedLog } from '../overlay/control.js'
import type { CutVm, Part, SealedVm } from './messages.js'
import type { Member, SnapshotMode, SnapshotOrigin } from './needs.js'

export interface HostShare { host: string; vms: (SealedVm & { cut: CutVm })[]; channels: Part; log: ClosedLog }

export interface Inventory {
  format: 'violin-inventory-1'
  am: string
  /** SHA-256 of the certificate of the aggregate. */
  certificate?: string
  id: string
  name: string
  /** Absent where the user has said nothing, and in inventories from before there were notes. */
  note?: string
  slice: { urn: string; uuid: string }
  parent: string
  /** Digest of the parent's inventory. Absent where there is no parent, and in inventories from before it was kept; so is `certificate`. */
  parentDigest?: string
  op: string
  run: string
  k: number
  mode: SnapshotMode
  kind: 'live' | 'suspend'
  origin: SnapshotOrigin
  created: string
  committedMs: number
  members: Member[]
  topology: unknown
  hosts: HostShare[]
  software: string
}

export const inventoryForm: Form<Inventory> = {
  format: 'violin-inventory-1', is: ({ hosts }) => hosts.every((share) => share.vms.every((vm) => Array.isArray(vm.layers))),
}

/** JSON with sorted keys and no blanks. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((v) => canonicalJson(v ?? null)).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).filter(([, v]) => v !== undefined).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([k, v]) => `${JSON.stringify(k)}:${canonicalJson(v)}`).join(',')}}`
}
