// The SSH server of a simulated guest: the logins and keys of its specification, one command or a plain prompt. What a
// command does is the guest's affair.
import { timingSafeEqual } from 'node:crypto'
import ssh2, { type AuthContext, type ParsedKey, type ServerChannel } from 'ssh2'
import { Failure } from '../../../base/errors.js'
import type { Login } from '../../../rspec/topology.js'

export interface LoginServer {
  listen(port: number): Promise<void>
  /** From now on these may log in, and nobody else. */
  allow(logins: Login[]): void
}
type Run = (line: string) => { code: number; out: string; err: string }

export function makeLoginServer(at: { hostKey: string; logins: Login[]; hostName: string; run: Run }): LoginServer {
  const keysOf = (logins: Login[]): Keys => new Map(logins.map((login) => [login.name, parsed(login.keys)]))
  let keys = keysOf(at.logins)
  const server = new ssh2.Server({ hostKeys: [at.hostKey] }, (client) => {
    client.on('error', () => undefined) // a client that broke off
    client.on('authentication', (context) => {
      if (isAllowed(context, keys)) context.accept()
      else context.reject(['publickey'])
    })
    client.on('ready', () => client.on('session', (accept) => {
      const session = accept()
      session.on('pty', (ok) => { ok() })
      session.on('exec', (ok, _no, { command }) => once(ok(), at.run(command)))
      session.on('shell', (ok) => { prompt(ok(), at.hostName, at.run) })
    }))
  })
  return {
    allow: (logins) => { keys = keysOf(logins) },
    listen: (port) => new Promise((resolve, reject) => {
      server.once('error', (cause: Error) => reject(new Failure('failed', `port ${port} cannot be opened for logins`, { cause })))
      server.listen(port, '127.0.0.1', () => resolve())
    }),
  }
}

type Keys = Map<string, ParsedKey[]>

/** A key that cannot be read lets nobody in. */
const parsed = (keys: string[]): ParsedKey[] => keys.map((k) => ssh2.utils.parseKey(k)).filter((k): k is ParsedKey => !(k instanceof Error))

function isAllowed(context: AuthContext, keys: Keys): boolean {
  if (context.method !== 'publickey') return false
  const { key, signature, blob, hashAlgo } = context
  const known = keys.get(context.username)?.find((k) => {
    const data = k.getPublicSSH()
    return data.length === key.data.length && timingSafeEqual(data, key.data)
  })
  if (!known) return false
  return signature === undefined || blob === undefined || known.verify(blob, signature, hashAlgo) // without one it only asks whether the key would do
}

function once(channel: ServerChannel, { code, out, err }: ReturnType<Run>): void {
  if (out !== '') channel.write(out)
  if (err !== '') channel.stderr.write(err)
  channel.exit(code)
  channel.end()
}

function prompt(channel: ServerChannel, hostName: string, run: Run): void {
  const ask = () => channel.write(`${hostName}# `)
  let rest = ''
  channel.on('data', (chunk: Buffer) => {
    channel.write(chunk.toString().replaceAll('\r', '\r\n'))
    rest += chunk.toString()
    for (let end = rest.search(/[\r\n]/); end >= 0; end = rest.search(/[\r\n]/)) {
      const line = rest.slice(0, end).trim()
      rest = rest.slice(end + 1)
      if (line === 'exit' || line === 'logout') {
        once(channel, { code: 0, out: '', err: '' })
        return
      }
      const { out, err } = line === '' ? { out: '', err: '' } : run(line)
      channel.write((out + err).replaceAll('\n', '\r\n'))
      ask()
    }
    if (rest.includes('\u0004')) once(channel, { code: 0, out: '', err: '' }) // Ctrl-D
  })
  ask()
}
