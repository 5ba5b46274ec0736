// Disk images that somebody else has made, as a host looks at them before any other program does.
import assert from 'node:assert/strict'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { diskFormatOf, type DiskFormat } from '../../../base/source.js'
import { Failure } from '../../../base/errors.js'
import { lookAtDisk } from '../../../hosts/disk-file.js'
import { useTempFolder } from '../../temp.js'

const mebi = 1024 * 1024

/** As much of a qcow2 image as is looked at: version 3, clusters of 64 KiB, 8 MiB, three clusters long. */
function qcow2Head(change: (head: Buffer) => void = () => undefined): Buffer {
  const file = Buffer.alloc(3 * 65_536)
  file.write('QFI\xfb', 'latin1')
  file.writeUInt32BE(3, 4)
  file.writeUInt32BE(16, 20)
  file.writeBigUInt64BE(8n * BigInt(mebi), 24)
  file.writeUInt32BE(1, 36)
  file.writeBigUInt64BE(131_072n, 40)
  file.writeBigUInt64BE(65_536n, 48)
  file.writeUInt32BE(1, 56)
  file.writeUInt32BE(4, 96)
  file.writeUInt32BE(104, 100)
  change(file)
  return file
}

/** A header extension as the first one. */
const extension = (kind: number, data = '') => (head: Buffer) => {
  head.writeUInt32BE(kind, 104)
  head.writeUInt32BE(data.length, 108)
  head.write(data, 112)
}

