// Disk layers in QEMU's format, by its own tool.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Failure } from '../../../base/errors.js'
import type { LayerOn } from '../hypervisor.js'

const run = promisify(execFile)

/** A new empty disk, or a new layer on top of `base`, which is not looked at: it may lie on what its header does not name. */
export async function makeQcow2(path: string, on: LayerOn): Promise<void> {
  const shape = on.base !== undefined ? ['-u', '-F', 'qcow2', '-b', on.base] : []
  try {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...shape, path, `${on.sizeMiB}M`])
  } catch (cause) {
    throw new Failure('failed', `cannot create the disk layer ${path}`, { cause })
  }
}
