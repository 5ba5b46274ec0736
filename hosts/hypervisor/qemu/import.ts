// A foreign disk as a layer of our own, by qemu-img: written anew, so that no VM ever opens what somebody else has made. It is told the
// format and that there is nothing below, may write so much and no more, and ends with us.
import { spawn } from 'node:child_process'
import { open, rm } from 'node:fs/promises'
import { Failure } from '../../../base/errors.js'
import { setUrgency, threadsOf } from '../../../base/priority.js'
import { shownSize } from '../../../base/sizes.js'
import type { DiskFile } from '../../disk-file.js'

/** What a file system of Linux's ext2, ext3 and ext4 has at its begin, and the guest looks for before it makes one (images/init). */
const extMagic = { at: 1024 + 56, is: Buffer.from([0x53, 0xef]) }
const headBytes = 4096
/** Of its whole life, in memory: an L1 table may have 32 MiB, threads take more of what is not used. */
const memoryBytes = 4 * 1024 ** 3

export async function importDisk(path: string, from: DiskFile, mostBytes: number, signal: AbortSignal): Promise<void> {
  try {
    await qemuImg(['convert', '-q', '-O', 'qcow2', source(from), path], mostBytes, signal)
    await refuseUnreadable(path, signal)
  } catch (error) {
    await rm(path, { force: true })
    throw error
  }
}

/** Written as options and not as a name, nothing is guessed. */
function source({ path, format }: DiskFile): string {
  const file = { driver: 'file', filename: path }
  return `json:${JSON.stringify(format === 'qcow2' ? { driver: 'qcow2', backing: null, file } : { driver: 'raw', file })}`
}

/** Nodes mount the disk as it is; what they cannot mount they would write over. */
async function refuseUnreadable(path: string, signal: AbortSignal): Promise<void> {
  const headFile = `${path}.head`
  try {
    await qemuImg(['dd', '-f', 'qcow2', '-O', 'raw', `bs=${headBytes}`, 'count=1', `if=${path}`, `of=${headFile}`], headBytes * 16, signal)
    const file = await open(headFile, 'r')
    const head = Buffer.alloc(headBytes)
    await file.read(head, 0, headBytes, 0).finally(() => file.close())
    const isExt = head.subarray(extMagic.at, extMagic.at + 2).equals(extMagic.is)
    if (isExt || head.every((byte) => byte === 0)) return
    throw new Failure('failed', 'it has no ext2, ext3 or ext4 file system that begins where the disk does (no partitions), and nodes mount no other')
  } finally {
    await rm(headFile, { force: true })
  }
}

async function qemuImg(argv: string[], mostBytes: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'prlimit', `--fsize=${mostBytes}`, `--as=${memoryBytes}`, '--core=0', 'qemu-img', ...argv],
    { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => { said = (said + chunk.toString()).slice(-1_000) })
  const stop = () => child.kill('SIGKILL')
  signal.addEventListener('abort', stop)
  try {
    const { code, by } = await new Promise<{ code: number | null; by: string | null }>((resolve, reject) => {
      child.once('error', (cause) => reject(new Failure('failed', 'qemu-img cannot be started: is util-linux installed?', { cause })))
      child.once('spawn', () => setUrgency(threadsOf(child.pid!), 'behind'))
      child.once('close', (ended, killed) => resolve({ code: ended, by: killed }))
    })
    signal.throwIfAborted()
    if (by === 'SIGXFSZ' || said.includes('File too large')) throw new Failure('failed', `what is in it is larger than ${shownSize(mostBytes)}`)
    if (code !== 0) throw new Failure('failed', `qemu-img cannot read it (${by ?? code ?? '?'}): ${said.trim().replaceAll('\n', ' ')}`)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
