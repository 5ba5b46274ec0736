// IPv4 addresses of the slice's LANs: those that the request gives, checked, and those that we choose.
import { Refusal } from '../base/errors.js'

export interface Address { ip: string; prefixLength: number }

/** An interface as requested; `address` is filled in for those that had none. */
export interface Addressed { clientId: string; address?: Address }

/** The number of an IPv4 address in dotted form; undefined when the text is none. */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return undefined
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0)
}

export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')
}

/** The length of a netmask; undefined when its ones are not all in front. */
export function parseNetmask(text: string): number | undefined {
  const mask = parseIpv4(text)
  for (let length = 0; length <= 32; length++) if (mask === numberOfMask(length)) return length
  return undefined
}

export function formatNetmask(prefixLength: number): string {
  return formatIpv4(numberOfMask(prefixLength))
}

/** Can a host on a LAN have this address? Not the network's own, not the broadcast address, nothing reserved. */
export function isHostAddress(ip: number, prefixLength: number): boolean {
  const host = ip % 2 ** (32 - prefixLength)
  const first = Math.floor(ip / 2 ** 24)
  return host !== 0 && host !== 2 ** (32 - prefixLength) - 1 && first > 0 && first !== 127 && first < 224
}

/**
 * Gives every interface without address one: in the network that others on its LAN have, else in 10.N.1.0/24, N being
 * the LAN's number in the request or the next that meets no given network and no taken one. The same request always gets the same.
 */
export function assignAddresses(lans: { clientId: string; interfaces: Addressed[] }[], elsewhere: readonly Address[] = []): void {
  const given = [...elsewhere, ...lans.flatMap((lan) => lan.interfaces.flatMap(({ address }) => (address ? [address] : [])))]
  const taken = new Set<number>()
  lans.forEach((lan, i) => {
    const missing = lan.interfaces.filter((one) => !one.address)
    const known = lan.interfaces.find((one) => one.address)?.address
    if (missing.length > 0) fill(lan, missing, known ? networkOf(known) : freeNetwork(i + 1, given, taken), elsewhere)
  })
}

export interface Network { base: number; prefixLength: number }

function fill(lan: { clientId: string; interfaces: Addressed[] }, missing: Addressed[], network: Network, elsewhere: readonly Address[]): void {
  const used = new Set([...lan.interfaces.map((one) => one.address?.ip), ...elsewhere.map(({ ip }) => ip)])
  const last = 2 ** (32 - network.prefixLength) - 2
  let host = 1
  for (const one of missing) {
    while (host <= last && used.has(formatIpv4(network.base + host))) host++
    if (host > last) throw new Refusal('bad-arguments', `link "${lan.clientId}" has more interfaces than its network has addresses`)
    one.address = { ip: formatIpv4(network.base + host++), prefixLength: network.prefixLength }
  }
}

/** The network that an address is in. */
export function networkOf({ ip, prefixLength }: Address): Network {
  const size = 2 ** (32 - prefixLength)
  return { base: Math.floor(parseIpv4(ip)! / size) * size, prefixLength }
}

function freeNetwork(from: number, given: Address[], taken: Set<number>): Network {
  for (let tried = 0; tried < 254; tried++) {
    const n = (from - 1 + tried) % 254 + 1
    const network = { base: ((10 * 256 + n) * 256 + 1) * 256, prefixLength: 24 }
    if (taken.has(n) || given.some((address) => overlap(network, networkOf(address)))) continue
    taken.add(n)
    return network
  }
  throw new Refusal('bad-arguments', 'the request has more LANs than there are networks to give them; give addresses in it')
}

export function overlap(a: Network, b: Network): boolean {
  const size = 2 ** (32 - Math.min(a.prefixLength, b.prefixLength))
  return Math.floor(a.base / size) === Math.floor(b.base / size)
}

function numberOfMask(prefixLength: number): number {
  return 2 ** 32 - 2 ** (32 - prefixLength)
}
