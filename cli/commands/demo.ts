// `violin demo`: an aggregate of its own in a temporary folder, one experiment on it, and the verdict.
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { explain, Failure } from '../../base/errors.js'
import { realRandom } from '../../base/random.js'
import { newSshKeys } from '../../base/ssh-key.js'
import { realClock as clock, within } from '../../base/time.js'
import { issueSlice, issueUser, openFederation } from '../../certs/issue.js'
import type { SnapshotMode } from '../../snapshots/needs.js'
import { makeAmClient } from '../am-client.js'
import { Demo } from '../demo/demo.js'
import { emptyReport } from '../demo/report.js'
import { demoRequest } from '../demo/request.js'
import { SliceClient } from '../demo/slice-client.js'
import type { Surroundings } from '../surroundings.js'
import { hypervisorOption, snapshotModes } from './up.js'

interface DemoFlags { nodes: number; snapshotMode?: SnapshotMode; hypervisor: string; json?: boolean; keep?: boolean }

const upMs = 90_000
const downMs = 90_000
const sliceLifeMs = 24 * 3600_000

export function demoCommand(at: Surroundings): Command {
  return new Command('demo')
    .description('run an experiment on real VMs: snapshot it live, kill a VM, roll back, suspend, resume, and check that nothing was lost')
    .option('--nodes <n>', 'how many VMs', parseNodes, 3)
    .addOption(new Option('--snapshot-mode <mode>', 'drop and uncoordinated show what a simpler snapshot loses').choices(snapshotModes))
    .addOption(hypervisorOption())
    .option('--json', 'text on stderr, and one JSON object with the findings on stdout')
    .option('--keep', 'leave the slice and the aggregate running and say how to reach them')
    .action(async (flags: DemoFlags) => {
      process.exitCode = (await demo(at, flags)) ? 0 : 1
    })
}

async function demo(at: Surroundings, flags: DemoFlags): Promise<boolean> {
  const say = (line: string) => (flags.json ? process.stderr : process.stdout).write(`${line}\n`)
  const state = mkdtempSync(join(tmpdir(), 'violin-demo-'))
  let up: ChildProcess | undefined
  let run: Demo | undefined
  let keep = false
  let reason = ''
  let stopped = false
  const interrupted = new Promise<never>((_, reject) => {
    // a second one must not leave the aggregate behind: it is heard and changes nothing
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {
      stopped = true
      reject(new Failure('aborted', 'interrupted: cleaning up'))
    })
  })
  interrupted.catch(() => undefined)
  try {
    up = startUp(at, state, flags)
    const url = await Promise.race([readyUrl(up), interrupted])
    say(`aggregate at ${url}`)
    run = await Promise.race([prepare(at, state, url, flags, say), interrupted])
    await Promise.race([run.run(), interrupted])
    if (flags.keep) {
      keep = true
      letGo(up)
      say(`kept: the aggregate (pid ${up.pid ?? 0}) serves ${url}, its state and federation are in ${state}; end it with kill ${up.pid ?? 0}`)
    } else await Promise.race([run.cleanUp(), interrupted])
  } catch (error) {
    reason = explain(error)
    if (run) run.fail(reason)
    else say(`NOT OK: ${reason}`)
  } finally {
    run?.hangUp()
    if (!keep) {
      await stopUp(up, say)
      if (!stopped && (!run || run.report.reasons.length > 0)) keepLogs(state, say)
      else rmSync(state, { recursive: true, force: true })
    }
  }
  const report = run?.finish() ?? { ...emptyReport(flags.snapshotMode ?? 'default'), reasons: [reason] }
  if (flags.json) process.stdout.write(`${JSON.stringify(report)}\n`)
  say(report.ok ? `OK: nothing was lost, doubled or early in ${report.seconds} s` : `NOT OK (${report.reasons.length} findings)`)
  return report.ok
}

/** Snapshots and disks are large and of no use any more. */
function keepLogs(state: string, say: (line: string) => void): void {
  const logs = join(state, 'log')
  for (const entry of readdirSync(state)) if (entry !== 'log') rmSync(join(state, entry), { recursive: true, force: true })
  if (existsSync(logs)) say(`logs are in ${logs}`)
  else rmSync(state, { recursive: true, force: true })
}

async function prepare(at: Surroundings, state: string, url: string, flags: DemoFlags, say: (line: string) => void): Promise<Demo> {
  const tools = { clock, random: realRandom }
  const folder = join(state, 'federation')
  const federation = await openFederation(folder)
  const user = await issueUser(folder, 'alice', tools)
  const slice = await issueSlice(folder, 'alice', 'demo', { ...tools, lifeMs: sliceLifeMs })
  const pem = (file: string) => readFileSync(file, 'utf8')
  const am = makeAmClient({ url, key: pem(user.key), cert: pem(user.certificate), ca: pem(federation.trust) })
  const keys = newSshKeys()
  return new Demo({
    slice: new SliceClient(am, slice.urn, readFileSync(slice.credential, 'utf8'), clock),
    rspec: demoRequest(at.root, flags.nodes), mode: flags.snapshotMode ?? 'default',
    user: { urn: user.urn, publicKey: keys.public, privateKey: keys.private }, clock, say,
  })
}

function startUp(at: Surroundings, state: string, flags: DemoFlags): ChildProcess {
  const words = ['--hypervisor', flags.hypervisor, ...flags.snapshotMode ? ['--snapshot-mode', flags.snapshotMode] : []]
  const said = flags.keep ? openSync(join(state, 'up.log'), 'a', 0o600) : undefined // one that stays must not need our terminal
  try {
    return spawn(process.execPath, [join(at.program, 'cli/main.js'), 'up', '--state', state, '--listen', '127.0.0.1:0', ...words], {
      env: at.env, stdio: ['ignore', 'pipe', said ?? 'inherit'], detached: true, // Ctrl-C comes to us; we stop it in order
    })
  } finally {
    if (said !== undefined) closeSync(said)
  }
}

/** It lives on, and we end without waiting for it. */
function letGo(up: ChildProcess): void {
  up.removeAllListeners('exit')
  up.stdout!.destroy()
  up.unref()
}

function readyUrl(up: ChildProcess): Promise<string> {
  const ready = new Promise<string>((resolve, reject) => {
    let said = ''
    up.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk
      const url = /^ready (\S+)/m.exec(said)?.[1]
      if (url) resolve(url)
    })
    up.once('error', (cause) => reject(new Failure('failed', 'the aggregate cannot be started', { cause })))
    up.once('exit', () => reject(new Failure('failed', 'the aggregate ended before it was ready')))
  })
  return within(upMs, ready, () => new Failure('timed-out', 'the aggregate did not become ready'))
}

async function stopUp(up: ChildProcess | undefined, say: (line: string) => void): Promise<void> {
  if (!up || up.exitCode !== null || up.signalCode !== null) return
  const ended = new Promise<void>((resolve) => up.once('exit', () => resolve()))
  up.kill('SIGTERM')
  await within(downMs, ended, () => new Failure('timed-out', 'the aggregate does not stop')).catch((error: unknown) => say(explain(error)))
}

function parseNodes(value: string): number {
  const nodes = Number(value)
  if (!Number.isInteger(nodes) || nodes < 2 || nodes > 16) throw new InvalidArgumentError('a number from 2 to 16')
  return nodes
}
