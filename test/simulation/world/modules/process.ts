// Processes of VMs, by their pids.
import { world } from '../world.js'

export async function killProcess({ pid }: { pid: number }): Promise<void> { world().killVm(pid) }

export const processesNaming = async (text: string): Promise<{ pid: number; started: string; line: string }[]> =>
  world().vmProcesses().filter(({ line }) => line.includes(text))
