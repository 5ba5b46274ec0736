// What waits in a socket, asked of the simulated socket itself.
import type { Socket } from 'node:net'
import type { SimSocket } from './net.js'

const sockets = new Map<number, SimSocket>()

export function descriptor(socket: Socket): number {
  const sim = socket as unknown as SimSocket
  if (sim.destroyed) return -1
  sockets.clear() // it is asked for and used at once
  sockets.set(sim.fd, sim)
  return sim.fd
}

export const unreadBytes = (fd: number): number => sockets.get(fd)?.unread() ?? -1
export const isReadByPeer = (fd: number): boolean => sockets.get(fd)?.isReadByPeer() ?? false
