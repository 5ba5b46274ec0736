// `violin test`: everything that must hold before a change lands, one step after another, with the sum at the end.
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { Command } from 'commander'
import { Failure } from '../../base/errors.js'
import { realClock as clock, within } from '../../base/time.js'
import type { Surroundings } from '../surroundings.js'

interface Step { name: string; command: string[] }
interface Sum { passing: number; failing: number }
interface End { how: string; sum: Sum; story: string }

const mocha = (...globs: string[]) => ['node', 'node_modules/mocha/bin/mocha.js', ...globs]
const steps: Step[] = [
  { name: 'types', command: ['node', 'node_modules/typescript/bin/tsc', '--noEmit'] },
  { name: 'lint', command: ['node', 'node_modules/eslint/bin/eslint.js', '.'] },
  { name: 'unused', command: ['node', 'node_modules/knip/bin/knip.js'] },
  { name: 'fast', command: mocha('test/tidy.test.ts', 'test/unit/**/*.test.ts', 'test/property/**/*.test.ts') },
  { name: 'simulation', command: mocha('test/simulation/**/*.test.ts') },
  { name: 'contract', command: mocha('test/contract/**/*.test.ts') },
  { name: 'integration', command: mocha('test/integration/**/*.test.ts') },
  { name: 'e2e', command: mocha('test/e2e/**/*.test.ts') },
]
/** A step that has not ended by then has failed, whatever its tests said: something that it started was left running. */
const stepMinutes = 20
/** Of a failed step, told again at the end. */
const storyBytes = 6000

export function testCommand(at: Surroundings): Command {
  const names = steps.map((s) => s.name).join(', ')
  return new Command('test')
    .description('types, lint, unused code, unit and property tests, simulation, then the drivers\' contract, integration on real Redis and QEMU, end to end')
    .argument('[steps...]', `only these: ${names}`)
    .action(async (wanted: string[]) => {
      const unknown = wanted.filter((w) => !steps.some((s) => s.name === w))
      if (unknown.length > 0) throw new Error(`there is no step ${unknown.join(', ')}: the steps are ${names}`)
      process.exitCode = await runAll(steps.filter((s) => wanted.length === 0 || wanted.includes(s.name)), at)
    })
}

async function runAll(chosen: Step[], at: Surroundings): Promise<number> {
  const total: Sum = { passing: 0, failing: 0 }
  const stories: string[] = []
  const begun = clock.monotonic()
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort())
  for (const step of chosen) {
    if (interrupt.signal.aborted) break
    const from = clock.monotonic()
    process.stdout.write(`\n== ${step.name}\n`)
    const { how, sum, story } = await run(step, at, interrupt.signal)
    total.passing += sum.passing
    total.failing += sum.failing
    if (how !== 'ok' && sum.failing === 0) total.failing++
    if (how !== 'ok') stories.push(`== what failed in ${step.name}\n${story}\n`)
    process.stdout.write(`== ${step.name}: ${how === 'ok' ? 'ok' : `FAILED (${how})`} after ${Math.round((clock.monotonic() - from) / 1000)} s\n`)
  }
  process.stdout.write(stories.map((story) => `\n${story}`).join('')) // again: who keeps only the end of it all must find them there
  process.stdout.write(`\nall of it took ${Math.round((clock.monotonic() - begun) / 1000)} s\n`)
  process.stdout.write(`${total.passing} passed, ${total.failing} failed\n`)
  return total.failing === 0 ? 0 : 1
}

/** Runs a step with its output shown; the closing lines of mocha are read for the sum. */
async function run(step: Step, at: Surroundings, interrupt: AbortSignal): Promise<End> {
  const [program, ...args] = step.command
  const child = spawn(program === 'node' ? process.execPath : program!, args, {
    cwd: at.root, env: { ...at.env, VIOLIN_BIN: join(at.root, 'violin') }, stdio: ['ignore', 'pipe', 'inherit'], detached: true, // a group of its own
  })
  let tail = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    process.stdout.write(chunk)
    tail = (tail + chunk).slice(-200_000)
  })
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code === 0 ? 'ok' : `exit ${code ?? signal ?? '?'}`))
    interrupt.addEventListener('abort', () => {
      endGroup(child, 'SIGTERM')
      resolve('interrupted')
    }, { once: true })
  })
  const late = () => new Failure('timed-out', `it did not end within ${stepMinutes} minutes: something that it started was left running`)
  const how = await within(stepMinutes * 60_000, ended, late).catch((error: unknown) => {
    endGroup(child, 'SIGKILL')
    return (error as Error).message
  })
  return { how, sum: { passing: last(tail, 'passing'), failing: last(tail, 'failing') }, story: storyOf(tail) }
}

function endGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal)
  } catch {
    // it has ended meanwhile
  }
}

function last(text: string, word: string): number {
  return Number([...text.matchAll(new RegExp(`^\\s+(\\d+) ${word}`, 'gm'))].at(-1)?.[1] ?? '0')
}

/** mocha's list of failures, or the end of what another tool has said. */
function storyOf(text: string): string {
  const list = text.lastIndexOf(' failing\n')
  const from = list < 0 ? text.length - storyBytes : text.lastIndexOf('\n', list) + 1
  return text.slice(Math.max(0, from)).slice(0, storyBytes).trimEnd()
}
