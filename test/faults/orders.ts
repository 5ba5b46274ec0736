// Orders for fault points (base/fault-points.ts): what happens to which process when one comes to a point.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { realClock as clock, until } from '../../base/time.js'

const struckMs = 30_000

export class Orders {
  readonly folder = mkdtempSync(join(tmpdir(), 'vorders-'))

  /** Lines: a pid, and after a space another signal than SIGKILL. The file is gone and named .hit once the point has come. */
  give(point: string, lines: string[]): void {
    rmSync(this.hit(point), { force: true })
    writeFileSync(join(this.folder, point), lines.join('\n'))
  }

  hit(point: string): string { return join(this.folder, `${point}.hit`) }

  async struck(point: string): Promise<void> {
    assert.ok(await until(clock, struckMs, 5, () => (existsSync(this.hit(point)) ? true : undefined)), `nothing came to ${point}`)
  }

  /** After: no point does anything. */
  clear(): void {
    for (const name of readdirSync(this.folder)) rmSync(join(this.folder, name), { recursive: true, force: true })
  }

  remove(): void { rmSync(this.folder, { recursive: true, force: true }) }
}
