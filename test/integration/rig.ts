// A switch process and VMs without agent and worker: what a test needs to look at one cut from close by.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import ssh2 from 'ssh2'
import { silentLog } from '../../base/log.js'
import { newSshKeys } from '../../base/ssh-key.js'
import { realClock as clock, until } from '../../base/time.js'
import { readImage, simulatedImage, type GuestImage } from '../../hosts/guest-image.js'
import { configDisk } from '../../hosts/config-disk.js'
import type { Hypervisor, Vm, VmInstance } from '../../hosts/hypervisor/hypervisor.js'
import { Qemu } from '../../hosts/hypervisor/qemu/qemu.js'
import { Simulated } from '../../hosts/hypervisor/simulated/simulated.js'
import { Layers } from '../../hosts/layers.js'
import { SwitchLink } from '../../hosts/switch-link.js'
import type { VmSpec } from '../../slices/vm-spec.js'

export const root = resolve(import.meta.dirname, '..', '..')
const imageFolder = join(root, 'build', 'image')

export type HypervisorKind = 'qemu' | 'simulated'

/** A driver of its own: two of them are two agents, one after the other. */
export const hypervisorOf = (kind: HypervisorKind): Hypervisor =>
  kind === 'qemu' ? new Qemu({ binary: 'qemu-system-x86_64', accelerator: 'tcg', version: 'under test', makeRoom: () => Promise.resolve() }, clock, silentLog) : new Simulated(clock)

export interface Login { run(command: string): Promise<string>; close(): void }

export class Rig {
  readonly folder = mkdtempSync(join(tmpdir(), 'vrig-'))
  readonly keys = newSshKeys()
  readonly tester = { name: 'tester', key: this.keys.private }
  readonly hypervisor: Hypervisor
  readonly layers: Layers
  readonly switchLink: SwitchLink
  private readonly kind: HypervisorKind
  private readonly vms: Vm[] = []
  private image: GuestImage | undefined
  private switchProcess: ChildProcess | undefined
  private sockets = 0

  constructor(kind: HypervisorKind = 'qemu') {
    this.hypervisor = hypervisorOf(kind)
    this.layers = new Layers(join(this.folder, 'layers'), this.hypervisor)
    this.kind = kind
    this.switchLink = new SwitchLink({
      path: join(this.folder, 'switch.sock'), clock, log: silentLog, onForwarded: () => undefined, onBack: () => Promise.resolve(),
    })
  }

