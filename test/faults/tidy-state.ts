// What may be on disk when nothing is under way: whole files, and the sockets of the VMs that there are.
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { realClock as clock, until } from '../../base/time.js'
import type { Layout } from '../../cli/up/layout.js'

const soonMs = 15_000

/** Within some seconds: what is written in the background just now is no finding. */
export async function assertTidy(at: Layout, vms: number): Promise<void> {
  const found = () => ({
    parts: [at.host, at.store, at.switch].flatMap((folder) => below(folder)).filter((path) => path.endsWith('.part')).map((path) => relative(at.state, path)),
    monitors: readdirSync(at.run).filter((name) => name.endsWith('.qmp')).length,
  })
  const wanted = { parts: [], monitors: vms }
  const tidy = await until(clock, soonMs, 100, () => (JSON.stringify(found()) === JSON.stringify(wanted) ? true : undefined))
  if (!tidy) assert.deepEqual(found(), wanted, 'what is left')
}

function below(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}
