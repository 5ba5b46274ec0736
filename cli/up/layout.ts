// Where an aggregate keeps what. The state folder is what must last; the run folder holds sockets and is short, since the
// path of a unix socket ends at 107 bytes.
import { createHash } from 'node:crypto'
import { accessSync, chmodSync, constants, lstatSync, mkdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Failure } from '../../base/errors.js'

export interface Layout {
  state: string
  run: string
  lock: string
  /** One line: where the aggregate serves. There while it does. */
  url: string
  federation: string
  redis: string
  store: string
  host: string
  /** Where the operator puts disk images, unless told otherwise. */
  images: string
  switch: string
  log: string
  redisSocket: string
  switchSocket: string
  switchPid: string
  agentSocket: string
  agentPid: string
}

export function layoutOf(stateFolder: string): Layout {
  const state = resolve(stateFolder)
  const run = join(tmpdir(), `violin-${process.getuid?.() ?? 0}-${createHash('sha256').update(state).digest('hex').slice(0, 10)}`)
  return {
    state, run,
    lock: join(state, 'lock'), url: join(state, 'url'), federation: join(state, 'federation'), redis: join(state, 'redis'), store: join(state, 'snapshots'),
    host: join(state, 'host'), images: join(state, 'images.d'), switch: join(state, 'switch'), log: join(state, 'log'),
    redisSocket: join(run, 'redis.sock'), switchSocket: join(run, 'switch.sock'), switchPid: join(run, 'switch.pid'),
    agentSocket: join(run, 'agent.sock'), agentPid: join(run, 'agent.pid'),
  }
}

/** Before anything is known of it: only the folder itself, so that its lock can be taken. */
export function makeStateFolder(at: Layout): void {
  try {
    mkdirSync(at.state, { recursive: true, mode: 0o700 })
    accessSync(at.state, constants.R_OK | constants.W_OK | constants.X_OK)
    if (!statSync(at.state).isDirectory()) throw new Error('it is not a folder')
  } catch (cause) {
    const advice = 'give it to the user that runs `up`, or choose another with --state'
    throw new Failure('failed', `the state folder ${at.state} cannot be used: ${advice}`, { cause })
  }
}

export function makeFolders(at: Layout): void {
  for (const folder of [at.redis, at.store, at.host, at.images, at.switch, at.log]) mkdirSync(folder, { recursive: true, mode: 0o700 })
  mkdirSync(at.run, { recursive: true, mode: 0o700 })
  const { uid, mode } = lstatSync(at.run)
  if (uid !== process.getuid?.()) throw new Failure('failed', `${at.run} belongs to another user: remove it`)
  if ((mode & 0o077) !== 0) chmodSync(at.run, 0o700)
}
