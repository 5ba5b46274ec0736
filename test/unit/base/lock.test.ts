import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { Refusal } from '../../../base/errors.js'
import { takeLock } from '../../../base/lock.js'
import { useTempFolder } from '../../temp.js'

const root = resolve(import.meta.dirname, '..', '..', '..')

describe('the lock of a folder', () => {
  const folder = useTempFolder()

  it('is refused to a second taker, who is told the process that has it, and is free once given back', () => {
    const path = join(folder(), 'lock')
    const giveBack = takeLock(path, 'the state')
    assert.throws(() => takeLock(path, 'the state'),
      (e: unknown) => e instanceof Refusal && e.code === 'busy' && e.message.includes(`process ${process.pid}`))
    giveBack()
    takeLock(path, 'the state')()
  })

  it('is free as soon as its process was killed', async () => {
    const path = join(folder(), 'lock')
    const script = `import { takeLock } from ${JSON.stringify(join(root, 'base/lock.ts'))}
      takeLock(${JSON.stringify(path)}, 'the state'); console.log('taken'); setInterval(() => {}, 1000)`
    const other = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
    await once(other.stdout, 'data')
    assert.throws(() => takeLock(path, 'the state'), new RegExp(`in use by process ${other.pid}:`))
    other.kill('SIGKILL')
    await once(other, 'exit')
    takeLock(path, 'the state')()
  })
})
