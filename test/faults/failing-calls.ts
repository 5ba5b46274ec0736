// Calls of the C library that fail in one process of ours and from one point on: failing-calls.c, laid before the library by the
// dynamic linker. Nothing of it is in the product.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** `sync`: fsync, fdatasync. `name`: rename, link. `sink`: writing to a VM's memory file. */
export type Call = 'sync' | 'name' | 'sink'

export class FailingCalls {
  private readonly folder = mkdtempSync(join(tmpdir(), 'vfailing-'))
  private readonly library = join(this.folder, 'failing-calls.so')

  constructor() {
    execFileSync('gcc', ['-shared', '-fPIC', '-O2', '-Wall', '-o', this.library, join(import.meta.dirname, 'failing-calls.c')])
    this.clear()
  }

  /** Node may give its file work to the kernel past the library (io_uring). */
  get env(): Record<string, string> { return { LD_PRELOAD: this.library, VIOLIN_FAILING: this.folder, UV_USE_IO_URING: '0' } }

  /** From when the file `trigger` is there: each such call of this process fails; of a sink after so many bytes. */
  order(pid: number, call: Call, trigger: string, afterBytes = 0): void {
    rmSync(join(this.folder, `${pid}.hits`), { force: true })
    writeFileSync(join(this.folder, String(pid)), `${call} ${trigger} ${afterBytes}\n`)
    writeFileSync(join(this.folder, 'armed'), '\x01', { flag: 'r+' })
  }

  /** How many calls of this process have failed. */
  hits(pid: number): number {
    const file = join(this.folder, `${pid}.hits`)
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0
  }

  /** After: nothing fails any more. */
  clear(): void {
    writeFileSync(join(this.folder, 'armed'), '\0', { flag: existsSync(join(this.folder, 'armed')) ? 'r+' : 'w' })
    for (const name of readdirSync(this.folder)) if (/^\d+/.test(name)) rmSync(join(this.folder, name), { force: true })
  }

  remove(): void { rmSync(this.folder, { recursive: true, force: true }) }
}
