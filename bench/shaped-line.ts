// A whole aggregate with examples/shaped-link.rspec on real VMs, logged in by plain ssh, and measurements from inside the guests
// (images/line.c). For the bench of links and for the end-to-end test.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { realRandom } from '../base/random.js'
import { newSshKeys } from '../base/ssh-key.js'
import { realClock as clock } from '../base/time.js'
import { issueSlice, issueUser, openFederation } from '../certs/issue.js'
import { makeAmClient } from '../cli/am-client.js'
import { nodesOf, SliceClient, text, type ManifestNode } from '../cli/demo/slice-client.js'

export interface Timed { sent: number; received: number; leastMs: number; medianMs: number; mostMs: number }
export interface Filled { sent: number; received: number; doubled: number; late: number; seconds: number; bitsPerSecond: number }

/** This file as source, or built into dist/. */
const here = resolve(import.meta.dirname, '..')
const root = existsSync(join(here, 'examples')) ? here : resolve(here, '..')
const main = join(root, 'dist', 'cli', 'main.js')
const bootMs = 180_000
const snapshotMs = 60_000
const port = 7_100
const addresses = { a: '192.168.7.1', b: '192.168.7.2' } as const
export const people = ['alice', 'bob'] as const
type Node = keyof typeof addresses
type Person = (typeof people)[number]

export class ShapedLine {
  slice!: SliceClient
  private readonly folder = mkdtempSync(join(tmpdir(), 'vline-'))
  /** A place that the aggregate fetches from. */
  readonly files = mkdtempSync(join(tmpdir(), 'vline-files-'))
  private up: ChildProcess | undefined
  private nodes: ManifestNode[] = []

  /** After: both VMs run, everybody can log in, and what measures serves. `edit`: of the request. */
  async open(edit: (request: string) => string = (request) => request): Promise<void> {
    const url = await this.startUp()
    const tools = { clock, random: realRandom }
    const federation = join(this.folder, 'federation')
    const { trust } = await openFederation(federation)
    const users = []
    for (const name of people) users.push(await issueUser(federation, name, tools))
    const { urn, credential } = await issueSlice(federation, 'alice', 'line', { ...tools, lifeMs: 3_600_000 })
    const pem = (file: string) => readFileSync(file, 'utf8')
    this.slice = new SliceClient(makeAmClient({ url, key: pem(users[0]!.key), cert: pem(users[0]!.certificate), ca: pem(trust) }), urn, pem(credential), clock)
    await this.slice.allocate(edit(pem(join(root, 'examples', 'shaped-link.rspec'))))
    const keys = people.map((name) => {
      const pair = newSshKeys()
      writeFileSync(this.keyOf(name), pair.private, { mode: 0o600 })
      return pair.public
    })
    this.nodes = nodesOf(text(await this.slice.provision(users.map((user, i) => ({ urn: user.urn, keys: [keys[i]!] }))), 'geni_rspec'))
    await this.slice.waitFor('geni_notready', bootMs)
    await this.slice.action('geni_start')
    await this.slice.waitFor('geni_ready', bootMs)
    for (const node of ['a', 'b'] as const) await this.ssh(node, 'alice', `line serve ${port}`)
  }

  /** What the command says, by the ssh of this machine at the manifest's host and port. `key`: of whom. */
  async ssh(node: Node, as: Person, command: string, key: Person = as): Promise<string> {
    const login = this.nodes.find((one) => one.clientId === node)!.logins.find((one) => one.userUrn.endsWith(`+${as}`))
    if (!login) throw new Error(`the manifest has no login of ${as} on ${node}`)
    const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'IdentitiesOnly=yes', 'BatchMode=yes', 'LogLevel=ERROR', 'ConnectTimeout=30']
    const words = [...options.flatMap((option) => ['-o', option]), '-i', this.keyOf(key), '-p', String(login.port), `${login.username}@${login.host}`, command]
    return new Promise((done, fail) => {
      execFile('ssh', words, { timeout: bootMs }, (error, out, said) => (error ? fail(new Error(`${error.message}: ${said}`)) : done(out)))
    })
  }

  sliverOf(node: Node): string {
    return this.nodes.find((one) => one.clientId === node)!.sliver
  }

  async time(count: number, perSecond: number): Promise<Timed> {
    return JSON.parse(await this.ssh('a', 'alice', `line time ${addresses.b} ${port} ${count} ${perSecond}`)) as Timed
  }

  async fill(from: Node, count: number, bytes: number, perSecond: number): Promise<Filled> {
    const to = from === 'a' ? 'b' : 'a'
    return JSON.parse(await this.ssh(from, 'alice', `line fill ${addresses[to]} ${port} ${count} ${bytes} ${perSecond}`)) as Filled
  }

  async snapshot(): Promise<void> {
    const before = (await this.slice.snapshots()).length
    await this.slice.action('violin_snapshot')
    await this.slice.waitFor('geni_ready', snapshotMs)
    if ((await this.slice.snapshots()).length !== before + 1) throw new Error('no snapshot was taken')
  }

  async rollback(): Promise<void> {
    await this.slice.action('violin_rollback')
    await this.slice.waitFor('geni_ready', snapshotMs)
  }

  async close(): Promise<void> {
    const { up } = this
    if (up && up.exitCode === null) {
      const ended = new Promise((done) => up.once('exit', done))
      up.kill('SIGTERM')
      await ended
    }
    for (const folder of [this.folder, this.files]) rmSync(folder, { recursive: true, force: true })
  }

  private keyOf(name: Person): string {
    return join(this.folder, `${name}.key`)
  }

  private async startUp(): Promise<string> {
    const log = join(this.folder, 'up.log')
    const words = ['--state', this.folder, '--listen', '127.0.0.1:0', '--hypervisor', 'qemu', '--sources', `file://${this.files}`]
    const up = spawn(process.execPath, [main, 'up', ...words], { stdio: ['ignore', 'pipe', openSync(log, 'a')] })
    this.up = up
    return new Promise((ready, fail) => {
      let said = ''
      up.once('exit', () => fail(new Error(`up ended: ${readFileSync(log, 'utf8').slice(-1_000)}`)))
      up.stdout!.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        const url = /^ready (\S+)$/m.exec(said)?.[1]
        if (url) ready(url)
      })
    })
  }
}
