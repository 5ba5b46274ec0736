// Ethernet frames and ARP as bytes: what a simulated guest sends goes through the real switch and into real captures, so it
// must look like what a real one sends. Nothing that comes in is trusted to be whole.

export interface EthernetFrame { to: string; from: string; type: number; payload: Buffer }

export interface ArpPacket {
  reply: boolean
  senderMac: string
  senderIp: string
  targetMac: string
  targetIp: string
}

export const etherTypes = { ipv4: 0x0800, arp: 0x0806 } as const
export const broadcastMac = 'ff:ff:ff:ff:ff:ff'
export const noMac = '00:00:00:00:00:00'

const headerBytes = 14
/** Without the checksum, which no virtual wire carries. */
const leastFrame = 60
const arpBytes = 28
/** Ethernet, IPv4, addresses of 6 and 4 bytes. */
const arpHead = Buffer.from([0, 1, 8, 0, 6, 4])

const macBytes = (mac: string) => Buffer.from(mac.replaceAll(':', ''), 'hex')
const macText = (bytes: Buffer, at: number) => bytes.toString('hex', at, at + 6).replace(/..(?!$)/g, '$&:')

/** An IPv4 address as a number, so that addresses can be sorted and masked. */
export const ipNumber = (ip: string): number => ip.split('.').reduce((n, part) => n * 256 + Number(part), 0)

export const ipText = (bytes: Buffer, at: number): string => bytes.subarray(at, at + 4).join('.')

/** Whether two addresses share their first `prefixLength` bits. */
export function sameNetwork(a: string, b: string, prefixLength: number): boolean {
  const size = 2 ** (32 - prefixLength)
  return Math.floor(ipNumber(a) / size) === Math.floor(ipNumber(b) / size)
}

/** The bytes of a frame, padded to the least length of Ethernet. */
export function encodeFrame({ to, from, type, payload }: EthernetFrame): Buffer {
  const frame = Buffer.alloc(Math.max(leastFrame, headerBytes + payload.length))
  macBytes(to).copy(frame, 0)
  macBytes(from).copy(frame, 6)
  frame.writeUInt16BE(type, 12)
  payload.copy(frame, headerBytes)
  return frame
}

/** Undefined when it is too short to be a frame. The payload may end with padding. */
export function decodeFrame(frame: Buffer): EthernetFrame | undefined {
  if (frame.length < headerBytes) return undefined
  return { to: macText(frame, 0), from: macText(frame, 6), type: frame.readUInt16BE(12), payload: frame.subarray(headerBytes) }
}

/** The payload of an ARP frame. */
export function encodeArp(arp: ArpPacket): Buffer {
  const packet = Buffer.alloc(arpBytes)
  arpHead.copy(packet)
  packet.writeUInt16BE(arp.reply ? 2 : 1, 6)
  macBytes(arp.senderMac).copy(packet, 8)
  packet.writeUInt32BE(ipNumber(arp.senderIp), 14)
  macBytes(arp.targetMac).copy(packet, 18)
  packet.writeUInt32BE(ipNumber(arp.targetIp), 24)
  return packet
}

/** Undefined when it is no request or reply of IPv4 on Ethernet. */
export function decodeArp(packet: Buffer): ArpPacket | undefined {
  if (packet.length < arpBytes || !packet.subarray(0, arpHead.length).equals(arpHead)) return undefined
  const operation = packet.readUInt16BE(6)
  if (operation !== 1 && operation !== 2) return undefined
  return {
    reply: operation === 2, senderMac: macText(packet, 8), senderIp: ipText(packet, 14),
    targetMac: macText(packet, 18), targetIp: ipText(packet, 24),
  }
}
