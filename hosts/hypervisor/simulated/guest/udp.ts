// UDP in IPv4 as bytes, checksums right. A datagram that is damaged is dropped here, as a kernel would: so the bank sees a
// loss, which it can name, and never a wrong number, which it would take for a message that nobody sent.
import { ipNumber, ipText } from './ethernet.js'

export interface Datagram { from: string; to: string; fromPort: number; toPort: number; payload: Buffer }

const ipHeader = 20
const udpHeader = 8
const protocolUdp = 17
const timeToLive = 64
const dontFragment = 0x4000

/** The one's complement sum over big-endian words, inverted; 0 over bytes that contain their own checksum. */
export function internetChecksum(bytes: Buffer, start = 0): number {
  let sum = start
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += bytes.readUInt16BE(i)
  if (bytes.length % 2 === 1) sum += bytes[bytes.length - 1]! << 8
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return ~sum & 0xffff
}

/** What the checksum of UDP covers beside the segment: both addresses, the protocol and the length. */
function pseudoHeaderSum(packet: Buffer, length: number): number {
  let sum = protocolUdp + length
  for (let at = 12; at < ipHeader; at += 2) sum += packet.readUInt16BE(at)
  return sum
}

/** The bytes of an IPv4 packet; `ident` numbers the packets of a sender. */
export function encodeUdp(datagram: Datagram, ident: number): Buffer {
  const length = udpHeader + datagram.payload.length
  const packet = Buffer.alloc(ipHeader + length)
  packet[0] = 0x45
  packet.writeUInt16BE(packet.length, 2)
  packet.writeUInt16BE(ident & 0xffff, 4)
  packet.writeUInt16BE(dontFragment, 6)
  packet[8] = timeToLive
  packet[9] = protocolUdp
  packet.writeUInt32BE(ipNumber(datagram.from), 12)
  packet.writeUInt32BE(ipNumber(datagram.to), 16)
  packet.writeUInt16BE(internetChecksum(packet.subarray(0, ipHeader)), 10)
  packet.writeUInt16BE(datagram.fromPort, ipHeader)
  packet.writeUInt16BE(datagram.toPort, ipHeader + 2)
  packet.writeUInt16BE(length, ipHeader + 4)
  datagram.payload.copy(packet, ipHeader + udpHeader)
  // On the wire 0 means "no checksum", so a sum of 0 is sent as its other form.
  packet.writeUInt16BE(internetChecksum(packet.subarray(ipHeader), pseudoHeaderSum(packet, length)) || 0xffff, ipHeader + 6)
  return packet
}

/** Undefined when it is anything but one whole datagram: damaged, a fragment, another protocol, or cut short. */
export function decodeUdp(packet: Buffer): Datagram | undefined {
  if (packet.length < ipHeader + udpHeader || packet[0]! >> 4 !== 4) return undefined
  const header = (packet[0]! & 15) * 4
  const total = packet.readUInt16BE(2)
  if (header < ipHeader || total < header + udpHeader || total > packet.length) return undefined
  if (internetChecksum(packet.subarray(0, header)) !== 0) return undefined
  if (packet[9] !== protocolUdp || (packet.readUInt16BE(6) & ~dontFragment) !== 0) return undefined
  const length = packet.readUInt16BE(header + 4)
  if (length < udpHeader || header + length > total) return undefined
  const segment = packet.subarray(header, header + length)
  if (segment.readUInt16BE(6) !== 0 && internetChecksum(segment, pseudoHeaderSum(packet, length)) !== 0) return undefined
  return {
    from: ipText(packet, 12), to: ipText(packet, 16), fromPort: segment.readUInt16BE(0), toPort: segment.readUInt16BE(2),
    payload: segment.subarray(udpHeader),
  }
}
