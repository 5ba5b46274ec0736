// Which processes of an aggregate run: those that its `up` has started, and the switch, which outlives it.
import { readdirSync, readFileSync } from 'node:fs'
import type { Layout } from '../up/layout.js'

export interface Process { pid: number; parent: number; words: string[] }
/** pid 0: it does not run. */
export interface Part { name: string; pid: number }

const parts = [
  { name: 'redis', mark: 'redis-server' }, { name: 'switch', mark: 'hosts/switch/main.js' }, { name: 'agent', mark: 'hosts/main.js' },
  { name: 'worker', mark: 'jobs/main.js' }, { name: 'am', mark: 'am-plugin/main.js' },
]

/** All processes that we may look at. One that ends meanwhile is left out. */
export function allProcesses(): Process[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter((word) => word !== '')
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      return [{ pid: Number(pid), words, parent: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) }]
    } catch {
      return []
    }
  })
}

/** `up` and its children by the lock of the state folder. A Redis of one's own is none of them. */
export function partsOf(layout: Layout, all: Process[]): Part[] {
  const holder = numberIn(layout.lock)
  const up = all.find((p) => p.pid === holder && p.words.includes('up'))
  const switchPid = numberIn(layout.switchPid)
  const found = parts.filter(({ name }) => name !== 'redis' || !up?.words.some((word) => /^--redis(=|$)/.test(word))).map(({ name, mark }) => {
    const is = (p: Process) => p.words.some((word) => word.includes(mark))
    const process = all.find((p) => is(p) && (p.parent === up?.pid || (name === 'switch' && p.pid === switchPid)))
    return { name, pid: process?.pid ?? 0 }
  })
  return [{ name: 'up', pid: up?.pid ?? 0 }, ...found]
}

function numberIn(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8').trim())
  } catch {
    return 0
  }
}
