// How many bytes wait in a socket, which Node does not tell. Two ioctls of Linux, through koffi.
import koffi from 'koffi'
import type { Socket } from 'node:net'

const libc = koffi.load('libc.so.6')
const ioctl = libc.func('int ioctl(int fd, unsigned long request, _Out_ int *value)') as (
  fd: number, request: number, value: [number],
) => number

const fionread = 0x541b
const siocoutq = 0x5411

/** The file descriptor of a connected socket, or -1 when it has none. */
export function descriptor(socket: Socket): number {
  const handle = (socket as unknown as { _handle?: { fd?: number } | null })._handle
  return handle?.fd ?? -1
}

function ask(fd: number, request: number): number {
  const value: [number] = [0]
  if (fd < 0 || ioctl(fd, request, value) !== 0) return -1
  return value[0]
}

/** Bytes that have arrived and were not read yet; -1 when the socket is gone. Exact for stream sockets. */
export const unreadBytes = (fd: number): number => ask(fd, fionread)

/** Is anything written by us still unread by the peer? On a unix socket the count includes overhead: only zero means something. */
export const isReadByPeer = (fd: number): boolean => ask(fd, siocoutq) === 0
