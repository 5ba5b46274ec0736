// A folder for one test, gone after it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Call it inside a `describe`: gives the path of a fresh folder for each test. */
export function useTempFolder(): () => string {
  let folder = ''
  beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'vtest-')) })
  afterEach(() => { rmSync(folder, { recursive: true, force: true }) })
  return () => folder
}
