// Looks at this machine for cli/doctor/diagnosis.ts. Changes nothing.
import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs'
import { freemem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Facts } from './diagnosis.js'

export function gatherFacts(at: { stateFolder: string; imageFolder: string; env: Record<string, string> }): Facts {
  const version = (program: string): string | undefined => {
    try {
      return execFileSync(program, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env: at.env }).split('\n')[0]
    } catch {
      return undefined
    }
  }
  const state = resolve(at.stateFolder)
  const nearest = nearestFolder(state)
  const { bavail, bsize } = statfsSync(nearest)
  return {
    programs: {
      'qemu-system-x86_64': version('qemu-system-x86_64'), 'qemu-img': version('qemu-img'), 'redis-server': version('redis-server'),
      'setpriv': version('setpriv'), 'gcc': version('gcc'), 'cpio': version('cpio'),
    },
    root: process.geteuid?.() === 0, unprivilegedUserfaultfd: read('/proc/sys/vm/unprivileged_userfaultfd') === '1',
    kvm: existsSync('/dev/kvm') ? may('/dev/kvm', constants.R_OK | constants.W_OK) : undefined,
    image: existsSync(join(at.imageFolder, 'image.json')),
    stateFolder: state, stateProblem: may(nearest, constants.W_OK) ? '' : `${nearest} is not writable for you`,
    freeBytes: bavail * bsize, freeMemoryMiB: Math.floor(freemem() / 1024 / 1024),
  }
}

/** The folder itself, or the nearest above it that is there. */
function nearestFolder(path: string): string {
  return existsSync(path) ? path : nearestFolder(dirname(path))
}

function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
