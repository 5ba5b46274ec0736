// `violin test`: everything that must hold before a change lands, one step after another, with the sum at the end.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { Command } from 'commander'
import { realClock as clock } from '../../base/time.js'
import type { Surroundings } from '../surroundings.js'

interface Step { name: string; command: string[] }
interface Sum { passing: number; failing: number }

const mocha = (...globs: string[]) => ['node', 'node_modules/mocha/bin/mocha.js', ...globs]
const steps: Step[] = [
  { name: 'types', command: ['node', 'node_modules/typescript/bin/tsc', '--noEmit'] },
  { name: 'lint', command: ['node', 'node_modules/eslint/bin/eslint.js', '.'] },
  { name: 'unused', command: ['node', 'node_modules/knip/bin/knip.js'] },
  { name: 'fast', command: mocha('test/tidy.test.ts', 'test/unit/**/*.test.ts', 'test/property/**/*.test.ts') },
  { name: 'integration', command: mocha('test/integration/**/*.test.ts') },
  { name: 'e2e', command: mocha('test/e2e/**/*.test.ts') },
]

export function testCommand(at: Surroundings): Command {
  const names = steps.map((s) => s.name).join(', ')
  return new Command('test')
    .description('types, lint, unused code, unit and property tests, then integration on real Redis and QEMU, then end to end')
    .argument('[steps...]', `only these: ${names}`)
    .action(async (wanted: string[]) => {
      const unknown = wanted.filter((w) => !steps.some((s) => s.name === w))
      if (unknown.length > 0) throw new Error(`there is no step ${unknown.join(', ')}: the steps are ${names}`)
      const total: Sum = { passing: 0, failing: 0 }
      const begun = clock.monotonic()
      for (const step of steps.filter((s) => wanted.length === 0 || wanted.includes(s.name))) {
        const from = clock.monotonic()
        process.stdout.write(`\n== ${step.name}\n`)
        const { code, sum } = await run(step, at)
        total.passing += sum.passing
        total.failing += sum.failing
        if (code !== 0 && sum.failing === 0) total.failing++
        process.stdout.write(`== ${step.name}: ${code === 0 ? 'ok' : `FAILED (exit ${code})`} after ${Math.round((clock.monotonic() - from) / 1000)} s\n`)
      }
      process.stdout.write(`\nall of it took ${Math.round((clock.monotonic() - begun) / 1000)} s\n`)
      process.stdout.write(`${total.passing} passed, ${total.failing} failed\n`)
      process.exitCode = total.failing === 0 ? 0 : 1
    })
}

/** Runs a step with its output shown; the closing lines of mocha are read for the sum. */
function run(step: Step, at: Surroundings): Promise<{ code: number; sum: Sum }> {
  const [program, ...args] = step.command
  const child = spawn(program === 'node' ? process.execPath : program!, args, {
    cwd: at.root, env: { ...at.env, VIOLIN_BIN: join(at.root, 'violin') }, stdio: ['ignore', 'pipe', 'inherit'],
  })
  let tail = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    process.stdout.write(chunk)
    tail = (tail + chunk).slice(-200_000)
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, sum: { passing: last(tail, 'passing'), failing: last(tail, 'failing') } }))
  })
}

function last(text: string, word: string): number {
  return Number([...text.matchAll(new RegExp(`^\\s+(\\d+) ${word}`, 'gm'))].at(-1)?.[1] ?? '0')
}
