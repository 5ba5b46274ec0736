// A store of record and a queue in memory, with the promises of the real ones: what goes in and out is a copy, and an
// update sees what was stored last.
import { Refusal } from '../../base/errors.js'
import type { SliceEvent } from '../../slices/event.js'
import type { Operation } from '../../slices/operation.js'
import type { HostRecord, KeptSnapshots, OperationQueue, SliceStore } from '../../slices/slice-store.js'
import type { SliceRecord } from '../../slices/slice.js'

export function openMemoryStore(): SliceStore {
  const slices = new Map<string, SliceRecord>()
  const operations = new Map<string, Operation>()
  const hosts = new Map<string, HostRecord>()
  const snapshots = new Map<string, unknown[]>()
  const events = new Map<string, SliceEvent[]>()
  const kept = new Map<string, KeptSnapshots>()
  const putOperation = (operation: Operation) => {
    if ((operations.get(operation.id)?.ended ?? '') === '') operations.set(operation.id, structuredClone(operation))
  }
  const copy = <T>(value: T): T => structuredClone(value)
  const get = (urn: string) => copy(slices.get(urn.toLowerCase()))
  const put = (record: SliceRecord) => { slices.set(record.urn.toLowerCase(), copy(record)) }
  return {
    slice: async (urn) => get(urn),
    slices: async () => [...slices.keys()].sort().map((key) => copy(slices.get(key)!)),
    sliceOfSliver: async (urn) =>
      copy([...slices.values()].find((record) => record.slivers.some((s) => s.urn.toLowerCase() === urn.toLowerCase()))),
    async create(record) {
      if (slices.has(record.urn.toLowerCase())) return false
      put({ ...record, rev: 1 })
      return true
    },
    async update(urn, change, alongside) {
      const before = get(urn)
      if (!before) throw new Refusal('not-found', `there is no slice ${urn} here`)
      const after = change(copy(before))
      if (after === undefined) return before
      after.rev = before.rev + 1
      put(after)
      const operation = alongside?.()
      if (operation) putOperation(operation)
      return copy(after)
    },
    remove: async (urn, rev) => get(urn)?.rev === rev && slices.delete(urn.toLowerCase()),
    operation: async (id) => copy(operations.get(id)),
    saveOperation: async (operation) => putOperation(operation),
    operations: async (urn, count) =>
      [...operations.values()].filter((o) => o.slice.toLowerCase() === urn.toLowerCase()).reverse().slice(0, count).map(copy),
    hosts: async () => [...hosts.values()].map(copy),
    saveHost: async (host) => { hosts.set(host.host, copy(host)) },
    snapshots: async (uuid) => copy(snapshots.get(uuid) ?? []),
    saveSnapshots: async (uuid, entries) => { snapshots.set(uuid, copy(entries)) },
    addEvent: async (uuid, event) => { events.set(uuid, [...(events.get(uuid) ?? []), copy(event)].slice(-1000)) },
    events: async (uuid, count) => copy((events.get(uuid) ?? []).slice(-count)),
    kept: async () => [...kept.values()].map(copy),
    keep: async (entry) => { kept.set(entry.uuid, copy(entry)) },
    forgetKept: async (uuid) => { kept.delete(uuid) },
  }
}

/** Keeps what was added, in order. */
export function memoryQueue(): OperationQueue & { added: Operation[] } {
  const added: Operation[] = []
  return { added, add: async (operation) => { added.push(structuredClone(operation)) } }
}
