// A disk with the promises of a journaling file system and no more: what was written and not synced may be lost or torn when its host
// crashes, and of the changes of a folder that was not synced a first part survives, in order. Syncing a file or folder makes the
// folders above it durable too (ext4, XFS and Btrfs do that), but no name of a file in them.
import type { Dice } from './dice.js'

export interface Inode {
  ino: number
  kind: 'file' | 'folder'
  parent: Inode | undefined
  data: Buffer
  /** What a crash leaves for sure; undefined: never synced. */
  durable: Buffer | undefined
  /** More than `data` has, as of a file whose blocks were reserved. */
  reserved: number
  entries: Map<string, Inode>
  durableEntries: Map<string, Inode>
  /** Changes since the last sync, in order; each holds together. */
  changes: [string, Inode | undefined][][]
  mtimeMs: number
}

export type DiskError = Error & { code: string }

export function diskError(code: string, what: string): DiskError {
  return Object.assign(new Error(`${code}: ${what}`), { code })
}

const blank = Buffer.alloc(0)

export class Disk {
  readonly root: Inode
  /** Everything beyond is ENOSPC. */
  capacity = 1e12
  used = 0
  /** Told of each file that gets its name: whoever looks on may check what it says. */
  onName: (path: string, inode: Inode) => void = () => undefined
  onGone: (path: string) => void = () => undefined
  /** A deliberate defect of the world itself: fsync does nothing. */
  syncs = true
  private inos = 0
  private time = 0

  constructor() {
    this.root = this.make('folder', undefined)
  }

  get free(): number { return Math.max(0, this.capacity - this.used) }

  find(path: string): Inode | undefined {
    let at: Inode | undefined = this.root
    for (const name of parts(path)) at = at?.kind === 'folder' ? at.entries.get(name) : undefined
    return at
  }

  get(path: string): Inode {
    const found = this.find(path)
    if (!found) throw diskError('ENOENT', `no such file or directory, '${path}'`)
    return found
  }

  folderOf(path: string): { folder: Inode; name: string } {
    const names = parts(path)
    const name = names.pop()!
    const folder = this.get(`/${names.join('/')}`)
    if (folder.kind !== 'folder') throw diskError('ENOTDIR', path)
    return { folder, name }
  }

  create(path: string): Inode {
    const { folder, name } = this.folderOf(path)
    const inode = this.make('file', folder)
    this.change(folder, [[name, inode]])
    this.onName(path, inode)
    return inode
  }

  makeFolders(path: string): void {
    let at = this.root
    for (const name of parts(path)) {
      let next = at.entries.get(name)
      if (!next) {
        next = this.make('folder', at)
        this.change(at, [[name, next]])
      }
      at = next
    }
  }

  link(from: string, to: string): void {
    const inode = this.get(from)
    const { folder, name } = this.folderOf(to)
    if (folder.entries.has(name)) throw diskError('EEXIST', `file already exists, '${to}'`)
    this.change(folder, [[name, inode]])
    this.onName(to, inode)
  }

  rename(from: string, to: string): void {
    const inode = this.get(from)
    const source = this.folderOf(from)
    const target = this.folderOf(to)
    if (source.folder === target.folder) this.change(source.folder, [[source.name, undefined], [target.name, inode]])
    else {
      this.change(target.folder, [[target.name, inode]])
      this.change(source.folder, [[source.name, undefined]])
    }
    this.onName(to, inode)
  }

  unlink(path: string): void {
    const inode = this.get(path)
    const { folder, name } = this.folderOf(path)
    this.change(folder, [[name, undefined]])
    this.onGone(path)
    this.used -= inode.data.length + inode.reserved
  }

  removeAll(path: string): void {
    const inode = this.find(path)
    if (!inode) return
    for (const name of [...inode.entries.keys()]) this.removeAll(`${path}/${name}`)
    this.unlink(path)
  }

  write(inode: Inode, data: Buffer): void {
    const more = data.length - inode.data.length
    if (more > this.free + inode.reserved) throw diskError('ENOSPC', 'no space left on device')
    this.used += more
    inode.data = data
    inode.mtimeMs = ++this.time
  }

  reserve(inode: Inode, bytes: number): void {
    if (bytes > this.free) throw diskError('ENOSPC', 'no space left on device')
    this.used += bytes - inode.reserved
    inode.reserved = bytes
  }

  sync(inode: Inode): void {
    if (!this.syncs) return
    if (inode.kind === 'file') inode.durable = inode.data
    else {
      inode.durableEntries = new Map(inode.entries)
      inode.changes = []
    }
    for (let child = inode, up = inode.parent; up; child = up, up = up.parent) {
      if (child.kind === 'file') continue
      for (const [name, entry] of up.entries) if (entry === child) up.durableEntries.set(name, child)
    }
  }

  /** The host has lost its power. */
  crash(dice: Dice): void {
    this.used = 0
    this.recover(this.root, dice, new Set())
  }

  /** Every path with what is there, folders left out. */
  list(path = '', inode = this.root): { path: string; inode: Inode }[] {
    return [...inode.entries].flatMap(([name, entry]) => {
      const full = `${path}/${name}`
      return entry.kind === 'file' ? [{ path: full, inode: entry }] : this.list(full, entry)
    })
  }

  private recover(folder: Inode, dice: Dice, seen: Set<Inode>): void {
    if (seen.has(folder)) return
    seen.add(folder)
    if (folder.kind === 'file') {
      const was = folder.data
      if (folder.durable !== was) {
        const luck = dice.int(3)
        folder.data = luck === 0 ? was : luck === 1 ? folder.durable ?? blank : Buffer.from(was.subarray(0, dice.int(was.length + 1)))
        folder.durable = folder.data
      }
      folder.reserved = 0
      this.used += folder.data.length
      return
    }
    const survive = dice.int(folder.changes.length + 1)
    for (const change of folder.changes.slice(0, survive)) {
      for (const [name, inode] of change) {
        if (inode) folder.durableEntries.set(name, inode)
        else folder.durableEntries.delete(name)
      }
    }
    folder.changes = []
    folder.entries = new Map(folder.durableEntries)
    for (const inode of folder.entries.values()) this.recover(inode, dice, seen)
  }

  private change(folder: Inode, change: [string, Inode | undefined][]): void {
    for (const [name, inode] of change) {
      if (inode) folder.entries.set(name, inode)
      else folder.entries.delete(name)
    }
    folder.changes.push(change)
  }

  private make(kind: Inode['kind'], parent: Inode | undefined): Inode {
    return {
      ino: ++this.inos, kind, parent, data: blank, durable: undefined, reserved: 0, entries: new Map(), durableEntries: new Map(), changes: [], mtimeMs: ++this.time,
    }
  }
}

const parts = (path: string): string[] => path.split('/').filter((part) => part !== '')
