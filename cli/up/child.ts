// One supervised process: started, waited for until it says that it is ready, started again when it ends, with back-off.
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Failure } from '../../base/errors.js'
import { until, within, type Clock } from '../../base/time.js'

export interface ChildSpec {
  name: string
  command: string[]
  env?: Record<string, string>
  logFile: string
  /** When it counts as ready: it says so over its ipc channel, or this answers true. */
  ready: 'ipc' | (() => Promise<boolean>)
  /** It outlives us when we are killed; else it is ended with us. Its pid is kept in this file, for the next one of us. */
  outlives?: { pidFile: string }
}

const readyMs = 60_000
const stopMs = 10_000
/** The same for one of an earlier `up`: the next one waits. */
const replaceMs = 3_000
const firstWaitMs = 100
const longestWaitMs = 5_000

export class Child {
  readonly spec: ChildSpec
  message: Record<string, unknown> = {}
  private process: ChildProcess | undefined
  private stopping = false
  private waitMs = firstWaitMs
  private readonly clock: Clock
  private readonly say: (line: string) => void

  constructor(spec: ChildSpec, clock: Clock, say: (line: string) => void) {
    this.spec = spec
    this.clock = clock
    this.say = say
  }

  get pid(): number | undefined { return this.process?.pid }

  /** Starts it and waits until it is ready. Fails with the end of its log when it ends before. */
  async start(): Promise<void> {
    await this.launch()
  }

  /** As start(), and in the place of one that an earlier `up` has started. */
  async startAnew(): Promise<void> {
    await this.endTakenOver(replaceMs)
    await this.launch()
  }

  /** One that an earlier `up` has started runs already: it is started again when it ends. */
  takeOver(gone: Promise<void>): void {
    void gone.then(() => { if (!this.stopping) void this.again('it was of an earlier up') })
  }

  /** After: the process has ended. */
  async stop(): Promise<void> {
    this.stopping = true
    const child = this.process
    if (!child) await this.endTakenOver()
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<true>((resolve) => child.once('exit', () => resolve(true)))
    child.kill('SIGTERM')
    const late = () => new Failure('timed-out', `${this.spec.name} did not end`)
    await within(stopMs, ended, late).catch(async () => {
      child.kill('SIGKILL')
      await ended
    })
  }

  private async endTakenOver(patienceMs = stopMs): Promise<void> {
    const { outlives, command } = this.spec
    if (!outlives || !existsSync(outlives.pidFile)) return
    const pid = Number(readFileSync(outlives.pidFile, 'utf8'))
    const isOurs = () => {
      try {
        const of = (file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8')
        return of('cmdline').includes(command.at(-1)!) && of('environ').includes(dirname(outlives.pidFile)) // not one of another aggregate
      } catch {
        return false
      }
    }
    if (!isOurs()) return
    process.kill(pid, 'SIGTERM')
    const gone = () => until(this.clock, patienceMs, 10, () => (isOurs() ? undefined : true))
    if (await gone()) return
    process.kill(pid, 'SIGKILL')
    if (!(await gone())) throw new Failure('timed-out', `${this.spec.name} of an earlier up (process ${pid}) does not end`)
  }

  private async launch(): Promise<void> {
    const { spec } = this
    const log = openSync(spec.logFile, 'a', 0o600)
    const [program, ...args] = spec.outlives ? spec.command : ['setpriv', '--pdeathsig', 'KILL', ...spec.command]
    const child = spawn(program!, args, {
      env: { ...spec.env }, detached: true, // own process group: Ctrl-C reaches us only, and we stop them in order
      stdio: spec.ready === 'ipc' ? ['ignore', log, log, 'ipc'] : ['ignore', log, log],
    })
    closeSync(log)
    this.process = child
    if (spec.outlives) noteOrEnd(child, spec.outlives.pidFile)
    const begun = this.clock.monotonic()
    const ended = new Promise<never>((_, reject) => {
      child.once('error', (cause) => reject(new Failure('failed', `${spec.name} cannot be started`, { cause })))
      child.once('exit', () => reject(new Failure('failed', `${spec.name} ended at once: ${lastLine(spec.logFile)}`)))
    })
    ended.catch(() => undefined)
    try {
      const late = () => new Failure('timed-out', `${spec.name} did not become ready: see ${spec.logFile}`)
      await within(readyMs, Promise.race([this.isReady(child), ended]), late)
    } catch (error) {
      child.kill('SIGKILL') // never two of them
      throw error
    }
    child.removeAllListeners('exit')
    child.once('exit', (code, signal) => {
      if (this.stopping) return
      if (this.clock.monotonic() - begun > longestWaitMs) this.waitMs = firstWaitMs
      void this.again(signal ?? `code ${code ?? '?'}`)
    })
    if (child.exitCode !== null || child.signalCode !== null) throw new Failure('failed', `${spec.name} ended at once: ${lastLine(spec.logFile)}`)
  }

  private async again(how: string): Promise<void> {
    while (!this.stopping) {
      this.say(`${this.spec.name} ended (${how}): starting it again in ${this.waitMs} ms`)
      await this.clock.sleep(this.waitMs)
      this.waitMs = Math.min(this.waitMs * 2, longestWaitMs)
      if (this.stopping) return
      try {
        await this.launch()
        this.say(`${this.spec.name} is back`)
        return
      } catch (error) {
        how = error instanceof Error ? error.message : String(error)
      }
    }
  }

  private async isReady(child: ChildProcess): Promise<void> {
    const { ready } = this.spec
    if (ready === 'ipc') {
      this.message = await new Promise((resolve) => child.once('message', (m) => resolve(m as Record<string, unknown>)))
      return
    }
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null // then whoever waits knows, and asking on would only keep us here
    await until(this.clock, readyMs, 20, async () => (hasEnded() || (await ready()) ? true : undefined))
  }
}

/** One that no later `up` could find must not run on. */
function noteOrEnd(child: ChildProcess, pidFile: string): void {
  if (child.pid === undefined) return
  try {
    writeFileSync(pidFile, String(child.pid))
  } catch (cause) {
    child.kill('SIGKILL')
    throw new Failure('failed', `${pidFile} cannot be written`, { cause })
  }
}

function lastLine(file: string): string {
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  return lines.slice(-8).join(' | ').slice(-1500)
}
