// What Node cannot do with file descriptors and QEMU needs: hand one over a unix socket (SCM_RIGHTS), reserve a file's
// blocks, take one from another process (pidfd_getfd), and userfaultfd's ioctls. Linux on 64 bits, through koffi.
import koffi from 'koffi'
import { Failure } from '../../../base/errors.js'

const libc = koffi.load('libc.so.6')
koffi.struct('iovec', { base: 'void *', length: 'size_t' })
koffi.struct('msghdr', {
  name: 'void *', nameLength: 'uint32_t', vectors: 'iovec *', vectorCount: 'size_t', control: 'void *', controlLength: 'size_t', flags: 'int',
})
const sendmsg = libc.func('long sendmsg(int fd, msghdr *message, int flags)') as (fd: number, message: unknown, flags: number) => number
const fallocate = libc.func('int posix_fallocate(int fd, int64_t offset, int64_t length)') as (fd: number, offset: number, length: number) => number
const syscall = libc.func('long syscall(long number, long a, long b, long c)') as (n: number, a: number, b: number, c: number) => number
const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)') as (fd: number, request: number, argument: Buffer) => number
const close = libc.func('int close(int fd)') as (fd: number) => number

const eagain = 11
const enospc = 28

/** Sends `payload` with descriptor `fd` attached. The socket must have no write of Node's under way. */
export function sendWithDescriptor(socket: number, payload: Buffer, fd: number): void {
  const control = Buffer.alloc(24) // CMSG_SPACE(sizeof int)
  control.writeBigUInt64LE(20n, 0) // CMSG_LEN(sizeof int)
  control.writeInt32LE(1, 8) // SOL_SOCKET
  control.writeInt32LE(1, 12) // SCM_RIGHTS
  control.writeInt32LE(fd, 16)
  const message = {
    name: null, nameLength: 0, vectors: [{ base: payload, length: payload.length }], vectorCount: 1, control, controlLength: 24, flags: 0,
  }
  for (let tries = 0; tries < 1000; tries++) {
    const sent = sendmsg(socket, message, 0x4000 /* MSG_NOSIGNAL */)
    if (sent === payload.length) return
    if (sent >= 0 || koffi.errno() !== eagain) break
  }
  throw new Failure('failed', `a file descriptor could not be handed over: errno ${koffi.errno()}`)
}

/** Reserves the blocks of a file, so that writing it cannot run out of space. */
export function reserve(fd: number, bytes: number, path: string): void {
  const error = fallocate(fd, 0, bytes)
  if (error === enospc) throw new Failure('no-space', `no room for ${bytes} bytes at ${path}: free some space or lower the retention`)
  if (error !== 0) throw new Failure('failed', `cannot reserve ${bytes} bytes at ${path}: errno ${error}`)
}

/** A copy, in this process, of descriptor `fd` of process `pid`. Close it with `closeDescriptor`. */
export function takeDescriptor(pid: number, fd: number): number {
  const process = syscall(434 /* pidfd_open */, pid, 0, 0)
  if (process < 0) throw new Failure('failed', `process ${pid} cannot be opened: errno ${koffi.errno()}`)
  try {
    const copy = syscall(438 /* pidfd_getfd */, process, fd, 0)
    if (copy < 0) throw new Failure('failed', `descriptor ${fd} of process ${pid} cannot be taken: errno ${koffi.errno()}`)
    return copy
  } finally {
    close(process)
  }
}

export function closeDescriptor(fd: number): void {
  close(fd)
}

/** Lifts userfaultfd's write protection of a range and ends its tracking. Ranges that are not tracked are left alone. */
export function unprotect(userfault: number, start: bigint, length: bigint): void {
  const range = Buffer.alloc(24)
  range.writeBigUInt64LE(start, 0)
  range.writeBigUInt64LE(length, 8)
  ioctl(userfault, 0xc018_aa06 /* UFFDIO_WRITEPROTECT, mode 0 */, range)
  ioctl(userfault, 0x8010_aa01 /* UFFDIO_UNREGISTER */, range)
}
