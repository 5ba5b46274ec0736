import assert from 'node:assert/strict'
import { diagnose, type Facts } from '../../../cli/doctor/diagnosis.js'

const good: Facts = {
  programs: {
    'qemu-system-x86_64': 'QEMU emulator version 7.2.18 (Debian)', 'qemu-img': 'qemu-img version 7.2', 'redis-server': 'Redis server v=7.0.15',
    'setpriv': 'setpriv from util-linux 2.38.1', 'gcc': 'gcc 12', 'cpio': 'cpio 2.13',
  },
  root: true, unprivilegedUserfaultfd: false, kvm: undefined, image: true, stateFolder: '/var/lib/violin', stateProblem: '', freeBytes: 2 ** 36,
  freeMemoryMiB: 8_000,
}
const without = (...names: (keyof Facts['programs'])[]): Facts =>
  ({ ...good, programs: { ...good.programs, ...Object.fromEntries(names.map((n) => [n, undefined])) } })
const finding = (facts: Facts, what: string) => diagnose(facts).findings.find((f) => f.what === what)!

describe('the doctor', () => {
  it('finds a machine well that has all it takes', () => {
    const { findings, real, simulated, verdict } = diagnose(good)
    assert.deepEqual([findings.filter((f) => !f.ok), real, simulated], [[], 'live', true])
    assert.match(verdict, /real VMs with live snapshots/)
  })

  it('names what is missing with the command that installs it', () => {
    const facts = without('qemu-system-x86_64', 'qemu-img')
    assert.deepEqual([diagnose(facts).real, diagnose(facts).simulated], ['no', true])
    assert.match(finding(facts, 'qemu-system-x86_64').mend!, /apt-get install .*qemu-system-x86$/)
    assert.match(diagnose(facts).verdict, /simulated VMs only/)
    assert.match(diagnose(without('redis-server')).verdict, /cannot run an aggregate yet/)
  })

  it('finds a QEMU too old, and any newer one good', () => {
    const version = (text: string): Facts => ({ ...good, programs: { ...good.programs, 'qemu-system-x86_64': `QEMU emulator version ${text}` } })
    assert.deepEqual(['6.2.0', '7.1.0', '7.2.0', '8.0.0', '10.1.2'].map((v) => finding(version(v), 'qemu-system-x86_64').ok), [false, false, true, true, true])
    assert.match(finding(version('7.1.0'), 'qemu-system-x86_64').says, /7\.2 or later is needed/)
  })

  it('tells whoever is not root how to get live snapshots, and what goes without', () => {
    const user = { ...good, root: false }
    assert.equal(diagnose(user).real, 'stop')
    assert.equal(finding(user, 'live snapshots').mend, 'sudo sysctl vm.unprivileged_userfaultfd=1')
    assert.equal(diagnose({ ...user, unprivilegedUserfaultfd: true }).real, 'live')
  })

  it('says of KVM that an open device proves nothing, and that one that does not open is no hindrance', () => {
    assert.match(finding({ ...good, kvm: true }, 'KVM').says, /proves nothing/)
    assert.match(finding({ ...good, kvm: false }, 'KVM').mend!, /usermod -aG kvm/)
    assert.equal(diagnose({ ...good, kvm: false }).real, 'live')
  })

  it('asks for the tools of the image only where there is none', () => {
    assert.equal(diagnose(without('gcc', 'cpio')).real, 'live')
    const facts = { ...without('gcc'), image: false }
    assert.deepEqual([diagnose(facts).real, finding(facts, 'guest image').mend], ['no', './violin image'])
    assert.equal(finding(facts, 'gcc').ok, false)
  })

  it('sees when there is no room', () => {
    assert.equal(diagnose({ ...good, freeBytes: 1000 }).real, 'no')
    assert.equal(diagnose({ ...good, freeMemoryMiB: 100 }).real, 'no')
    assert.equal(diagnose({ ...good, stateProblem: '/ is not writable for you' }).simulated, false)
  })
})
