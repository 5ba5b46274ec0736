// What is told of a guest whose kernel panicked: that it did, what QEMU was told with it, and the kernel's own sentence.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { printable } from '../../../base/ascii.js'

/** A kernel prints its sentence and then a stack of some KiB. */
const tailBytes = 32 * 1024
const longestSentence = 200

/** `told`: the data of QEMU's GUEST_PANICKED; `console`: the end of what the guest printed. */
export function panicReason(told: Record<string, unknown> | undefined, console: string): string {
  const info = told?.['info'] === undefined ? [] : [JSON.stringify(told['info'])]
  const said = [...console.matchAll(/Kernel panic - not syncing: ([^\r\n]*)/g)].at(-1)?.[1]?.trim()
  const more = [...info, ...(said ? [said] : [])].map((text) => printable(text).slice(0, longestSentence)).join(', ')
  return `the guest's kernel panicked${more === '' ? '' : `: ${more}`}`
}

/** The end of a text file; empty when it cannot be read. At once, since the VM whose console it is may be gone before anything that is waited for. */
export function tailOf(path: string): string {
  try {
    const file = openSync(path, 'r')
    try {
      const buffer = Buffer.alloc(tailBytes)
      const bytesRead = readSync(file, buffer, 0, tailBytes, Math.max(0, fstatSync(file).size - tailBytes))
      return buffer.toString('latin1', 0, bytesRead)
    } finally {
      closeSync(file)
    }
  } catch {
    return ''
  }
}
