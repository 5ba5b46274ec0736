// How long a VM stands in a snapshot, beside a bare stop + cont of the same VMs in the same run. Drives switch, agent and
// the snapshot core directly, with the bank as load; prints a table, and one JSON object with --json.
//   node dist/bench/pause.js [--vms 3] [--snapshots 30] [--json]
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { silentLog } from '../base/log.js'
import { realRandom } from '../base/random.js'
import { newSshKeys } from '../base/ssh-key.js'
import { realClock as clock, until } from '../base/time.js'
import { openBank } from '../cli/bank/reader.js'
import { Qmp } from '../hosts/hypervisor/qemu/qmp.js'
import { connectHosts } from '../jobs/host-links.js'
import type { VmSpec } from '../slices/vm-spec.js'
import type { SnapshotEntry } from '../snapshots/needs.js'
import { openSnapshots } from '../snapshots/open.js'
import { distribution, type Distribution } from './distribution.js'

const { values } = parseArgs({ options: {
  vms: { type: 'string', default: '3' }, snapshots: { type: 'string', default: '30' }, json: { type: 'boolean', default: false },
  restores: { type: 'string', default: '5' },
} })
const count = Number(values.vms)
const program = resolve(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'vbench-'))
const slice = '5f0c0d5e-0000-4000-8000-0000000000be'
const children: ChildProcess[] = []
const say = (line: string) => process.stderr.write(`${line}\n`)

