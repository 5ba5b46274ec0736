// One <node> of a request: its virtual machine, its commands, its interfaces.
import { readSource } from '../base/source.js'
import { formatNetmask, isHostAddress, parseIpv4, parseNetmask, type Address, type Addressed } from './address.js'
import { readCount, readDuration } from './checkpoint.js'
import { formatDuration } from './duration.js'
import { defaultSliverType, rspecNs, sliverTypes, violinNs } from './names.js'
import { readImage, type ImageOptions, type RequestDisk } from './request-image.js'
import { checkChildren, readClientId, refuse } from './request-parts.js'
import { attribute, childrenOf, type XmlElement } from './xml.js'
import type { ExecuteService, InstallService, Node } from './topology.js'

/** A node before its addresses are assigned: `interfaces` is filled from `requested`. */
export interface RequestedNode extends Node { element: XmlElement; requested: Addressed[] }

/** Size of a VM when the request does not say; [default, smallest, largest]. */
const sizes = { memory_mib: [128, 64, 65_536], cpus: [1, 1, 16], disk_mib: [64, 16, 1_048_576] } as const
/** Less is not to be told from a guest that is slow for a moment; more, from no watchdog. */
const watchdogs = { leastMs: 5_000, mostMs: 3_600_000 }
const standardPrefix = 24
const longestCommand = 16_384
const mostInstalls = 8
const archiveForm = /\.(tar|tgz|tar\.gz)$/
const archiveTypes = ['tar', 'tgz', 'tar.gz']
/** The guest has busybox's shell, and bash scripts break in it in ways that nobody sees. */
const shells = ['sh', '/bin/sh']
const hostName = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/

export function readNode(node: XmlElement, options: ImageOptions, maxInterfaces: number): RequestedNode {
  const clientId = readClientId(node)
  if (!hostName.test(clientId)) throw refuse(node, 'has a client_id that cannot be a host name (letters, digits, . _ -, at most 63)')
  checkChildren(node, ['sliver_type', 'services', 'interface', 'hardware_type', 'location', 'host'], ['relation'])
  const exclusive = attribute(node, 'exclusive')?.trim()
  if (exclusive === 'true' || exclusive === '1') {
    throw refuse(node, 'asks for exclusive="true"; only virtual machines on shared hosts are offered', 'unsupported')
  }
  for (const hardware of childrenOf(node, rspecNs, 'hardware_type')) {
    if (attribute(hardware, 'name') !== 'pcvm') throw refuse(node, 'asks for a hardware_type other than "pcvm"', 'unsupported')
  }
  const interfaces = childrenOf(node, rspecNs, 'interface')
  if (interfaces.length > maxInterfaces) throw refuse(node, `has ${interfaces.length} interfaces; at most ${maxInterfaces} are possible`, 'unsupported')
  const componentId = attribute(node, 'component_id')
  return {
    element: node, clientId, ...readSliverType(node, options), ...readInstalls(node, options), execute: readExecute(node), interfaces: [],
    requested: interfaces.map(readInterface), ...componentId ? { componentId } : {},
  }
}

function readSliverType(node: XmlElement, options: ImageOptions) {
  const [type, second] = childrenOf(node, rspecNs, 'sliver_type')
  if (second) throw refuse(node, 'has more than one sliver_type')
  if (!type) return { sliverType: defaultSliverType, image: options.defaultImage, ...readSize() }
  checkChildren(type, ['disk_image'], [])
  const sliverType = attribute(type, 'name') ?? ''
  if (!sliverTypes.some((known) => known === sliverType)) {
    throw refuse(node, `asks for the sliver_type "${sliverType.slice(0, 64)}"; there are: ${sliverTypes.join(', ')}`, 'unsupported')
  }
  const [vm, twin] = childrenOf(type, violinNs, 'vm')
  if (twin) throw refuse(node, 'has more than one size of its virtual machine')
  const wanted = readImage(node, type, options)
  const size = readSize(vm, 'disk' in wanted ? wanted.disk : undefined)
  const disk = 'disk' in wanted ? { disk: wanted.disk.name } : 'from' in wanted ? { diskFrom: wanted.from } : {}
  return { sliverType, image: wanted.guest, ...disk, ...size, ...readWatchdog(vm) }
}

function readWatchdog(vm?: XmlElement): { watchdogMs?: number } {
  const ms = vm ? readDuration(vm, 'watchdog') : undefined
  if (vm === undefined || ms === undefined) return {}
  const { leastMs, mostMs } = watchdogs
  if (ms >= leastMs && ms <= mostMs) return { watchdogMs: ms }
  throw refuse(vm, `has watchdog="${attribute(vm, 'watchdog')!.slice(0, 40)}"; it must be from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}`)
}

