// KVM or TCG. An openable /dev/kvm proves nothing (nested and paravirtual hosts open it and then hang a stock kernel), so
// a real guest must have booted on it. The answer is kept for as long as the machine is not rebooted.
import { constants } from 'node:fs'
import { access, mkdtemp, readFile, rm } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { writeDurably } from '../base/durable.js'
import type { Log } from '../base/log.js'
import { until, type Clock } from '../base/time.js'
import type { GuestImage } from './guest-image.js'

const probeMs = 8_000

export type Accelerator = 'kvm' | 'tcg'

export async function chooseAccelerator(at: {
  wanted: Accelerator | 'auto'; binary: string; image: GuestImage; folder: string; clock: Clock; log: Log
}): Promise<Accelerator> {
  if (at.wanted !== 'auto') return at.wanted
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK)
  } catch {
    return 'tcg'
  }
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  const kept = join(at.folder, 'accelerator.json')
  const before = await readFile(kept, 'utf8').then((t) => JSON.parse(t) as { boot: string; kernel: string; answer: Accelerator }).catch(() => undefined)
  if (before?.boot === boot && before.kernel === at.image.kernel) return before.answer
  const answer = (await bootsOnKvm(at)) ? 'kvm' : 'tcg'
  at.log.info({ answer }, 'KVM was probed with a real guest')
  await writeDurably(kept, JSON.stringify({ boot, kernel: at.image.kernel, answer }))
  return answer
}

/** Does the image's own kernel reach its init on KVM? */
async function bootsOnKvm(at: { binary: string; image: GuestImage; folder: string; clock: Clock }): Promise<boolean> {
  const folder = await mkdtemp(join(at.folder, 'probe-'))
  const console = join(folder, 'console')
  const child = spawn(at.binary, [
    '-accel', 'kvm', '-M', 'q35', '-m', '128', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
    '-kernel', at.image.kernel, '-initrd', at.image.initrd, '-append', at.image.append, '-serial', `file:${console}`,
  ], { stdio: 'ignore' })
  try {
    const exited = new Promise<false>((resolve) => {
      child.once('exit', () => resolve(false))
      child.once('error', () => resolve(false))
    })
    const reached = until(at.clock, probeMs, 50, async () =>
      (await readFile(console, 'utf8').catch(() => '')).includes('Run /init') ? true : undefined)
    return (await Promise.race([reached, exited])) === true
  } finally {
    child.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  }
}
