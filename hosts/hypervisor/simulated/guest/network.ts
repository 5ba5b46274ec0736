// The network of a simulated guest: finds the MAC of an address by ARP, sends and receives UDP. Its cache and what waits
// for an answer are the guest's memory, so a restored guest goes on with the answers that its old self had asked for.
import type { NicSpec } from '../../../../slices/vm-spec.js'
import { broadcastMac, decodeArp, decodeFrame, encodeArp, encodeFrame, etherTypes, noMac, sameNetwork } from './ethernet.js'
import { decodeUdp, encodeUdp, type Datagram } from './udp.js'

export interface NetworkMemory {
  /** Of the last IPv4 packet sent. */
  ident: number
  arp: { ip: string; mac: string }[]
  /** Addresses that were asked for, with the packets (base64) that wait for the answer. */
  asked: { nic: number; ip: string; tries: number; next: number; packets: string[] }[]
}

export interface NetworkWorld {
  now(): number
  transmit(nic: number, frame: Buffer): void
}

const cacheBound = 256
const pendingBound = 16
const arpEveryMs = 1_000
const arpTries = 3

/** A network that has heard of nobody. */
export const freshNetwork = (): NetworkMemory => ({ ident: 0, arp: [], asked: [] })

export class Network {
  private readonly nics: NicSpec[]
  private readonly world: NetworkWorld
  private readonly memory: NetworkMemory

  constructor(nics: NicSpec[], world: NetworkWorld, memory: NetworkMemory) {
    this.nics = nics.map((nic) => ({ ...nic, mac: nic.mac.toLowerCase() }))
    this.world = world
    this.memory = memory
  }

  /** False: nothing was sent, for there is no way there or too much waits for the answer of ARP already. */
  send(datagram: Datagram): boolean {
    const nic = this.nics.findIndex((n) => sameNetwork(n.ip, datagram.to, n.prefixLength))
    if (nic < 0) return false
    const known = this.memory.arp.find((entry) => entry.ip === datagram.to)
    if (!known) return this.wait(nic, datagram)
    this.transmit(nic, known.mac, etherTypes.ipv4, this.packet(datagram))
    return true
  }

  /** The datagram that was in the frame, if it is one for us. ARP is answered here. */
  receive(nic: number, bytes: Buffer): Datagram | undefined {
    const own = this.nics[nic]
    const frame = decodeFrame(bytes)
    if (!own || !frame || (frame.to !== own.mac && frame.to !== broadcastMac)) return undefined
    if (frame.type === etherTypes.arp) this.receiveArp(nic, own, frame.payload)
    if (frame.type !== etherTypes.ipv4) return undefined
    const datagram = decodeUdp(frame.payload)
    return datagram?.to === own.ip ? datagram : undefined
  }

  /** Asks again for what was not answered; after three times the packets are dropped, as a kernel drops them. */
  tick(): void {
    const now = this.world.now()
    this.memory.asked = this.memory.asked.filter((asked) => asked.next > now || asked.tries < arpTries)
    for (const asked of [...this.memory.asked]) if (asked.next <= now) this.ask(asked)
  }

  nextDue(): number {
    return this.memory.asked.reduce((least, asked) => Math.min(least, asked.next), Infinity)
  }

  private wait(nic: number, datagram: Datagram): boolean {
    let asked = this.memory.asked.find((a) => a.ip === datagram.to)
    if (asked && asked.packets.length >= pendingBound) return false
    if (!asked) this.memory.asked.push(asked = { nic, ip: datagram.to, tries: 0, next: this.world.now(), packets: [] })
    asked.packets.push(this.packet(datagram).toString('base64'))
    if (asked.tries === 0) this.ask(asked)
    return true
  }

  private ask(asked: NetworkMemory['asked'][number]): void {
    asked.tries++
    asked.next = this.world.now() + arpEveryMs
    const own = this.nics[asked.nic]!
    const arp = { reply: false, senderMac: own.mac, senderIp: own.ip, targetMac: noMac, targetIp: asked.ip }
    this.transmit(asked.nic, broadcastMac, etherTypes.arp, encodeArp(arp))
  }

  private receiveArp(nic: number, own: NicSpec, payload: Buffer): void {
    const arp = decodeArp(payload)
    if (!arp || arp.senderIp === own.ip || !sameNetwork(arp.senderIp, own.ip, own.prefixLength)) return
    const forUs = arp.targetIp === own.ip
    this.learn(arp.senderIp, arp.senderMac, forUs)
    if (!forUs || arp.reply) return
    const answer = { reply: true, senderMac: own.mac, senderIp: own.ip, targetMac: arp.senderMac, targetIp: arp.senderIp }
    this.transmit(nic, arp.senderMac, etherTypes.arp, encodeArp(answer))
  }

  /** Who speaks to us is entered; who speaks to others only changes what we know already. */
  private learn(ip: string, mac: string, enter: boolean): void {
    const known = this.memory.arp.find((entry) => entry.ip === ip)
    if (known) known.mac = mac
    else if (enter) this.memory.arp.push({ ip, mac })
    else return
    if (this.memory.arp.length > cacheBound) this.memory.arp.shift()
    const answered = this.memory.asked.filter((asked) => asked.ip === ip)
    this.memory.asked = this.memory.asked.filter((asked) => asked.ip !== ip)
    for (const { nic, packets } of answered) {
      for (const packet of packets) this.transmit(nic, mac, etherTypes.ipv4, Buffer.from(packet, 'base64'))
    }
  }

  private packet(datagram: Datagram): Buffer {
    this.memory.ident = (this.memory.ident + 1) & 0xffff
    return encodeUdp(datagram, this.memory.ident)
  }

  private transmit(nic: number, to: string, type: number, payload: Buffer): void {
    this.world.transmit(nic, encodeFrame({ to, from: this.nics[nic]!.mac, type, payload }))
  }
}
