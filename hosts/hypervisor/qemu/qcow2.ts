// Disk layers in QEMU's format, by its own tool.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Failure } from '../../../base/errors.js'
import type { LayerOn } from '../hypervisor.js'

const run = promisify(execFile)

/** A new empty disk, or a new layer on top of `base`. */
export async function makeQcow2(path: string, on: LayerOn): Promise<void> {
  const shape = 'base' in on ? ['-F', 'qcow2', '-b', on.base, path] : [path, `${on.sizeMiB}M`]
  try {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...shape])
  } catch (cause) {
    throw new Failure('failed', `cannot create the disk layer ${path}`, { cause })
  }
}
