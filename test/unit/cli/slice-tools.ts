// `violin slice` without processes and network: the real commands before the in-process aggregate of the AM's own tests,
// with a federation on disk, and a clock that moves only when somebody sleeps.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CommanderError, type Command } from 'commander'
import { realRandom } from '../../../base/random.js'
import type { Struct, Value } from '../../../am-plugin/xmlrpc/value.js'
import { unwrap, type AmClient, type AmClientOptions } from '../../../cli/am-client.js'
import { sliceCommand } from '../../../cli/commands/slice.js'
import { exitOf, sentenceOf } from '../../../cli/slice/errors.js'
import type { SliceTools } from '../../../cli/slice/tools.js'
import { aggregate } from '../am-plugin/aggregate.js'
import { field } from '../certs/field.js'

export interface Said { out: string; err: string; code: number; json: Record<string, unknown> }
type Answering = (method: string, params: Value[]) => Promise<Value> | undefined

/** A clock and everything else that the commands touch; what is printed is kept. */
export function fakeTools(stateFolder: string, connect: (options: AmClientOptions) => AmClient) {
  const time = { at: Date.now(), onSleep: undefined as (() => unknown) | undefined }
  const said = { out: '', err: '', code: 0 }
  const ran: string[][] = []
  let stop: (() => void) | undefined
  const tools: SliceTools = {
    stateFolder, loginName: 'root', random: realRandom,
    clock: { now: () => time.at, monotonic: () => time.at, sleep: async (ms) => { time.at += ms; await time.onSleep?.() } },
    out: (text) => { said.out += text }, err: { write: (text) => { said.err += text } }, stdin: async () => '', connect,
    run: async (program, args) => { ran.push([program, ...args]); return 7 },
    onInterrupt: (listener) => { stop = listener; return () => { stop = undefined } },
    exit: (code) => { said.code = code },
  }
  /** What cli/main.ts does around a command. */
  async function run(...words: string[]): Promise<Said> {
    Object.assign(said, { out: '', err: '', code: 0 })
    const command = sliceCommand(tools)
    for (const each of [command, ...command.commands]) quiet(each, said)
    try {
      await command.parseAsync(words, { from: 'user' })
    } catch (error) {
      if (error instanceof CommanderError) said.code = error.exitCode
      else {
        const sentence = sentenceOf(error)
        if (sentence === undefined) throw error
        said.err += `violin: ${sentence}\n`
        said.code = exitOf(error)
      }
    }
    return { ...said, json: words.includes('--json') && said.out !== '' ? JSON.parse(said.out) as Record<string, unknown> : {} }
  }
  return { tools, time, run, ran, interrupt: () => stop?.() }
}

function quiet(command: Command, said: { out: string; err: string }): void {
  command.exitOverride().configureOutput({ writeOut: (t) => { said.out += t }, writeErr: (t) => { said.err += t } })
}

/** The commands before an aggregate that answers by itself, but for what `instead` answers. */
export async function cli(stateFolder: string, { empty = false } = {}) {
  const am = await aggregate()
  const instead = { of: undefined as Answering | undefined, calls: [] as { method: string; params: Value[] }[], closed: 0 }
  const connect = (): AmClient => {
    const call = async (method: string, params: Value[]) => {
      instead.calls.push({ method, params })
      return (await instead.of?.(method, params)) ?? (await am.call(method, params)).whole
    }
    return { call, geni: async (method, params) => unwrap(method, await call(method, params)), close: () => { instead.closed++ } }
  }
  const { pristine } = await field()
  mkdirSync(stateFolder, { recursive: true })
  writeFileSync(join(stateFolder, 'url'), 'https://127.0.0.1:8443/am/3.0\n')
  if (!empty) cpSync(pristine, join(stateFolder, 'federation'), { recursive: true })
  const fake = fakeTools(stateFolder, connect)
  fake.time.at = am.time.at
  fake.time.onSleep = () => am.settle('geni_ready')
  return { ...fake, am, instead }
}

/** An answer of PerformOperationalAction, for actions that the aggregate of the tests leaves to others. */
export const answered = (value: Value): Struct => ({ code: { geni_code: 0 }, value, output: '' })
