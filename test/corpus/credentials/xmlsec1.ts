// Asks Debian's xmlsec1 as the reference aggregate (gcf) asks it: the signature with this id, and certificates to trust.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Undefined when there is no xmlsec1. */
export function askXmlsec1(folder: string, file: string): 'accepts' | 'refuses' | undefined {
  const trusted = ['root', 'sa', 'ma'].flatMap((name) => ['--trusted-pem', join(folder, 'world', `${name}.pem`)])
  const id = /xml:id="(Sig_[^"]+)"/.exec(readFileSync(join(folder, file), 'utf8'))?.[1]
  const args = ['--verify', ...(id === undefined ? [] : ['--node-id', id]), ...trusted, join(folder, file)]
  const run = spawnSync('xmlsec1', args, { encoding: 'utf8', timeout: 20_000 })
  if ((run.error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return undefined
  if (run.error) throw run.error
  return /^OK$/m.test(run.stdout + run.stderr) ? 'accepts' : 'refuses'
}
