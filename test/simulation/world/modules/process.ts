// Processes of VMs, by their pids.
import { world } from '../world.js'

export async function killProcess({ pid }: { pid: number }): Promise<void> { world().killVm(pid) }
