// What a machine can do for us, from facts about it. Pure; cli/doctor/facts.ts gathers them.
import { limits } from '../../base/limits.js'

export interface Facts {
  /** First line of each program's version; undefined: not there. */
  programs: Record<'qemu-system-x86_64' | 'qemu-img' | 'redis-server' | 'setpriv' | 'gcc' | 'cpio', string | undefined>
  root: boolean
  unprivilegedUserfaultfd: boolean
  /** `undefined`: there is none; else whether we may open it. */
  kvm: boolean | undefined
  image: boolean
  stateFolder: string
  /** Why the state folder cannot be written to; '' when it can. */
  stateProblem: string
  freeBytes: number
  freeMemoryMiB: number
}

export interface Finding { what: string; ok: boolean; says: string; mend?: string }
export interface Diagnosis { findings: Finding[]; real: 'live' | 'stop' | 'no'; simulated: boolean; verdict: string }

const packages: Record<keyof Facts['programs'], string> = {
  'qemu-system-x86_64': 'qemu-system-x86', 'qemu-img': 'qemu-utils', 'redis-server': 'redis-server', 'setpriv': 'util-linux',
  'gcc': 'gcc libc6-dev', 'cpio': 'cpio',
}
const oldestQemu = [7, 2] as const
/** A VM of the demo with what its QEMU takes beside it. */
const smallVmMiB = 128 + 96

export function diagnose(facts: Facts): Diagnosis {
  const { programs } = facts
  const program = (name: keyof Facts['programs'], needed: string): Finding => ({
    what: name, ok: programs[name] !== undefined, says: programs[name] ?? `not installed: ${needed}`,
    ...(programs[name] === undefined ? { mend: `sudo apt-get install -y --no-install-recommends ${packages[name]}` } : {}),
  })
  const live = facts.root || facts.unprivilegedUserfaultfd
  const findings: Finding[] = [
    program('redis-server', 'keeps the state of record (or give `up` your own with --redis)'), program('setpriv', 'ends helpers with their parent'),
    qemu(programs['qemu-system-x86_64'], program('qemu-system-x86_64', 'runs the virtual machines')), program('qemu-img', 'makes their disk layers'),
    facts.image
      ? { what: 'guest image', ok: true, says: 'built' }
      : { what: 'guest image', ok: false, says: 'not built yet', mend: './violin image' },
    ...facts.image ? [] : [program('gcc', 'builds the program in the guest image'), program('cpio', 'packs the guest image')],
    {
      what: 'KVM', ok: true,
      says: facts.kvm === undefined ? 'no /dev/kvm: VMs are emulated (TCG), slower' : facts.kvm
        ? 'it opens, which proves nothing: `up` boots a guest on it and uses TCG where that fails'
        : '/dev/kvm may not be opened by you: VMs are emulated (TCG), slower',
      ...(facts.kvm === false ? { mend: 'sudo usermod -aG kvm "$USER"   # and log in again' } : {}),
    },
    {
      what: 'live snapshots', ok: live,
      says: live ? 'VMs run on while their memory is written (userfaultfd)' : 'not allowed: VMs stand while their memory is written (mode stop)',
      ...(live ? {} : { mend: 'sudo sysctl vm.unprivileged_userfaultfd=1' }),
    },
    {
      what: 'short pauses', ok: true,
      says: facts.root ? 'what a stopped VM waits for runs in a real-time class' : 'real-time priority is root\'s: some pauses will be longer under load',
    },
    facts.stateProblem === ''
      ? { what: 'state folder', ok: true, says: facts.stateFolder }
      : { what: 'state folder', ok: false, says: `${facts.stateFolder}: ${facts.stateProblem}`, mend: 'choose another with --state DIR' },
    {
      what: 'disk', ok: facts.freeBytes >= limits.freeFloorBytes,
      says: `${mib(facts.freeBytes)} MiB free; no snapshot begins below ${mib(limits.freeFloorBytes)} MiB`,
    },
    {
      what: 'memory', ok: facts.freeMemoryMiB >= smallVmMiB,
      says: `${facts.freeMemoryMiB} MiB free: room for ${Math.floor(facts.freeMemoryMiB / smallVmMiB)} VMs of 128 MiB`,
    },
  ]
  const bad = (...names: string[]) => findings.some((f) => !f.ok && names.includes(f.what))
  const simulated = !bad('redis-server', 'setpriv', 'state folder', 'disk')
  const real = !simulated || bad('qemu-system-x86_64', 'qemu-img', 'guest image', 'memory') ? 'no' : live ? 'live' : 'stop'
  return { findings, real, simulated, verdict: verdictOf(real, simulated) }
}

function verdictOf(real: Diagnosis['real'], simulated: boolean): string {
  if (real === 'live') return 'this machine runs real VMs with live snapshots'
  if (real === 'stop') return 'this machine runs real VMs; they stand while a snapshot is written'
  return simulated ? 'this machine runs simulated VMs only (--hypervisor simulated)' : 'this machine cannot run an aggregate yet'
}

function qemu(version: string | undefined, finding: Finding): Finding {
  const numbers = /version (\d+)\.(\d+)/.exec(version ?? '')?.slice(1).map(Number)
  if (!numbers) return finding
  const old = numbers[0]! < oldestQemu[0] || (numbers[0] === oldestQemu[0] && numbers[1]! < oldestQemu[1])
  return old ? { ...finding, ok: false, says: `${version!}: ${oldestQemu.join('.')} or later is needed` } : finding
}

const mib = (bytes: number): number => Math.floor(bytes / 1024 / 1024)
