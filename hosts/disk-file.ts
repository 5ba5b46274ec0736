// A disk image that somebody else has made, before any other program sees it: is it what its name says, does it stand for itself, is
// it of a size that can be meant? What QEMU would open besides (a backing file, a data file) its header only names, and so could
// name any file of this host; what QEMU would take it for by looking into it, whoever wrote it could choose. Neither is left to it.
import { open, type FileHandle } from 'node:fs/promises'
import { Failure } from '../base/errors.js'
import type { DiskFormat } from '../base/source.js'

/** A file that has been looked at, and that nobody changes any more. */
export interface DiskFile { path: string; format: DiskFormat; diskMiB: number }

/** As large as a request may ask for a disk to be. */
const mostDiskMiB = 1_048_576
const mebi = 1024 * 1024
/** Of a qcow2 file that is looked at: its header and extensions are in the first cluster, and 64 KiB is what everybody makes that. */
const headBytes = 64 * 1024

const qcow2Magic = Buffer.from('QFI\xfb', 'latin1')
/** What is surely no raw disk: its first bytes, and where it is not at the begin, the place. */
const others: [what: string, magic: Buffer, at: number][] = [
  ['VMDK', Buffer.from('KDMV'), 0], ['VMDK', Buffer.from('# Disk DescriptorFile'), 0], ['VHDX', Buffer.from('vhdxfile'), 0],
  ['VHD', Buffer.from('conectix'), 0],
  ['QED', Buffer.from('QED\0'), 0], ['VDI', Buffer.from([0x7f, 0x10, 0xda, 0xbe]), 64], ['LUKS', Buffer.from('LUKS\xba\xbe', 'latin1'), 0],
  ['gzip', Buffer.from([0x1f, 0x8b]), 0], ['xz', Buffer.from('\xfd7zXZ\0', 'latin1'), 0], ['bzip2', Buffer.from('BZh'), 0],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), 0], ['zip', Buffer.from('PK\x03\x04', 'latin1'), 0],
  ['HTML', Buffer.from('<!DOCTYPE'), 0], ['HTML', Buffer.from('<html'), 0],
]
/** Bits of incompatible_features. */
const features = { corrupt: 2n, dataFile: 4n, known: 0b1_1111n }
const extensions = { end: 0, dataFile: 0x4441_5441, encryption: 0x0537_be77 }

/** Looks at the file at `path`. Fails with what is wrong with it, as the end of a sentence about it. */
export async function lookAtDisk(path: string, format: DiskFormat): Promise<DiskFile> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const head = await readHead(file, size)
    const diskBytes = format === 'qcow2' ? checkQcow2(head, size) : checkRaw(head, size)
    const diskMiB = Math.ceil(diskBytes / mebi)
    if (diskMiB > mostDiskMiB) throw bad(`it is a disk of ${diskMiB} MiB; at most ${mostDiskMiB} are possible`)
    return { path, format, diskMiB }
  } finally {
    await file.close()
  }
}

async function readHead(file: FileHandle, size: number): Promise<Buffer> {
  const head = Buffer.alloc(Math.min(size, headBytes))
  const { bytesRead } = await file.read(head, 0, head.length, 0)
  return head.subarray(0, bytesRead)
}

const begins = (head: Buffer, magic: Buffer, at = 0): boolean => head.subarray(at, at + magic.length).equals(magic)

function checkRaw(head: Buffer, size: number): number {
  if (begins(head, qcow2Magic)) throw bad('it is a qcow2 image and its name does not say so: name it .qcow2')
  const other = others.find(([, magic, at]) => begins(head, magic, at))
  if (other) throw bad(`it is ${other[0]} and no raw disk: convert it with qemu-img convert -O qcow2`)
  if (size === 0) throw bad('it is empty')
  return size
}

/** The size of its disk. What the format's specification calls a field is called the same here. */
function checkQcow2(head: Buffer, size: number): number {
  if (!begins(head, qcow2Magic)) throw bad('its name says qcow2, and it is none')
  if (head.length < 72) throw bad('it is no whole qcow2 image')
  const version = head.readUInt32BE(4)
  if (version !== 2 && version !== 3) throw bad(`it is of version ${version} of qcow2; 2 and 3 are understood`)
  if (head.readBigUInt64BE(8) !== 0n || head.readUInt32BE(16) !== 0) {
    throw bad('it lies on a backing file, which is not part of it: flatten it with qemu-img convert -O qcow2')
  }
  const clusterBits = head.readUInt32BE(20)
  if (clusterBits < 9 || clusterBits > 21) throw bad(`its clusters are of 2^${clusterBits} bytes; 2^9 to 2^21 are possible`)
  if (head.readUInt32BE(32) !== 0) throw bad('it is encrypted')
  const diskBytes = head.readBigUInt64BE(24)
  if (diskBytes === 0n) throw bad('it is a disk of no size')
  if (diskBytes > BigInt(mostDiskMiB) * BigInt(mebi)) throw bad(`it says that it is a disk of ${diskBytes} bytes; at most ${mostDiskMiB} MiB are possible`)
  const tables = { L1: [head.readBigUInt64BE(40), BigInt(head.readUInt32BE(36)) * 8n], refcount: [head.readBigUInt64BE(48), 1n] } as const
  for (const [name, [at, bytes]] of Object.entries(tables)) {
    if (at + bytes > BigInt(size)) throw bad(`it is not whole: its ${name} table would lie behind its end`)
  }
  if (version === 3) checkVersion3(head)
  return Number(diskBytes)
}

function checkVersion3(head: Buffer): void {
  if (head.length < 104) throw bad('it is no whole qcow2 image')
  const incompatible = head.readBigUInt64BE(72)
  if ((incompatible & features.dataFile) !== 0n) throw bad('its data is in another file, which is not part of it: convert it with qemu-img convert -O qcow2')
  if ((incompatible & features.corrupt) !== 0n) throw bad('it is marked as corrupt: mend it with qemu-img check -r all')
  if ((incompatible & ~features.known) !== 0n) throw bad('it needs features of qcow2 that are not known here: convert it with qemu-img convert -O qcow2')
  for (let at = head.readUInt32BE(100); at + 8 <= head.length;) {
    const [kind, length] = [head.readUInt32BE(at), head.readUInt32BE(at + 4)]
    if (kind === extensions.end) return
    if (kind === extensions.dataFile) throw bad('it names another file for its data: convert it with qemu-img convert -O qcow2')
    if (kind === extensions.encryption) throw bad('it is encrypted')
    at += 8 + Math.ceil(length / 8) * 8 // always forward
  }
  throw bad('its header has no end')
}

const bad = (why: string): Failure => new Failure('failed', why)