function start(main: string, config: object): Promise<void> {
  const child = spawn(process.execPath, [join(program, main)], {
    env: { ...process.env, VIOLIN_CONFIG: JSON.stringify({ ...config, logLevel: 'warn' }) }, stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  children.push(child)
  return new Promise((ready, fail) => {
    child.once('message', () => ready())
    child.once('exit', (code) => fail(new Error(`${main} ended with ${code ?? '?'}`)))
  })
}

function specOf(i: number, key: string): VmSpec {
  const name = (n: number) => `n${n + 1}`
  return {
    vm: `bench-${name(i)}`, slice, clientId: name(i), memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'violin-linux', loginPort: 21_000 + i,
    nics: [{ port: i + 1, name: `${name(i)}:if0`, lan: 'lan0', mac: `52:54:00:00:be:0${i}`, ip: `10.1.1.${i + 1}`, prefixLength: 24 }],
    logins: [{ urn: 'bench', name: 'bench', keys: [key] }], execute: [{ shell: 'sh', command: 'bank start' }],
    neighbours: Array.from({ length: count }, (_, n) => ({ name: name(n), ip: `10.1.1.${n + 1}` })),
  }
}

/** stop + cont by a second monitor connection would disturb the agent's, so the agent is stopped for it. */
async function bareStops(specs: VmSpec[], rounds: number): Promise<number[]> {
  const pauses: number[] = []
  for (const spec of specs) {
    const record = JSON.parse(readFileSync(join(folder, 'host', 'vms', `${spec.vm}.json`), 'utf8')) as { instance: { monitor: string } }
    const qmp = await Qmp.connect(record.instance.monitor)
    let stopped = 0
    qmp.onEvent((e) => {
      if (e.event === 'STOP') stopped = e.at
      if (e.event === 'RESUME') pauses.push(e.at - stopped)
    })
    for (let i = 0; i < rounds; i++) {
      await qmp.batch([{ execute: 'stop' }, { execute: 'cont' }])
      await clock.sleep(30)
    }
    qmp.close()
  }
  return pauses
}

const agentConfig = {
  host: 'local', folder: join(folder, 'host'), runFolder: join(folder, 'run'), store: join(folder, 'store'), socket: join(folder, 'agent.sock'),
  switchSocket: join(folder, 'switch.sock'), imageFolder: resolve(program, '..', 'build', 'image'), hypervisor: 'qemu',
  qemu: 'qemu-system-x86_64', accelerator: 'auto',
}
let specs: VmSpec[]
try {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem'),
    '-days', '2', '-subj', '/CN=bench'], { stdio: 'ignore' })
  await start('hosts/switch/main.js', { folder: join(folder, 'switch'), socket: join(folder, 'switch.sock') })
  await start('hosts/main.js', agentConfig)
  const links = await connectHosts({ hosts: [{ name: 'local', socket: agentConfig.socket }], log: silentLog, clock })
  const snapshots = await openSnapshots({
    links, journal: { save: () => Promise.resolve(), remove: () => Promise.resolve() }, store: agentConfig.store,
    keyPem: readFileSync(join(folder, 'key.pem'), 'utf8'), certificatePem: readFileSync(join(folder, 'cert.pem'), 'utf8'),
    am: 'urn:publicid:IDN+bench+authority+am', software: 'bench', clock, random: realRandom, log: silentLog,
  })
  const keys = newSshKeys()
  specs = Array.from({ length: count }, (_, i) => specOf(i, keys.public))
  let run = '0000000100000000'
  let epoch = 1
  for (const spec of specs) await links.defineVm('local', spec)
  await Promise.all(specs.map((spec) => links.startVm('local', spec.vm, { run, epoch })))
  say(`booting ${count} VMs`)
  const banks = specs.map((s) => openBank({ name: s.clientId, host: '127.0.0.1', port: s.loginPort, username: 'bench', privateKey: keys.private }))
  await until(clock, 120_000, 300, async () =>
    (await Promise.all(banks.map((b) => b.report().catch(() => undefined)))).every((r) => r?.state === 'running') ? true : undefined)
  const members = specs.map((s) => ({ vm: s.vm, clientId: s.clientId, host: 'local', ports: s.nics.map((n) => n.port) }))
  const entries: SnapshotEntry[] = []
  for (let i = 0; i < Number(values.snapshots); i++) {
    const cut = await snapshots.take({
      id: `bench-${i}`, op: `bench-op-${i}`, token: i + 1, slice: { urn: 'bench', uuid: slice }, run, epoch, origin: 'policy', kind: 'live', mode: 'live',
      members, topology: {},
    })
    if (!cut.committed) throw new Error(cut.reason)
    epoch = cut.epoch
    entries.push(cut.entry)
    await snapshots.remove(slice, `bench-${i - 2}`)
    await clock.sleep(2_000)
  }
  const restores: { runningMs: number; firstFrameMs?: number }[] = []
  for (let i = 0; i < Number(values.restores); i++) {
    const went = await snapshots.restore({
      op: `restore-${i}`, token: 1000 + i, snapshot: entries.at(-1)!.id, slice: { urn: 'bench', uuid: slice }, run, epoch, members,
    })
    run = went.run
    epoch = went.epoch
    restores.push(went)
    await clock.sleep(1_000)
  }
  for (const bank of banks) bank.close()
  links.close()
  const agent = children.pop()!
  const ended = new Promise((resolve) => agent.once('exit', resolve))
  agent.kill('SIGTERM')
  await ended
  const bare = await bareStops(specs, 10)
  print({
    pause: distribution(entries.flatMap((e) => Object.values(e.pauseMs))), bareStop: distribution(bare),
    hold: distribution(entries.map((e) => e.longestHoldMs)), skew: distribution(entries.map((e) => e.skewMs)),
    committed: distribution(entries.map((e) => e.committedMs)), running: distribution(restores.map((r) => r.runningMs)),
    firstFrame: distribution(restores.map((r) => r.firstFrameMs ?? NaN)),
    ...Object.fromEntries((['gate', 'stop', 'flip', 'save', 'thaw'] as const).map((phase) =>
      [`- ${phase}`, distribution(entries.flatMap((e) => Object.values(e.phasesMs).map((p) => p[phase])))])),
  }, entries)
  await start('hosts/main.js', agentConfig)
  const again = await connectHosts({ hosts: [{ name: 'local', socket: agentConfig.socket }], log: silentLog, clock })
  for (const spec of specs) await again.destroyVm('local', spec.vm)
  again.close()
} finally {
  for (const child of children) child.kill('SIGTERM')
  rmSync(folder, { recursive: true, force: true })
}

function print(results: Record<string, Distribution>, entries: SnapshotEntry[]): void {
  const sum = (of: (e: SnapshotEntry) => number) => entries.reduce((n, e) => n + of(e), 0)
  const frames = `frames held ${sum((e) => e.framesHeld)}, recorded ${sum((e) => e.framesRecorded)}, put back ${sum((e) => e.framesPutBack)}`
  say(`${count} VMs of 128 MiB under bank load, ${entries.length} snapshots; ${frames}`)
  say('ms'.padEnd(12) + ['median', 'p90', 'max', 'n'].map((h) => h.padStart(9)).join(''))
  for (const [name, d] of Object.entries(results)) {
    say(name.padEnd(12) + [d.median, d.p90, d.max].map((x) => x.toFixed(1).padStart(9)).join('') + String(d.n).padStart(9))
  }
  say(`pause / bare stop+cont (medians): ${(results['pause']!.median / results['bareStop']!.median).toFixed(1)}`)
  if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`)
}
