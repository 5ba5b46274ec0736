// The disk of the state folder is filled to its last byte at a point of a snapshot, each time another one: VMs run on, the snapshot is
// aborted with the reason, room is found again, and the next snapshot and a rollback work. A file system of its own is made for it.
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { explain } from '../../base/errors.js'
import { realClock as clock, until } from '../../base/time.js'
import { text } from '../../cli/demo/slice-client.js'
import { reserve } from '../../hosts/hypervisor/qemu/descriptors.js'
import { FaultRig, type HypervisorKind } from '../faults/rig.js'

interface Round { point: string; reason: string; freeAfterMiB: number; ok: boolean; why: string }

const points = ['agent.prepared', 'agent.cut.gated', 'agent.cut.resumed', 'agent.saved', 'agent.sealing']
const mib = 1024 * 1024
const sizeMiB = 3072
/** A snapshot begins with 512 MiB free and takes 432 of them for three VMs. */
const leaveMiB = 700
const settleMs = 1_500

export async function fullDisk(at: { hypervisor: HypervisorKind; count: number; say: (line: string) => void }): Promise<{ ok: boolean; rounds: Round[] }> {
  const disk = new SmallDisk()
  const rounds: Round[] = []
  const rig = new FaultRig(at.hypervisor, disk.folder)
  let whole = false
  try {
    await rig.open('on_failure="rollback" retries="100"')
    for (let n = 0; n < at.count; n++) {
      const round = await oneRound(rig, disk, points[n % points.length]!)
      rounds.push(round)
      at.say(`${round.ok ? 'ok    ' : 'NOT OK'} ${n + 1} of ${at.count}: full at ${round.point}; ${round.reason}; then free: ${round.freeAfterMiB} MiB ${round.why}`)
      if (!round.ok) break
    }
    whole = rounds.every((r) => r.ok)
    if (whole) await rig.close()
  } finally {
    if (!whole) {
      at.say(execFileSync('tail', ['-n', '25', join(rig.state, 'log', 'agent.log'), join(rig.state, 'log', 'worker.log'), join(rig.state, 'up.log')]).toString())
      await rig.abandon()
    }
    disk.remove()
  }
  return { ok: whole && rounds.length === at.count, rounds }
}

async function oneRound(rig: FaultRig, disk: SmallDisk, point: string): Promise<Round> {
  const round: Round = { point, reason: '', freeAfterMiB: -1, ok: false, why: '' }
  try {
    const good = await rig.snapshot()
    await rig.removeAllBut(good)
    await settled(disk)
    disk.fillUpTo(leaveMiB * mib)
    const agent = rig.pidOf('agent')
    rig.armStop(point, 'agent') // or it might be done before the disk is full
    await rig.whenFree(() => rig.slice.action('violin_snapshot'))
    await rig.struck(point)
    disk.fillUpTo(0)
    process.kill(agent, 'SIGCONT')
    await rig.assertMoving()
    const told = await until(clock, 60_000, 100, async () => {
      const [first] = await rig.call(() => rig.slice.status())
      return /failed|aborted|void/.test(first!.resourceStatus) ? first!.resourceStatus : undefined
    })
    round.reason = told ?? 'no reason was told'
    if (!told) throw new Error(`the snapshot did not fail: ${(await rig.slice.status())[0]!.resourceStatus}`)
    const room = await until(clock, 30_000, 100, () => (disk.freeBytes() > 64 * mib ? true : undefined))
    round.freeAfterMiB = Math.round(disk.freeBytes() / mib)
    if (!room) throw new Error('no room was found again')
    await rig.ready()
    await rig.assertClean()
    disk.empty()
    const next = await rig.snapshot()
    await rig.assertConserved()
    await rig.rollBack(next)
    await rig.assertMoving()
    await rig.assertConserved()
    if (!(await rig.slice.snapshots()).some((s) => text(s, 'id') === good)) throw new Error('the good snapshot is gone')
    round.ok = true
  } catch (error) {
    round.why = explain(error).split('\n').slice(0, 8).join(' | ')
  }
  return round
}

/** After: layers that were replaced have gone, so that nothing makes room by itself where the disk is to be full. */
async function settled(disk: SmallDisk): Promise<void> {
  let last = NaN
  const still = await until(clock, 60_000, settleMs, () => {
    const now = disk.freeBytes()
    const same = Math.abs(now - last) < mib
    last = now
    return same ? true : undefined
  })
  if (!still) throw new Error('the room on the disk does not come to rest')
}

/** A file system of some GiB in a file, and the file in it that fills it. */
class SmallDisk {
  readonly folder = mkdtempSync(join(tmpdir(), 'vdisk-'))
  private readonly image = `${this.folder}.img`
  private readonly filler = join(this.folder, 'filler')

  constructor() {
    writeFileSync(this.image, '')
    truncateSync(this.image, sizeMiB * mib)
    execFileSync('mkfs.ext4', ['-q', '-m', '0', this.image])
    execFileSync('mount', ['-o', 'loop', this.image, this.folder])
  }

  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.folder)
    return bavail * bsize
  }

  /** After: `left` bytes are free, or with 0 not one. */
  fillUpTo(left: number): void {
    const file = openSync(this.filler, 'a')
    try {
      const more = this.freeBytes() - left - (left === 0 ? mib : 0)
      if (more > 0) reserve(file, this.sizeOfFiller() + more, this.filler)
      if (left === 0) this.writeUntilFull()
    } finally {
      closeSync(file)
    }
  }

  empty(): void { rmSync(this.filler, { force: true }); rmSync(`${this.filler}.rest`, { force: true }) }

  remove(): void {
    execFileSync('umount', ['-l', this.folder])
    rmSync(this.image, { force: true })
    rmSync(this.folder, { recursive: true, force: true })
  }

  private sizeOfFiller(): number {
    return Number(execFileSync('stat', ['-c', '%s', this.filler]).toString())
  }

  private writeUntilFull(): void {
    const rest = openSync(`${this.filler}.rest`, 'a')
    try {
      for (const size of [64 * 1024, 4096, 1]) writeWhileItFits(rest, Buffer.alloc(size))
    } finally {
      closeSync(rest)
    }
  }
}

function writeWhileItFits(file: number, block: Buffer): void {
  try {
    for (let n = 0; n < 100_000; n++) if (writeSync(file, block) < block.length) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}
