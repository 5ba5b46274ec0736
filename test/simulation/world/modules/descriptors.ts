// Blocks reserved for an open file, on the simulated disk.
import { world } from '../world.js'
import { inodeOf } from './fs-promises.js'

export function reserve(fd: number, bytes: number): void {
  const inode = inodeOf(fd)
  if (inode) world().self().host.disk.reserve(inode, bytes)
}