describe('a disk image from elsewhere', () => {
  const folder = useTempFolder()
  const look = (content: Buffer | string, format: DiskFormat) => {
    const path = join(folder(), 'disk')
    writeFileSync(path, content)
    return lookAtDisk(path, format)
  }
  const refused = (content: Buffer | string, format: DiskFormat, why: RegExp) =>
    assert.rejects(look(content, format), (error: unknown) => error instanceof Failure && why.test(error.message), String(why))

  it('is what the end of its name says, in whatever case', () => {
    const names = ['a.qcow2', 'a.QCOW2', 'a.raw', 'a.b.img', 'a.vmdk', 'qcow2', 'a.qcow2.gz', 'a.', 'a.toString', '']
    assert.deepEqual(names.map(diskFormatOf), ['qcow2', 'qcow2', 'raw', 'raw', undefined, undefined, undefined, undefined, undefined, undefined])
  })

  it('that is whole and stands for itself is taken, and its size is known', async () => {
    assert.equal((await look(qcow2Head(), 'qcow2')).diskMiB, 8)
    assert.equal((await look(qcow2Head((h) => h.writeBigUInt64BE(8n * BigInt(mebi) + 512n, 24)), 'qcow2')).diskMiB, 9)
    assert.equal((await look(qcow2Head((h) => { h.writeUInt32BE(2, 4); h.fill(0, 72, 104) }), 'qcow2')).diskMiB, 8, 'version 2')
    assert.equal((await look(qcow2Head(extension(0x6803_f857, 'feature names')), 'qcow2')).diskMiB, 8)
    assert.equal((await look(Buffer.alloc(mebi + 1, 1), 'raw')).diskMiB, 2)
    assert.equal((await look('x', 'raw')).diskMiB, 1)
  })

  it('that would lead QEMU to another file is refused', async () => {
    await refused(qcow2Head((h) => { h.writeBigUInt64BE(512n, 8); h.writeUInt32BE(11, 16); h.write('/etc/shadow', 512) }), 'qcow2', /lies on a backing file/)
    await refused(qcow2Head((h) => h.writeBigUInt64BE(512n, 8)), 'qcow2', /lies on a backing file/)
    await refused(qcow2Head((h) => h.writeUInt32BE(11, 16)), 'qcow2', /lies on a backing file/)
    await refused(qcow2Head((h) => h.writeBigUInt64BE(4n, 72)), 'qcow2', /its data is in another file/)
    await refused(qcow2Head(extension(0x4441_5441, '/etc/shadow')), 'qcow2', /names another file for its data/)
  })

  it('that is encrypted, corrupt, or of a kind that is not known is refused', async () => {
    for (const method of [1, 2, 77]) await refused(qcow2Head((h) => h.writeUInt32BE(method, 32)), 'qcow2', /encrypted/)
    await refused(qcow2Head(extension(0x0537_be77, 'x'.repeat(16))), 'qcow2', /encrypted/)
    await refused(qcow2Head((h) => h.writeBigUInt64BE(2n, 72)), 'qcow2', /corrupt/)
    for (const bit of [5n, 40n, 63n]) await refused(qcow2Head((h) => h.writeBigUInt64BE(1n << bit, 72)), 'qcow2', /features of qcow2 that are not known/)
    for (const version of [0, 1, 4]) await refused(qcow2Head((h) => h.writeUInt32BE(version, 4)), 'qcow2', /version/)
    for (const bits of [0, 8, 22, 4_000_000_000]) await refused(qcow2Head((h) => h.writeUInt32BE(bits, 20)), 'qcow2', /its clusters/)
  })

  it('that lies about its size or is not whole is refused', async () => {
    await refused(qcow2Head((h) => h.writeBigUInt64BE(0n, 24)), 'qcow2', /no size/)
    for (const bytes of [1n << 41n, (1n << 40n) + 1n, (1n << 64n) - 1n]) {
      await refused(qcow2Head((h) => h.writeBigUInt64BE(bytes, 24)), 'qcow2', /says that it is a disk of \d+ bytes; at most 1048576 MiB/)
    }
    await refused(qcow2Head((h) => h.writeBigUInt64BE(1n << 62n, 40)), 'qcow2', /not whole: its L1 table/)
    await refused(qcow2Head((h) => h.writeUInt32BE(0xffff_ffff, 36)), 'qcow2', /not whole: its L1 table/)
    await refused(qcow2Head((h) => h.writeBigUInt64BE(1n << 40n, 48)), 'qcow2', /not whole: its refcount table/)
    await refused(qcow2Head().subarray(0, 71), 'qcow2', /no whole qcow2/)
    await refused(qcow2Head().subarray(0, 100), 'qcow2', /table would lie behind its end|no whole/)
    await refused(qcow2Head((h) => { h.writeUInt32BE(0xffff_fff0, 100) }), 'qcow2', /its header has no end/)
    await refused(qcow2Head((h) => { extension(1)(h); h.writeUInt32BE(0xffff_ffff, 108) }), 'qcow2', /its header has no end/)
    await refused('', 'raw', /empty/)
    const huge = join(folder(), 'huge')
    writeFileSync(huge, 'x')
    truncateSync(huge, 1_048_577 * mebi)
    await assert.rejects(lookAtDisk(huge, 'raw'), /a disk of 1048577 MiB; at most 1048576/)
  })

  it('that is something else than its name says is refused, and the sentence says what it is', async () => {
    await refused(Buffer.alloc(512), 'qcow2', /its name says qcow2, and it is none/)
    await refused('', 'qcow2', /its name says qcow2, and it is none/)
    await refused(qcow2Head(), 'raw', /it is a qcow2 image and its name does not say so: name it \.qcow2/)
    for (const [what, head] of [
      ['VMDK', 'KDMV'], ['VHDX', 'vhdxfile'], ['VHD', 'conectix'], ['QED', 'QED\0'], ['LUKS', 'LUKS\xba\xbe'], ['gzip', '\x1f\x8b'], ['HTML', '<!DOCTYPE html>'],
      ['VDI', `${'\0'.repeat(64)}\x7f\x10\xda\xbe`],
    ] as const) await refused(Buffer.from(`${head}rest`, 'latin1'), 'raw', new RegExp(`it is ${what} and no raw disk`))
  })
})
