// The configuration disk of a VM: a plain tar, which the guest's init unpacks (images/init says what it expects).
import type { VmSpec } from '../slices/vm-spec.js'
import { managementMac } from './hypervisor/qemu/argv.js'

export function guestFiles(spec: VmSpec): Record<string, string> {
  return {
    hostname: `${spec.clientId}\n`,
    node: `${spec.vm}\n`,
    hosts: spec.neighbours.map((n) => `${n.ip}\t${n.name}\n`).join(''),
    nics: spec.nics.map((n) => `${n.mac} ${n.ip}/${n.prefixLength}${n.mtu === undefined ? '' : ` ${n.mtu}`}\n`).join(''),
    management: `${managementMac}\n`,
    ...Object.fromEntries(spec.logins.map((l) => [`users/${l.name}/authorized_keys`, l.keys.map((k) => `${k.trim()}\n`).join('')])),
    ...Object.fromEntries(spec.execute.map((e, i) => [
      `execute/${String(i).padStart(2, '0')}`, `#!/bin/sh\n${e.command}\n`,
    ])),
  }
}

/** POSIX ustar with one entry for each file; names up to 100 bytes, which all of ours are. */
export function tar(files: Record<string, string | Buffer>): Buffer {
  const blocks: Buffer[] = []
  for (const [name, text] of Object.entries(files)) {
    const body = typeof text === 'string' ? Buffer.from(text) : text
    blocks.push(header(name, body.length), body, Buffer.alloc((512 - (body.length % 512)) % 512))
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}

/** The files of such a tar, up to its end. */
export function untar(bytes: Buffer): Record<string, Buffer> {
  const files: Record<string, Buffer> = {}
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0;) {
    const text = (from: number, length: number) => bytes.subarray(at + from, at + from + length).toString('latin1').split('\0', 1)[0]!
    const size = parseInt(text(124, 12), 8)
    files[text(0, 100)] = bytes.subarray(at + 512, at + 512 + size)
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

function header(name: string, size: number): Buffer {
  if (Buffer.byteLength(name) > 100) throw new Error(`${name} is too long a name for the configuration disk`)
  const block = Buffer.alloc(512)
  block.write(name, 0)
  block.write('0000644\0' + '0000000\0' + '0000000\0', 100)
  block.write(`${size.toString(8).padStart(11, '0')}\0` + '00000000000\0', 124)
  block.write('        ' + '0', 148)
  block.write('ustar\0' + '00', 257)
  const checksum = block.reduce((sum, byte) => sum + byte, 0)
  block.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}
