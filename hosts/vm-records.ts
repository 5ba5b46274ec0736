// The records of VMs as an earlier agent has left them. One that cannot be read, or is of a format that this program does not
// know, costs only its own VM: nothing of it is touched, it is reported as dead with the reason, and it is never made a second time.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../base/durable.js'
import { Failure } from '../base/errors.js'
import { readableOr, readRecord, type Form } from '../base/records.js'
import type { VmCondition, VmReport } from '../slices/needs.js'
import type { VmSpec } from '../slices/vm-spec.js'
import type { VmInstance } from './hypervisor/hypervisor.js'

export interface VmRecord {
  format: 1
  spec: VmSpec
  condition: VmCondition
  reason: string
  layers: string[]
  instance: VmInstance | null
}

export const vmRecordForm: Form<VmRecord> = {
  format: 1,
  is: ({ spec, layers, instance }) => typeof spec.vm === 'string' && typeof spec.slice === 'string' && Array.isArray(spec.nics) &&
    Array.isArray(layers) && (instance === null || Array.isArray(instance.layers)),
}

/** As the host tells it to the worker. */
export function reportOf({ spec, condition, reason, instance }: VmRecord): VmReport {
  return { vm: spec.vm, slice: spec.slice, condition, reason, ...(instance?.pid !== undefined ? { pid: instance.pid } : {}) }
}

/** Why a VM's record cannot be read, and every layer that may be of its disk: their names begin with the VM's. */
export interface UnreadableVm { why: string; layers: string[] }

export async function readVmRecords(folder: string, layerFolder: string): Promise<{ records: VmRecord[]; unreadable: Map<string, UnreadableVm> }> {
  await makeFolder(folder)
  const records: VmRecord[] = []
  const unreadable = new Map<string, UnreadableVm>()
  for (const file of (await readdir(folder)).filter((f) => f.endsWith('.json')).sort()) {
    const name = file.slice(0, -'.json'.length)
    const lost = (why: string) => { unreadable.set(name, { why, layers: [] }) }
    const record = await readableOr(() => readRecord(join(folder, file), vmRecordForm), lost)
    if (!record) continue
    if (record.spec.vm === name) records.push(record)
    else lost(`${join(folder, file)} is damaged: it is the record of ${record.spec.vm}`)
  }
  const layers = unreadable.size > 0 ? await readdir(layerFolder) : []
  for (const [name, vm] of unreadable) vm.layers = layers.filter((l) => l.startsWith(`${name}.`) && l.endsWith('.qcow2')).map((l) => join(layerFolder, l))
  return { records, unreadable }
}

/** Before anything is done with a VM: of one whose record cannot be read nothing is known, so nothing is done. */
export function refuseUnreadable(unreadable: Map<string, UnreadableVm>, name: string): void {
  const vm = unreadable.get(name)
  if (vm) throw new Failure('damaged', `nothing is done with the VM ${name}, of which it is not known whether it runs: ${vm.why}`)
}
