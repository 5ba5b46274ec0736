// What the commands that speak with an aggregate touch of the world: given by the command line, by tests in their own way.
import { spawn } from 'node:child_process'
import { Failure } from '../../base/errors.js'
import { realRandom, type Random } from '../../base/random.js'
import { realClock, type Clock } from '../../base/time.js'
import { makeAmClient, type AmClient, type AmClientOptions } from '../am-client.js'
import type { Surroundings } from '../surroundings.js'

export interface SliceTools {
  stateFolder: string
  /** Who is logged in: the name of a first user. */
  loginName: string
  clock: Clock
  random: Random
  out(text: string): void
  /** Where progress goes; on a terminal its line is rewritten. */
  err: { write(text: string): unknown; isTTY?: boolean | undefined }
  stdin(): Promise<string>
  connect(options: AmClientOptions): AmClient
  /** Runs a program on our terminal and gives its exit code. */
  run(program: string, args: string[]): Promise<number>
  /** Calls `stop` once at Ctrl-C; returns how to listen no more. */
  onInterrupt(stop: () => void): () => void
  exit(code: number): void
}

export function realTools(at: Surroundings): SliceTools {
  return {
    stateFolder: at.stateFolder, loginName: at.env['USER'] ?? at.env['LOGNAME'] ?? '', clock: realClock, random: realRandom,
    out: (text) => process.stdout.write(text), err: process.stderr, stdin: readStdin, connect: makeAmClient, run: runProgram,
    onInterrupt(stop) {
      const signals = ['SIGINT', 'SIGTERM'] as const
      for (const signal of signals) process.once(signal, stop)
      return () => { for (const signal of signals) process.removeListener(signal, stop) }
    },
    exit: (code) => { process.exitCode = code },
  }
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

function runProgram(program: string, args: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const ignored = () => undefined // Ctrl-C is the program's; we end when it does
    process.on('SIGINT', ignored)
    const child = spawn(program, args, { stdio: 'inherit' })
    child.once('error', (cause) => reject(new Failure('failed', `${program} cannot be started`, { cause })))
    child.once('exit', (code) => {
      process.removeListener('SIGINT', ignored)
      resolve(code ?? 255)
    })
  })
}
