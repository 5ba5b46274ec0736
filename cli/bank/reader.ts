// Reads and steers the bank in a guest as an experimenter would: over the management ssh. A guest that was restored from a
// snapshot does not know the connections made since, so one that is silent is given up at once and a new one is made.
import ssh2, { type Client } from 'ssh2'
import { explain, Failure } from '../../base/errors.js'
import { realClock, within, type Clock } from '../../base/time.js'
import { parseReport, type BankReport } from './report.js'

export interface BankLogin { name: string; host: string; port: number; username: string; privateKey: string }

export interface Bank {
  readonly name: string
  report(): Promise<BankReport>
  /** Stops sending; what is in flight is still received. */
  stop(): Promise<void>
  go(): Promise<void>
  close(): void
}

const deadlineMs = 10_000
const silenceMs = 3_000
const connectMs = 8_000
const againMs = 200
const maxAnswer = 4 << 20

/** A bank to talk to. Nothing is connected before the first request; each request ends within 10 s. */
export function openBank(login: BankLogin, clock: Clock = realClock): Bank {
  const line = new Line(login, clock)
  return {
    name: login.name,
    report: async () => parseReport(login.name, await line.run('report')),
    stop: async () => { await line.run('stop') },
    go: async () => { await line.run('go') },
    close: () => line.close(),
  }
}

export interface Answer { code: number; out: string; err: string }

class Line {
  private readonly login: BankLogin
  private readonly clock: Clock
  private connection: Promise<Client> | undefined
  private closed = false

  constructor(login: BankLogin, clock: Clock) {
    this.login = login
    this.clock = clock
  }

  /** All commands may be given twice without harm, so an answer that was lost is asked for again. */
  async run(command: 'report' | 'stop' | 'go'): Promise<string> {
    const end = this.clock.monotonic() + deadlineMs
    let cause: unknown
    for (let left = deadlineMs; left > 0 && !this.closed; left = end - this.clock.monotonic()) {
      let answer: Answer
      try {
        answer = await this.attempt(`bank ${command}`, left)
      } catch (error) {
        cause = error
        await this.clock.sleep(againMs)
        continue
      }
      if (answer.code === 0) return answer.out
      throw new Failure('failed', `bank ${command} on ${this.login.name} ended with ${answer.code}: ${answer.err.trim() || answer.out.trim()}`)
    }
    if (this.closed) throw new Failure('aborted', `bank ${command} on ${this.login.name}: the connection was closed by us`, { cause })
    const where = `${this.login.host}:${this.login.port}`
    throw new Failure('timed-out', `bank ${command} on ${this.login.name} (ssh to ${where}) had no answer within ${deadlineMs / 1000} s: ${explain(cause)}`)
  }

  close(): void {
    this.closed = true
    this.giveUp(this.connection)
  }

  private async attempt(command: string, leftMs: number): Promise<Answer> {
    const connection = this.connection ??= connect(this.login, Math.min(leftMs, connectMs))
    try {
      const client = await connection
      return await within(Math.min(leftMs, silenceMs), execute(client, command), () => new Failure('timed-out', 'the guest is silent'))
    } catch (error) {
      this.giveUp(connection)
      throw error
    }
  }

  private giveUp(connection: Promise<Client> | undefined): void {
    if (this.connection === connection) this.connection = undefined
    connection?.then((client) => client.destroy(), () => undefined)
  }
}

/** Logs in; rejects when the guest does not answer within `ms`. */
export function connect(login: BankLogin, ms: number): Promise<Client> {
  const client = new ssh2.Client()
  const ready = new Promise<Client>((resolve, reject) => {
    client.once('ready', () => resolve(client))
    client.on('error', reject) // stays, because an error event that nobody hears ends the process
    client.once('close', () => reject(new Failure('host-lost', 'the connection was closed')))
  })
  client.connect({
    host: login.host, port: login.port, username: login.username, privateKey: login.privateKey, readyTimeout: ms,
    // Any host key will do: the guest made it at boot, so nobody could know it, and the way there is this machine's loopback.
    hostVerifier: () => true,
  })
  return within(ms, ready, () => new Failure('timed-out', 'ssh did not connect')).catch((error: unknown) => {
    client.destroy()
    throw error
  })
}

/** Runs a command to its end; rejects when the connection breaks first. */
export function execute(client: Client, command: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const lost = () => reject(new Failure('host-lost', 'the connection broke'))
    client.once('close', lost)
    client.exec(command, (error, stream) => {
      if (error) {
        client.off('close', lost)
        reject(error)
        return
      }
      const answer: Answer = { code: -1, out: '', err: '' }
      const add = (to: 'out' | 'err') => (data: Buffer) => {
        answer[to] += data.toString('utf8')
        if (answer[to].length > maxAnswer) reject(new Failure('damaged', 'the answer is too long'))
      }
      stream.on('data', add('out'))
      stream.stderr.on('data', add('err'))
      stream.once('exit', (code: number | null) => { answer.code = code ?? -1 })
      stream.once('close', () => {
        client.off('close', lost)
        if (answer.code >= 0) resolve(answer)
        else lost()
      })
    })
  })
}
