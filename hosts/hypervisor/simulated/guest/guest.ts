// The simulated guest: a VM's inside as one object in memory, running the bank. It lets many VMs live in one process, with
// real frames between them and snapshots that matter, where QEMU would be too heavy. It is pure: time, frames and disk come
// by its world, so a simulation can replay it step by step.
import type { VmSpec } from '../../../../slices/vm-spec.js'
import { Bank, freshBank, type BankMemory } from './bank.js'
import { decodeCounter } from './disk-counter.js'
import { freshNetwork, Network, type NetworkMemory } from './network.js'
import { runScript, type Answer } from './shell.js'

/** All that a guest has of the world around it. */
export interface GuestWorld {
  /** Guest time, ms, monotonic; stands still while the VM stands, goes on from there in a restored one. */
  now(): number
  /** Sends an Ethernet frame out of NIC `nic` (index in spec.nics). */
  transmit(nic: number, frame: Buffer): void
  /** The data disk's one block, as last written; undefined when never written. Synchronous. */
  readDisk(): Buffer | undefined
  writeDisk(block: Buffer): void
}

/** All of the guest's RAM that matters; it survives JSON. */
export interface GuestMemory {
  /** What an administrator would find in /var/log; the last lines. */
  log: string[]
  network: NetworkMemory
  /** Absent until the bank is started. */
  bank?: BankMemory
}

const logLines = 100
const usage = 'usage: bank start|stop|go|report\n'
const diskUsage = 'usage: disk read|write TEXT (at most 400 bytes)\n'
const noteMagic = 'VIOLNOTE'
const noteBytes = 400

const good = (out = ''): Answer => ({ code: 0, out, err: '' })
const bad = (code: number, err: string): Answer => ({ code, out: '', err })

export class Guest {
  private readonly spec: VmSpec
  private readonly world: GuestWorld
  private readonly state: GuestMemory
  private readonly network: Network
  private bank: Bank | undefined

  /** Without memory: a boot, which runs what spec.execute asks for. With it: goes on where that memory was. */
  constructor(spec: VmSpec, world: GuestWorld, memory?: GuestMemory) {
    this.spec = spec
    this.world = world
    this.state = memory ? structuredClone(memory) : { log: [], network: freshNetwork() }
    this.network = new Network(spec.nics, world, this.state.network)
    if (this.state.bank) this.bank = this.openBank(this.state.bank)
    if (!memory) for (const [i, { command }] of spec.execute.entries()) this.execute(i, command)
  }

  /** A frame for NIC `nic`, of any bytes; what is not for us is ignored. */
  receive(nic: number, frame: Buffer): void {
    const datagram = this.network.receive(nic, frame)
    if (datagram) this.bank?.receive(datagram)
  }

  /** Does everything that is due by now. Called every few ms while the VM runs. */
  tick(): void {
    this.network.tick()
    this.bank?.tick()
  }

  /** When something is next due (guest ms); Infinity: not before a frame or a command comes. */
  nextDue(): number {
    return Math.min(this.network.nextDue(), this.bank?.nextDue() ?? Infinity)
  }

  /** What the management login answers to a command, or to several with `;`, `&&` or on lines of their own. */
  command(line: string): Answer {
    return runScript(line, (words) => this.run(words))
  }

  /** A copy, which later changes of the guest do not touch. */
  memory(): GuestMemory {
    return structuredClone(this.state)
  }

  private execute(index: number, script: string): void {
    const { code, out, err } = this.command(script)
    for (const line of `${out}${err}`.split('\n')) if (line) this.log(`execute ${index}: ${line}`)
    if (code !== 0) this.log(`execute ${index}: ended with ${code}`)
  }

  private log(line: string): void {
    this.state.log.push(line)
    if (this.state.log.length > logLines) this.state.log.shift()
  }

  private run([name = '', ...rest]: string[]): Answer {
    switch (name) {
      case 'true': return good()
      case 'hostname': return good(`${this.spec.clientId}\n`)
      case 'echo': return good(`${rest.join(' ')}\n`)
      case 'disk': return this.runDisk(rest)
      case 'bank': return rest.length === 1 ? this.runBank(rest[0]!) : bad(2, usage)
      default: return bad(127, `sh: ${name}: not found\n`)
    }
  }

  private runBank(word: string): Answer {
    if (word === 'start') return this.startBank()
    if (!['stop', 'go', 'report'].includes(word)) return bad(2, usage)
    if (!this.bank) return bad(1, 'bank: it is not running (nobody listens on /run/bank.sock): start it first\n')
    if (word === 'report') return good(`${this.bank.report()}\n`)
    if (word === 'stop') this.bank.stop()
    else this.bank.go()
    return good(word === 'stop' ? 'stopped\n' : 'going\n')
  }

  /** What is on the disk, for people: a real guest has files there. The block is the bank's as soon as that is started. */
  private runDisk([word = '', ...rest]: string[]): Answer {
    if (word === 'read' && rest.length === 0) return good(`${shownBlock(this.world.readDisk())}\n`)
    const note = Buffer.from(rest.join(' '))
    if (word !== 'write' || note.length === 0 || note.length > noteBytes) return bad(2, diskUsage)
    this.world.writeDisk(Buffer.concat([Buffer.from(noteMagic), note]))
    return good()
  }

  private startBank(): Answer {
    if (this.bank) return good('the bank is already running\n')
    const memory = freshBank(this.spec, this.world.now())
    if (!memory) return bad(1, 'bank: no address in /etc/violin/peers is bound to an interface of this machine\n')
    const bank = this.openBank(memory)
    try {
      bank.begin()
    } catch (error) {
      return bad(1, `bank: cannot write to the disk: ${error instanceof Error ? error.message : String(error)}\n`)
    }
    this.state.bank = memory
    this.bank = bank
    return good()
  }

  private openBank(memory: BankMemory): Bank {
    const { world, network } = this
    return new Bank(memory, {
      network, now: () => world.now(), readDisk: () => world.readDisk(), writeDisk: (block) => world.writeDisk(block),
    })
  }
}

function shownBlock(block: Buffer | undefined): string {
  if (block?.toString('latin1', 0, noteMagic.length) === noteMagic) {
    return block.toString('utf8', noteMagic.length).replace(/\0+$/, '') // a disk that came from elsewhere is a whole block
  }
  const counter = decodeCounter(block)
  return block === undefined ? 'nothing' : counter < 0 ? 'nothing that can be read' : `the counter of a bank: ${counter}`
}