/** With a disk image the disk is as large as that, or larger. */
function readSize(vm?: XmlElement, image?: RequestDisk) {
  const read = (name: keyof typeof sizes) => {
    const [standard, least, most] = name === 'disk_mib' && image ? [image.diskMiB, image.diskMiB, sizes.disk_mib[2]] as const : sizes[name]
    const value = vm ? readCount(vm, name) ?? standard : standard
    if (vm && (value < least || value > most)) throw refuse(vm, `has ${name}="${value}"; it must be from ${least} to ${most}`)
    return value
  }
  return { memoryMiB: read('memory_mib'), cpus: read('cpus'), diskMiB: read('disk_mib') }
}

function readInstalls(node: XmlElement, { sources = [] }: ImageOptions): { install?: InstallService[] } {
  const elements = childrenOf(node, rspecNs, 'services').flatMap((services) => childrenOf(services, rspecNs, 'install'))
  if (elements.length > mostInstalls) throw refuse(node, `has ${elements.length} archives to install; at most ${mostInstalls} are possible`, 'unsupported')
  const install = elements.map((element): InstallService => {
    const url = attribute(element, 'url')?.trim() ?? ''
    const path = attribute(element, 'install_path')?.trim() ?? ''
    if (!/^\/[\x21-\x7e]{0,200}$/.test(path)) throw refuse(element, `has install_path="${path.slice(0, 40)}"; it must be an absolute path`)
    const source = readSource(url, sources)
    if (typeof source === 'string') throw refuse(element, `is of "${url.slice(0, 200)}", ${source}`, 'unsupported')
    const type = attribute(element, 'file_type')
    if (type === undefined ? !archiveForm.test(new URL(source.url).pathname) : !archiveTypes.includes(type)) {
      throw refuse(element, `is of "${url.slice(0, 200)}"; only archives are installed: ${archiveTypes.join(', ')}`, 'unsupported')
    }
    return { ...source, path }
  })
  return install.length === 0 ? {} : { install }
}

function readExecute(node: XmlElement): ExecuteService[] {
  return childrenOf(node, rspecNs, 'services').flatMap((services) => {
    checkChildren(services, ['execute', 'install', 'login'], [])
    return childrenOf(services, rspecNs, 'execute').map((execute) => {
      const shell = attribute(execute, 'shell') ?? 'sh'
      const command = attribute(execute, 'command') ?? ''
      if (!shells.includes(shell)) throw refuse(node, `has an <execute> for the shell "${shell.slice(0, 40)}"; only "sh" is supported`, 'unsupported')
      if (command.trim() === '') throw refuse(node, 'has an <execute> without command')
      if (command.length > longestCommand) throw refuse(node, `has an <execute> whose command is longer than ${longestCommand} characters`)
      return { shell: 'sh', command }
    })
  })
}

function readInterface(element: XmlElement): Addressed {
  const clientId = readClientId(element)
  checkChildren(element, ['ip'], [])
  const [ip, second] = childrenOf(element, rspecNs, 'ip')
  if (second) throw refuse(element, 'has more than one <ip>', 'unsupported')
  return ip ? { clientId, address: readAddress(element, ip) } : { clientId }
}

function readAddress(element: XmlElement, ip: XmlElement): Address {
  const type = attribute(ip, 'type') ?? 'ipv4'
  if (type.toLowerCase() !== 'ipv4') throw refuse(element, `has an <ip> of type "${type.slice(0, 40)}"; only ipv4 is supported`, 'unsupported')
  const text = attribute(ip, 'address')?.trim() ?? ''
  const address = parseIpv4(text)
  if (address === undefined) throw refuse(element, `has "${text.slice(0, 40)}" for an IPv4 address`)
  const mask = attribute(ip, 'netmask')?.trim() ?? formatNetmask(standardPrefix)
  const prefixLength = parseNetmask(mask)
  if (prefixLength === undefined || prefixLength < 8 || prefixLength > 30) {
    throw refuse(element, `has "${mask.slice(0, 40)}" for a netmask; it must be from 255.0.0.0 to 255.255.255.252`)
  }
  if (!isHostAddress(address, prefixLength)) throw refuse(element, `has the address ${text}, which no host can have with the netmask ${mask}`)
  return { ip: text, prefixLength }
}
