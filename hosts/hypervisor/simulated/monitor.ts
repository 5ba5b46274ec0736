// What a simulated VM can be asked, over JSON-RPC on its monitor socket: the same things that the QEMU driver says in QMP.
import type { DeviceWitness } from '../../../overlay/slice-net.js'
import type { VmSpec } from '../../../slices/vm-spec.js'
import type { CutPlan } from '../hypervisor.js'

/** The one argument of a simulated VM's process, as JSON. */
export interface SimulatedConfig {
  spec: VmSpec
  monitor: string
  nicSockets: string[]
  console: string
  /** Disk layers, oldest first; the last one is written to. */
  layers: string[]
  /** The memory file of a snapshot; without one it boots. */
  incoming?: string
}

export interface MonitorAsks {
  status: [Record<string, never>, { running: boolean; layers: string[] }]
  resume: [Record<string, never>, null]
  setLogins: [{ logins: VmSpec['logins'] }, null]
  openLogin: [Record<string, never>, null]
  witnesses: [Record<string, never>, DeviceWitness[]]
  prepareCut: [CutPlan, null]
  stop: [Record<string, never>, { stoppedAt: number; witnesses: DeviceWitness[] }]
  save: [Record<string, never>, { resumedAt?: number }]
  finishSave: [Record<string, never>, { bytes: number }]
  abandonCut: [Record<string, never>, null]
  freezeDisk: [{ overlay: string }, null]
  replaceLayers: [{ layers: string[]; by: string }, null]
}
