// A login on a node, and commands on it. A guest that was restored does not know the connections made since its snapshot, so
// whoever restores it hangs up before.
import type { Client } from 'ssh2'
import { connect, execute } from '../../cli/bank/reader.js'
import { explain, Failure } from '../../base/errors.js'
import { within, type Clock } from '../../base/time.js'

export interface GuestLogin { clientId: string; host: string; port: number; username: string; privateKey: string }

/** An emulated guest on a busy machine takes its time for the handshake. */
const connectMs = 30_000
const answerMs = 120_000
const againMs = 500

export class Guest {
  readonly name: string
  private readonly login: GuestLogin
  private readonly clock: Clock
  private connection: Promise<Client> | undefined

  constructor(login: GuestLogin, clock: Clock) {
    this.name = login.clientId
    this.login = login
    this.clock = clock
  }

  /** What the command says. Fails when it ends with another code than 0. */
  async run(command: string): Promise<string> {
    const client = await this.client()
    const answer = await within(answerMs, execute(client, command), () => new Failure('timed-out', `${this.name} did not answer: ${command.slice(0, 80)}`))
    if (answer.code !== 0) throw new Failure('failed', `on ${this.name} a command ended with ${answer.code}: ${command.slice(0, 80)}: ${(answer.err || answer.out).trim().slice(-300)}`)
    return answer.out
  }

  hangUp(): void {
    this.connection?.then((client) => client.destroy(), () => undefined)
    this.connection = undefined
  }

  private async client(): Promise<Client> {
    const end = this.clock.monotonic() + answerMs
    for (;;) {
      try {
        this.connection ??= this.logIn()
        return await this.connection
      } catch (error) {
        this.connection = undefined
        if (this.clock.monotonic() > end) throw new Failure('timed-out', `${this.name} cannot be logged in on: ${explain(error)}`, { cause: error })
        await this.clock.sleep(againMs)
      }
    }
  }

  private async logIn(): Promise<Client> {
    const client = await connect({ ...this.login, name: this.name }, connectMs)
    client.once('close', () => { this.connection = undefined })
    return client
  }
}
