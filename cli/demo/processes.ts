// The processes of the demo's VMs, found as an operator would find them: by their command lines.
import { readdirSync, readFileSync } from 'node:fs'

/** pid of each of these VMs (last parts of sliver URNs) that has a process. */
export function vmPids(vms: string[]): Map<string, number> {
  const found = new Map<string, number>()
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const words = commandLine(entry)
    const name = words[words.indexOf('-name') + 1] ?? ''
    const vm = words.some((word) => /qemu-system|simulated\/main\.js$/.test(word)) ? vms.find((v) => name.endsWith(`.${v}`)) : undefined
    if (vm) found.set(vm, Number(entry))
  }
  return found
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}