  async open(): Promise<void> {
    if (this.kind === 'qemu') assert.ok(existsSync(join(imageFolder, 'image.json')), 'build the guest image first: images/build.sh build/image')
    this.image = this.kind === 'qemu' ? await readImage(imageFolder) : simulatedImage
    await this.layers.open()
    const config = { folder: join(this.folder, 'switch'), socket: join(this.folder, 'switch.sock'), logLevel: 'warn' }
    this.switchProcess = spawn(process.execPath, ['--import', 'tsx', join(root, 'hosts/switch/main.ts')], {
      cwd: root, env: { ...process.env, VIOLIN_CONFIG: JSON.stringify(config) }, stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    await new Promise((ready) => this.switchProcess!.once('message', ready))
    await this.switchLink.open()
  }

  instance(spec: VmSpec, run: string, layers: string[]): VmInstance {
    const at = join(this.folder, `${spec.vm}.${this.sockets++}`)
    const config = `${at}.config`
    writeFileSync(config, configDisk(spec))
    return {
      spec, run, layers, monitor: `${at}.qmp`, nicSockets: spec.nics.map((_, i) => `${at}.n${i}`), console: `${at}.console`, config,
      kernel: this.image!.kernel, initrd: this.image!.initrd, append: this.image!.append,
    }
  }

  async boot(spec: VmSpec, run: string): Promise<Vm> {
    const base = await this.layers.create(`${spec.vm}.${this.sockets}.qcow2`, { sizeMiB: spec.diskMiB })
    return this.keep(await this.hypervisor.boot(this.instance(spec, run, [base])))
  }

  keep(vm: Vm): Vm {
    this.vms.push(vm)
    return vm
  }

  /** A login on the VM's management port, once its SSH server answers. */
  async login(spec: VmSpec, as = this.tester): Promise<Login> {
    const client = await until(clock, 90_000, 200, () => this.connect(spec, as).catch(() => undefined))
    assert.ok(client, `${spec.clientId} does not answer on port ${spec.loginPort}`)
    return {
      run: (command) => new Promise((done, fail) => {
        client.exec(command, (error, stream) => {
          if (error) return fail(error)
          let out = ''
          stream.on('data', (chunk: Buffer) => { out += chunk.toString() })
          stream.stderr.resume()
          stream.on('close', () => done(out))
        })
      }),
      close: () => { client.end() },
    }
  }

  async close(): Promise<void> {
    for (const vm of this.vms) await vm.kill().catch(() => undefined)
    this.switchLink.close()
    const child = this.switchProcess
    if (child && child.exitCode === null) {
      const ended = new Promise((resolve_) => child.once('exit', resolve_))
      child.kill('SIGTERM')
      await ended
    }
    rmSync(this.folder, { recursive: true, force: true })
  }

  connect(spec: VmSpec, { name, key }: { name: string; key: string } = this.tester): Promise<ssh2.Client> {
    return new Promise((done, fail) => {
      const client = new ssh2.Client()
      client.once('ready', () => done(client)).once('error', fail)
      client.on('error', () => undefined)
      client.connect({ host: '127.0.0.1', port: spec.loginPort, username: name, privateKey: key, readyTimeout: 3_000 })
    })
  }
}

/** Something on a LAN that is no VM: it serves the socket that the switch connects to, as QEMU would. */
export class RawPort {
  readonly path: string
  private readonly server: Server
  private socket: Socket | undefined

  constructor(path: string) {
    this.path = path
    this.server = createServer((socket) => {
      this.socket = socket
      socket.on('data', () => undefined)
      socket.on('error', () => undefined)
    }).listen(path)
  }

  async connected(): Promise<void> {
    assert.ok(await until(clock, 5_000, 5, () => (this.socket ? true : undefined)), 'the switch does not connect')
  }

  /** Sends Ethernet frames in one write. */
  send(frames: Buffer[]): Promise<void> {
    const bytes = frames.flatMap((frame) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(frame.length)
      return [length, frame]
    })
    return new Promise((done) => this.socket!.write(Buffer.concat(bytes), () => done()))
  }

  close(): void {
    this.socket?.destroy()
    this.server.close()
  }
}

/** A UDP datagram in IPv4 in Ethernet. The UDP checksum is left out, which IPv4 allows. */
export function udpFrame(at: { from: { mac: string; ip: string }; to: { mac: string; ip: string }; port: number; payload: Buffer }): Buffer {
  const mac = (text: string) => Buffer.from(text.replaceAll(':', ''), 'hex')
  const ip = (text: string) => Buffer.from(text.split('.').map(Number))
  const udp = Buffer.alloc(8 + at.payload.length)
  udp.writeUInt16BE(40_000, 0)
  udp.writeUInt16BE(at.port, 2)
  udp.writeUInt16BE(udp.length, 4)
  at.payload.copy(udp, 8)
  const head = Buffer.alloc(20)
  head.writeUInt8(0x45, 0)
  head.writeUInt16BE(20 + udp.length, 2)
  head.writeUInt8(64, 8)
  head.writeUInt8(17, 9)
  ip(at.from.ip).copy(head, 12)
  ip(at.to.ip).copy(head, 16)
  let sum = 0
  for (let i = 0; i < 20; i += 2) sum += head.readUInt16BE(i)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  head.writeUInt16BE(~sum & 0xffff, 10)
  return Buffer.concat([mac(at.to.mac), mac(at.from.mac), Buffer.from([8, 0]), head, udp])
}
