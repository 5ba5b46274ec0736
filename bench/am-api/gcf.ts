// The reference AM of geni-tools, started with our certificates, so that one client with one credential measures both.
import { spawn, type ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import { realClock as clock, until } from '../../base/time.js'
import type { Federation } from '../../certs/issue.js'

export interface Gcf { port: number; stop(): Promise<void> }

/** `standIns`: a folder of Python modules in place of those that Python 2.7 no longer gets; used where it exists. */
export interface GcfOptions { tools: string; python2: string; folder: string; port: number; federation: Federation; standIns: string }

export async function startGcf(options: GcfOptions): Promise<Gcf> {
  const { tools, folder, port, federation } = options
  mkdirSync(join(folder, 'roots'), { recursive: true })
  // it wants each authority that has issued something among its roots
  for (const [name, file] of [['root', federation.trust], ['sa', federation.sa.certificate], ['ma', federation.ma.certificate]] as const) {
    cpSync(file, join(folder, 'roots', `${name}.pem`))
  }
  writeFileSync(join(folder, 'gcf_config'), `[global]
base_name=bench
rootcadir=${join(folder, 'roots')}
[clearinghouse]
host=127.0.0.1
port=1
keyfile=${federation.am.key}
certfile=${federation.am.certificate}
[aggregate_manager]
name=am1
host=127.0.0.1
port=${port}
keyfile=${federation.am.key}
certfile=${federation.am.certificate}
`)
  const log = openSync(join(folder, 'gcf.log'), 'a')
  const path = [resolve(tools, 'src'), process.env['PYTHONPATH'], ...existsSync(options.standIns) ? [options.standIns] : []]
    .filter((p) => p !== undefined).join(':')
  const am = spawn(options.python2, [resolve(tools, 'src', 'gcf-am.py'), '-c', 'gcf_config', '-V', '3', '-H', '127.0.0.1', '-p', String(port)], {
    cwd: folder, env: { ...process.env, PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: '1' }, stdio: ['ignore', log, log],
  })
  const ended = new Promise<void>((gone) => { am.once('exit', () => gone()).once('error', () => gone()) })
  const up = await until(clock, 30_000, 100, () => (am.exitCode !== null ? false : listens(port)))
  if (up !== true) {
    am.kill('SIGTERM')
    throw new Error(`the reference AM does not come up: see ${join(folder, 'gcf.log')}`)
  }
  return { port, stop: () => stop(am, ended) }
}

async function stop(am: ChildProcess, ended: Promise<void>): Promise<void> {
  am.kill('SIGKILL') // it has nothing to save, and a thread that does not hear SIGTERM
  await ended
}

function listens(port: number): Promise<true | undefined> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); done(true) }).once('error', () => done(undefined))
  })
}
