// node:fs/promises on the simulated disk of the host whose process asks. Each call is a step of that process: it may die before or
// after it, and the disk may be slow, full or failing.
import { diskError, type Disk, type Inode } from '../disk.js'
import { world } from '../world.js'

export interface FileFaults {
  /** ms that one call takes. */
  delay(kind: string): number
  /** Something to throw in its place. */
  error(kind: string, path: string): Error | undefined
  /** What is read is not what was written. */
  damaged(path: string): boolean
}

const open_ = new Map<number, Inode>()
let count = 10
let faults: FileFaults = { delay: () => world().dice.between(0.01, 0.15), error: () => undefined, damaged: () => false }
const cached = new Map<string, { damaged: boolean; until: number }>()
const cachedMs = 1_000

export function setFileFaults(now: FileFaults): void {
  faults = now
  cached.clear()
  open_.clear() // what a world before this one has left open
}
export const inodeOf = (fd: number): Inode | undefined => open_.get(fd)

/** One call to the kernel. */
export function call<T>(kind: string, path: string, act: (disk: Disk) => T): Promise<T> {
  const w = world()
  const proc = w.self()
  return new Promise((resolve, reject) => {
    if (!w.step(proc)) return
    w.after(faults.delay(kind), proc, () => {
      const error = faults.error(kind, path)
      if (error) {
        reject(error)
        return
      }
      try {
        const result = act(proc.host.disk)
        if (w.step(proc)) resolve(result)
      } catch (wrong) {
        reject(wrong instanceof Error ? wrong : new Error(String(wrong)))
      }
    })
  })
}

const statOf = (inode: Inode) => ({
  ino: inode.ino, size: Math.max(inode.data.length, inode.reserved), mtimeMs: inode.mtimeMs, isDirectory: () => inode.kind === 'folder',
})

class Handle {
  readonly fd = ++count
  private readonly inode: Inode
  private readonly path: string
  constructor(inode: Inode, path: string) {
    this.inode = inode
    this.path = path
    open_.set(this.fd, inode)
  }

  writeFile(content: string | Uint8Array): Promise<void> {
    return call('write', this.path, (disk) => disk.write(this.inode, Buffer.from(content as Uint8Array)))
  }

  write(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesWritten: number }> {
    return call('write', this.path, (disk) => {
      const { data } = this.inode
      const after = Buffer.alloc(Math.max(data.length, position + length))
      data.copy(after)
      Buffer.from(bytes.buffer, bytes.byteOffset + offset, length).copy(after, position)
      disk.write(this.inode, after)
      return { bytesWritten: length }
    })
  }

  readFile(): Promise<Buffer> { return call('read', this.path, () => Buffer.from(this.inode.data)) }

  read(into: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return call('read', this.path, () => ({ bytesRead: this.inode.data.copy(into, offset, position, position + length) }))
  }

  truncate(bytes: number): Promise<void> {
    return call('write', this.path, (disk) => {
      disk.reserve(this.inode, 0)
      disk.write(this.inode, this.inode.data.subarray(0, bytes))
    })
  }

  stat() { return call('stat', this.path, () => statOf(this.inode)) }
  sync(): Promise<void> { return call('sync', this.path, (disk) => disk.sync(this.inode)) }
  async close(): Promise<void> { open_.delete(this.fd) }
}

export function open(path: string, flags = 'r'): Promise<Handle> {
  return call(`open ${flags}`, path, (disk) => {
    const there = disk.find(path)
    if (flags === 'wx' && there) throw diskError('EEXIST', path)
    if (flags.startsWith('r')) return new Handle(disk.get(path), path)
    if (there && flags === 'w') disk.write(there, Buffer.alloc(0))
    return new Handle(there ?? disk.create(path), path)
  })
}

export const link = (from: string, to: string): Promise<void> => call('link', to, (disk) => disk.link(from, to))
export const rename = (from: string, to: string): Promise<void> => call('rename', to, (disk) => disk.rename(from, to))
/** Where link(2) works nobody copies. */
export const copyFile = (from: string): Promise<never> => Promise.reject(diskError('ENOTSUP', `copyfile '${from}'`))
export const unlink = (path: string): Promise<void> => call('unlink', path, (disk) => disk.unlink(path))
export const mkdir = (path: string): Promise<void> => call('mkdir', path, (disk) => disk.makeFolders(path))
export const stat = (path: string) => call('stat', path, (disk) => statOf(disk.get(path)))
export const realpath = (path: string): Promise<string> => call('stat', path, () => path)
export const statfs = (path: string) => call('stat', path, (disk) => ({ bavail: Math.floor(disk.free), bsize: 1 }))

export function rm(path: string, { force = false, recursive = false } = {}): Promise<void> {
  return call('unlink', path, (disk) => {
    if (!disk.find(path)) {
      if (force) return
      throw diskError('ENOENT', path)
    }
    if (recursive) disk.removeAll(path)
    else disk.unlink(path)
  })
}

export function readdir(path: string): Promise<string[]> {
  return call('read', path, (disk) => {
    const folder = disk.get(path)
    if (folder.kind !== 'folder') throw diskError('ENOTDIR', path)
    return [...folder.entries.keys()]
  })
}

export function readFile(path: string, encoding?: 'utf8'): Promise<Buffer | string> {
  return call('read', path, (disk) => {
    const { kind, data } = disk.get(path)
    if (kind === 'folder') throw diskError('EISDIR', path)
    const read = isDamaged(path) ? otherDigit(data) : Buffer.from(data)
    return encoding ? read.toString(encoding) : read
  })
}

/** Who reads a file soon after another reads what the other did: the kernel has it in memory. What is verified is what is loaded. */
function isDamaged(path: string): boolean {
  const { now } = world()
  const before = cached.get(path)
  if (before && now < before.until) return before.damaged
  const damaged = faults.damaged(path)
  cached.set(path, { damaged, until: now + cachedMs })
  return damaged
}

/** One digit in the middle is another one: a memory image can still be understood. */
function otherDigit(data: Buffer): Buffer {
  const read = Buffer.from(data)
  const at = Math.max(0, read.indexOf('"balance":') + 10)
  if (read.length > at) read[at] = read[at] === 0x31 ? 0x32 : 0x31
  return read
}

export function readStream(path: string): AsyncIterable<Buffer> {
  return { async* [Symbol.asyncIterator]() { yield await readFile(path) as Buffer } }
}
